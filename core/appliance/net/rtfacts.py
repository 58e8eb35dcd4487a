"""What routing netlink reports, as values: devices, addresses, neighbours and per-device switches.

Named tuples and not dataclasses: those cost a millisecond each at import, which the guard process and the
command line would pay. (`index` hides a method of tuples that nobody needs here.)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from socket import AF_INET as _AF_INET
from socket import AF_INET6 as _AF_INET6
from typing import NamedTuple

from appliance.net import rtmessages as m

_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBi")
_NEIGHBOUR = struct.Struct("=BxxxiHBB")
AF_INET, AF_INET6 = int(_AF_INET), int(_AF_INET6)  # plain numbers print better than the enumeration
_ROUTE = struct.Struct("=BBBBBBBBI")  # family, lengths, tos, table, protocol, scope, type, flags
_I32 = struct.Struct("=i")
_U32 = struct.Struct("=I")
_U16 = struct.Struct("=H")

_NDA_DST, _NDA_LLADDR = 1, 2
_NETCONFA_IFINDEX, _NETCONFA_FORWARDING = 1, 2
_DEVCONF_FORWARDING, _DEVCONF_DISABLE_IPV6 = 0, 26  # linux/ipv6.h


class LinkInfo(NamedTuple):
    """One device."""

    index: int  # type: ignore[assignment]
    name: str
    kind: str
    """``macvlan``, ``vlan``, ``bridge``…; empty for hardware."""
    mac: str
    flags: int
    up: bool
    """Administratively."""
    carrier: bool
    """Frames can pass: the device is up and its lower layer, too."""
    mtu: int
    parent_index: int
    """The device this one is stacked on (a veth: its peer); 0 for none."""
    group: int
    alias: str
    vlan_id: int = 0
    """Of a VLAN device."""
    master_index: int = 0
    """The bridge or bond that this device belongs to; 0 for none."""


class AddressInfo(NamedTuple):
    """One address of one device."""

    index: int  # type: ignore[assignment]
    family: int
    address: IPv4Address | IPv6Address
    """The device's own address (for a point-to-point device, too)."""
    prefix_length: int
    flags: int
    local: IPv4Address | IPv6Address | None
    """IFA_LOCAL as reported; ``None`` when the kernel only gave IFA_ADDRESS (IPv6)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """A unicast route of the main table with one next hop."""

    to: IPv4Network | IPv6Network
    index: int
    """The device it leaves by."""
    via: IPv4Address | IPv6Address | None = None
    metric: int = 0
    """0 lets the kernel choose: 0 for IPv4, 1024 for IPv6."""
    protocol: int = 4
    """Who made it (RTPROT_*); 4 is ``static``."""
    onlink: bool = False
    """The gateway is reachable although no address of the device says so."""


class LinkEvent(NamedTuple):
    """A device appeared, changed or went."""

    link: LinkInfo
    deleted: bool


class AddressEvent(NamedTuple):
    """An address appeared, changed or went."""

    address: AddressInfo
    deleted: bool


class NeighbourEvent(NamedTuple):
    """An ARP or neighbour-discovery entry changed."""

    index: int  # type: ignore[assignment]
    address: IPv4Address | IPv6Address
    mac: str
    state: int
    deleted: bool


class NetconfEvent(NamedTuple):
    """A per-device switch changed, whoever wrote it.

    `index` is negative for ``all`` (-1) and ``default`` (-2). `None` means the event does not say.
    """

    index: int  # type: ignore[assignment]
    family: int
    forwarding: bool | None
    disable_ipv6: bool | None


class RouteChange(NamedTuple):
    """A route of some table was made, replaced or removed; what it said is not decoded."""

    family: int
    table: int
    protocol: int
    """Who made it (RTPROT_*)."""
    deleted: bool


class Lost(NamedTuple):
    """The kernel dropped events (ENOBUFS): read everything anew."""


RouteEvent = LinkEvent | AddressEvent | NeighbourEvent | NetconfEvent | RouteChange | Lost


def _text(data: memoryview, start: int, end: int) -> str:
    return bytes(data[start:end]).rstrip(b"\0").decode(errors="replace")


def _u32(data: memoryview, start: int, stop: int) -> int:
    number: int = _U32.unpack_from(data, start)[0] if stop - start >= 4 else 0
    return number


def mac_of(raw: bytes) -> str:
    """``00:00:5e:00:01:01`` of six bytes."""
    return raw.hex(":")


def parse_link(data: memoryview, offset: int, end: int) -> LinkInfo:
    """The body of RTM_NEWLINK or RTM_DELLINK."""
    _family, _type, index, flags, _change = _LINK.unpack_from(data, offset)
    name = kind = mac = alias = ""
    mtu = parent = group = vlan_id = master = 0
    for attribute, start, stop in m.attributes(data, offset + _LINK.size, end):
        if attribute == m.IFLA_IFNAME:
            name = _text(data, start, stop)
        elif attribute == m.IFLA_ADDRESS:
            mac = mac_of(bytes(data[start:stop]))
        elif attribute == m.IFLA_MTU:
            mtu = _u32(data, start, stop)
        elif attribute == m.IFLA_LINK:
            parent = _u32(data, start, stop)
        elif attribute == m.IFLA_MASTER:
            master = _u32(data, start, stop)
        elif attribute == m.IFLA_GROUP:
            group = _u32(data, start, stop)
        elif attribute == m.IFLA_IFALIAS:
            alias = _text(data, start, stop)
        elif attribute == m.IFLA_LINKINFO:
            kind, vlan_id = _link_kind(data, start, stop)
    return LinkInfo(
        index=index,
        name=name,
        kind=kind,
        mac=mac,
        flags=flags,
        up=bool(flags & m.IFF_UP),
        carrier=bool(flags & m.IFF_UP and flags & m.IFF_LOWER_UP),
        mtu=mtu,
        parent_index=parent,
        group=group,
        alias=alias,
        vlan_id=vlan_id,
        master_index=master,
    )


def _link_kind(data: memoryview, offset: int, end: int) -> tuple[str, int]:
    kind, vlan_id = "", 0
    for attribute, start, stop in m.attributes(data, offset, end):
        if attribute == m.IFLA_INFO_KIND:
            kind = _text(data, start, stop)
        elif attribute == m.IFLA_INFO_DATA and kind == "vlan":
            for nested, inner, inner_stop in m.attributes(data, start, stop):
                if nested == m.IFLA_VLAN_ID and inner_stop - inner >= 2:
                    vlan_id = _U16.unpack_from(data, inner)[0]
    return kind, vlan_id


def _ip(raw: memoryview) -> IPv4Address | IPv6Address | None:
    if len(raw) == 4:
        return IPv4Address(bytes(raw))
    return IPv6Address(bytes(raw)) if len(raw) == 16 else None


def parse_address(data: memoryview, offset: int, end: int) -> AddressInfo | None:
    """The body of RTM_NEWADDR or RTM_DELADDR; nothing for families other than IP."""
    family, prefix_length, flags, _scope, index = _ADDRESS.unpack_from(data, offset)
    local = remote = None
    for attribute, start, stop in m.attributes(data, offset + _ADDRESS.size, end):
        if attribute == m.IFA_LOCAL:
            local = _ip(data[start:stop])
        elif attribute == m.IFA_ADDRESS:
            remote = _ip(data[start:stop])
        elif attribute == m.IFA_FLAGS:
            flags = _u32(data, start, stop)
    address = local or remote
    if address is None or family not in (AF_INET, AF_INET6):
        return None
    return AddressInfo(index, family, address, prefix_length, flags, local)


def parse_event(data: memoryview, kind: int, offset: int, end: int) -> RouteEvent | None:
    """One notification, or nothing when it is of no interest."""
    if kind in (m.RTM_NEWLINK, m.RTM_DELLINK):
        if data[offset] == AF_INET6:
            return _parse_ipv6_switches(data, offset, end) if kind == m.RTM_NEWLINK else None
        if data[offset] != 0:
            return None  # a bridge reporting one of its ports, not the device itself
        return LinkEvent(parse_link(data, offset, end), deleted=kind == m.RTM_DELLINK)
    if kind in (m.RTM_NEWADDR, m.RTM_DELADDR):
        address = parse_address(data, offset, end)
        return AddressEvent(address, deleted=kind == m.RTM_DELADDR) if address else None
    if kind in (m.RTM_NEWNEIGH, m.RTM_DELNEIGH):
        return parse_neighbour(data, offset, end, deleted=kind == m.RTM_DELNEIGH)
    if kind in (m.RTM_NEWROUTE, m.RTM_DELROUTE):
        family, _to, _from, _tos, table, protocol, *_rest = _ROUTE.unpack_from(data, offset)
        return RouteChange(family, table, protocol, deleted=kind == m.RTM_DELROUTE)
    if kind == m.RTM_NEWNETCONF:
        return _parse_netconf(data, offset, end)
    return None


def parse_neighbour(data: memoryview, offset: int, end: int, *, deleted: bool) -> NeighbourEvent | None:
    """The body of a neighbour message; nothing without an address."""
    _family, index, state, _flags, _type = _NEIGHBOUR.unpack_from(data, offset)
    address, mac = None, ""
    for attribute, start, stop in m.attributes(data, offset + _NEIGHBOUR.size, end):
        if attribute == _NDA_DST:
            address = _ip(data[start:stop])
        elif attribute == _NDA_LLADDR:
            mac = mac_of(bytes(data[start:stop]))
    return NeighbourEvent(index, address, mac, state, deleted) if address else None


def _parse_netconf(data: memoryview, offset: int, end: int) -> NetconfEvent | None:
    index: int | None = None
    forwarding: bool | None = None
    for attribute, start, stop in m.attributes(data, offset + 4, end):
        if stop - start < 4:
            continue
        if attribute == _NETCONFA_IFINDEX:
            index = _I32.unpack_from(data, start)[0]
        elif attribute == _NETCONFA_FORWARDING:
            forwarding = bool(_I32.unpack_from(data, start)[0])
    return None if index is None else NetconfEvent(index, data[offset], forwarding, None)


def _parse_ipv6_switches(data: memoryview, offset: int, end: int) -> NetconfEvent | None:
    index = _LINK.unpack_from(data, offset)[2]
    for attribute, start, stop in m.attributes(data, offset + _LINK.size, end):
        if attribute != m.IFLA_PROTINFO:
            continue
        for nested, inner, inner_end in m.attributes(data, start, stop):
            if nested == m.IFLA_INET6_CONF and inner_end - inner > 4 * _DEVCONF_DISABLE_IPV6:
                forwarding = _I32.unpack_from(data, inner + 4 * _DEVCONF_FORWARDING)[0]
                disabled = _I32.unpack_from(data, inner + 4 * _DEVCONF_DISABLE_IPV6)[0]
                return NetconfEvent(index, AF_INET6, bool(forwarding), bool(disabled))
    return NetconfEvent(index, AF_INET6, None, None)
