"""Routing netlink for services: devices, addresses and routes, without ever blocking the trio loop.

pyroute2 is the codec and nothing else: its sockets run on asyncio. Requests and notifications have
sockets of their own, so that a storm of the one cannot delay the other. Objects belong to the network
namespace of the thread that made them. For the failover path see `appliance.net.fastpath`.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_address
from typing import Any, Self

import trio

from appliance.net import rtmessages as m
from appliance.net.bonding import BOND, Bonding, BondOptions, parse_bonding
from appliance.net.codec import ifaddrmsg, ifinfmsg, ndmsg, rtmsg
from appliance.net.fastpath import (
    Group,
    SystemCallError,
    acknowledgement,
    open_route_socket,
    system_error,
)
from appliance.net.rtfacts import (
    AddressInfo,
    LinkInfo,
    Lost,
    Route,
    RouteEvent,
    parse_address,
    parse_event,
    parse_link,
    parse_neighbour,
)

DUMP_TRIES = 5
"""A dump that the kernel marks as inconsistent is repeated this often."""
DECODE_PER_STEP = 100
"""pyroute2 needs some 0.1 ms per route; other tasks get their turn after this many."""

_BUFFER_SIZE = 65536
_NLM_F_DUMP_INTR = 0x10
_RT_TABLE_MAIN, _RTN_UNICAST, _RT_SCOPE_UNIVERSE, _RT_SCOPE_LINK = 254, 1, 0, 253
_RTNH_F_ONLINK = 4
_NUD_INCOMPLETE = 1

Cidr = IPv4Interface | IPv6Interface


class Rtnl:
    """Requests, one at a time, and their answers. Cancelling one harms nobody."""

    def __init__(self) -> None:
        self._plain = open_route_socket()
        self._socket = trio.socket.from_stdlib_socket(self._plain)
        self._lock = trio.Lock()
        self._sequence = 0
        self._answered = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    # ------------------------------------------------------------------------------------------ links

    async def links(self) -> list[LinkInfo]:
        """All devices of this namespace."""
        return [parse_link(body, 0, len(body)) for body in await self._dump(m.get_links())]

    async def bonding(self) -> Bonding:
        """All devices of this namespace, with the state of bonds and their members."""
        return parse_bonding(await self._dump(m.get_links()))

    async def set_link(
        self,
        index: int,
        *,
        up: bool | None = None,
        mtu: int | None = None,
        mac: str | None = None,
        alias: str | None = None,
        master_index: int | None = None,
    ) -> None:
        """Change what is given of a device; ``master_index=0`` takes it out of its bridge or bond."""
        message = ifinfmsg()
        message["index"] = index
        if up is not None:
            message["flags"], message["change"] = int(up), 1
        attributes = (
            ("IFLA_MTU", mtu),
            ("IFLA_ADDRESS", mac),
            ("IFLA_IFALIAS", alias),
            ("IFLA_MASTER", master_index),
        )
        message["attrs"] = [(name, value) for name, value in attributes if value is not None]
        await self._request(message, m.RTM_NEWLINK, 0, "cannot change the device")

    async def add_vlan(self, name: str, *, parent_index: int, vlan_id: int) -> None:
        """Make an 802.1Q device."""
        message = ifinfmsg()
        data = {"attrs": [("IFLA_VLAN_ID", vlan_id)]}
        info = {"attrs": [("IFLA_INFO_KIND", "vlan"), ("IFLA_INFO_DATA", data)]}
        message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_LINK", parent_index), ("IFLA_LINKINFO", info)]
        await self._request(message, m.RTM_NEWLINK, m.NLM_F_CREATE | m.NLM_F_EXCL, f"cannot create the VLAN {name}")

    async def add_bond(self, name: str, options: BondOptions, *, mtu: int | None = None) -> None:
        """Make a bond without members."""
        message = ifinfmsg()
        message["attrs"] = [("IFLA_IFNAME", name), ("IFLA_LINKINFO", _bond_info(options))]
        if mtu is not None:
            message["attrs"].append(("IFLA_MTU", mtu))
        await self._request(message, m.RTM_NEWLINK, m.NLM_F_CREATE | m.NLM_F_EXCL, f"cannot create the bond {name}")

    async def set_bond(self, index: int, options: BondOptions) -> None:
        """Change what is given of a bond. The kernel takes a mode only while it is down and has no members."""
        message = ifinfmsg()
        message["index"] = index
        message["attrs"] = [("IFLA_LINKINFO", _bond_info(options))]
        await self._request(message, m.RTM_NEWLINK, 0, "cannot change the bond")

    async def delete_link(self, index: int) -> None:
        """Remove a device."""
        message = ifinfmsg()
        message["index"] = index
        await self._request(message, m.RTM_DELLINK, 0, "cannot remove the device")

    # -------------------------------------------------------------------------------------- addresses

    async def addresses(self, index: int | None = None) -> list[AddressInfo]:
        """All addresses, or those of one device (none when it does not exist)."""
        found: list[AddressInfo] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                bodies = await self._dump(m.get_addresses(family, index or 0))
            except SystemCallError as error:
                if error.code != errno.ENODEV:
                    raise
                continue
            parsed = (parse_address(body, 0, len(body)) for body in bodies)
            found += [address for address in parsed if address is not None]
        return found

    async def add_address(self, index: int, address: Cidr, *, nodad: bool = True) -> None:
        """Add an address with its connected route; IPv6 without duplicate address detection."""
        message = _address(index, address)
        if nodad and address.version == 6:
            message["attrs"].append(("IFA_FLAGS", m.IFA_F_NODAD))
        if isinstance(address, IPv4Interface) and address.network.prefixlen < 31:
            message["attrs"].append(("IFA_BROADCAST", str(address.network.broadcast_address)))
        await self._request(message, m.RTM_NEWADDR, m.NLM_F_CREATE | m.NLM_F_EXCL, f"cannot add the address {address}")

    async def delete_address(self, index: int, address: Cidr) -> None:
        """Remove an address."""
        await self._request(_address(index, address), m.RTM_DELADDR, 0, f"cannot remove the address {address}")

    # ----------------------------------------------------------------------------------------- routes

    async def routes(self, *, protocol: int = 0, index: int = 0) -> list[Route]:
        """Unicast routes of the main table; the kernel filters by protocol and device.

        Routes with several next hops are not listed.
        """
        found: list[Route] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            message = rtmsg()
            message["family"], message["table"], message["proto"] = int(family), _RT_TABLE_MAIN, protocol
            message["attrs"] = [("RTA_OIF", index)] if index else []
            try:
                bodies = await self._dump(_encoded(message, m.RTM_GETROUTE, m.NLM_F_REQUEST | m.NLM_F_DUMP))
            except SystemCallError as error:
                if error.code not in (errno.ENOENT, errno.EAFNOSUPPORT):
                    raise
                continue  # the table comes into being with its first route
            for number, body in enumerate(bodies):
                if number % DECODE_PER_STEP == DECODE_PER_STEP - 1:
                    await trio.lowlevel.checkpoint()
                route = _route(body)
                # A kernel that does not filter is filtered here.
                if route and protocol in (0, route.protocol) and index in (0, route.index):
                    found.append(route)
        return found

    async def add_route(self, route: Route) -> None:
        """Add a route, or replace the one to the same place with the same metric."""
        flags = m.NLM_F_CREATE | m.NLM_F_REPLACE
        await self._request(_route_message(route), m.RTM_NEWROUTE, flags, f"cannot add the route to {route.to}")

    async def delete_route(self, route: Route) -> None:
        """Remove a route."""
        await self._request(_route_message(route), m.RTM_DELROUTE, 0, f"cannot remove the route to {route.to}")

    # ------------------------------------------------------------------------------------- neighbours

    async def forget_unresolved(self, index: int) -> int:
        """Remove the neighbours of a device that are being asked for; how many there were.

        The kernel repeats the question once a second. Who was asked for while the link was down would else
        be unreachable for up to a second after it is up.
        """
        unresolved = []
        message = ndmsg()
        message["attrs"] = [("NDA_IFINDEX", index)]
        for body in await self._dump(_encoded(message, m.RTM_GETNEIGH, m.NLM_F_REQUEST | m.NLM_F_DUMP)):
            entry = parse_neighbour(body, 0, len(body), deleted=False)
            if entry is not None and entry.index == index and entry.state == _NUD_INCOMPLETE:
                unresolved.append(entry.address)
        for address in unresolved:
            message = ndmsg()
            message["family"] = int(socket.AF_INET if address.version == 4 else socket.AF_INET6)
            message["ifindex"] = index
            message["attrs"] = [("NDA_DST", str(address))]
            try:
                await self._request(message, m.RTM_DELNEIGH, 0, f"cannot forget the neighbour {address}")
            except SystemCallError as error:
                if error.code != errno.ENOENT:  # it has been removed meanwhile
                    raise
        return len(unresolved)

    # --------------------------------------------------------------------------------------- exchange

    async def _request(self, message: Any, kind: int, flags: int, what: str) -> None:
        data = _encoded(message, kind, flags | m.NLM_F_REQUEST | m.NLM_F_ACK)
        async with self._lock:
            sequence = await self._send(data)
            while True:
                try:
                    answers = await self._receive()
                except OSError as error:
                    raise system_error(error.errno or 0, what, "no acknowledgement") from error
                for got, code, detail, _flags, _body in answers:
                    if got == sequence and code is not None:
                        self._answered = True
                        if code:
                            raise system_error(code, what, detail)
                        return

    async def _dump(self, message: bytes) -> list[memoryview]:
        async with self._lock:
            for _ in range(DUMP_TRIES):
                bodies = await self._dump_once(message)
                if bodies is not None:
                    return bodies
        raise system_error(errno.EBUSY, "devices, addresses or routes change faster than they can be read")

    async def _dump_once(self, message: bytes) -> list[memoryview] | None:
        """Bodies of all answers, or nothing when they are incomplete or inconsistent."""
        sequence = await self._send(message)
        bodies: list[memoryview] = []
        interrupted = False
        try:
            while True:
                for got, code, detail, flags, body in await self._receive():
                    if got != sequence:
                        continue
                    interrupted = interrupted or bool(flags & _NLM_F_DUMP_INTR)
                    self._answered = code is not None
                    if code:
                        raise system_error(code, "the kernel does not list its network", detail)
                    if code is not None:
                        return None if interrupted else bodies
                    bodies.append(body)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise system_error(error.errno or 0, "cannot read routing netlink") from error
            return None

    async def _send(self, message: bytes) -> int:
        if not self._answered:
            self._discard()
        self._answered = False
        self._sequence = self._sequence % 0x7FFFFFFF + 1
        await self._socket.send(message[:8] + self._sequence.to_bytes(4, sys.byteorder) + message[12:])
        return self._sequence

    def _discard(self) -> None:
        """Read what is left of a cancelled request; the kernel refuses a second list while one is open."""
        while True:
            try:
                self._plain.recv(_BUFFER_SIZE)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise system_error(error.errno or 0, "cannot read routing netlink") from error

    async def _receive(self) -> Sequence[tuple[int, int | None, str, int, memoryview]]:
        """One datagram as ``(sequence, errno or None, explanation, flags, body)``."""
        data = memoryview(await self._socket.recv(_BUFFER_SIZE))
        found: list[tuple[int, int | None, str, int, memoryview]] = []
        for kind, flags, sequence, start, end in _messages(data):
            code, detail = None, ""
            if kind in (m.NLMSG_ERROR, m.NLMSG_DONE):
                code, detail = acknowledgement(data, start, end, flags)
            found.append((sequence, code, detail, flags, data[start:end]))
        return found


class RtnlMonitor:
    """Notifications of the kernel about devices, addresses and more."""

    def __init__(self, *groups: Group) -> None:
        self._socket = trio.socket.from_stdlib_socket(open_route_socket(groups))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    async def receive(self) -> list[RouteEvent]:
        """Wait for what happens next; `Lost` means: read everything anew.

        The list may be empty: something happened that has no event here, such as a route.
        """
        try:
            data = memoryview(await self._socket.recv(_BUFFER_SIZE))
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise system_error(error.errno or 0, "cannot read routing netlink notifications") from error
            return [Lost()]
        parsed = (parse_event(data, kind, start, end) for kind, _flags, _seq, start, end in _messages(data))
        return [event for event in parsed if event is not None]


def _messages(data: memoryview) -> Iterator[tuple[int, int, int, int, int]]:
    """Netlink messages of a datagram as ``(type, flags, sequence, start, end)`` of their bodies."""
    offset = 0
    while offset + m.HEADER.size <= len(data):
        length, kind, flags, sequence, _port = m.HEADER.unpack_from(data, offset)
        if length < m.HEADER.size:
            return
        yield kind, flags, sequence, offset + m.HEADER.size, offset + length
        offset += (length + 3) & ~3


def _encoded(message: Any, kind: int, flags: int) -> bytes:
    message["header"]["type"], message["header"]["flags"] = kind, flags
    message.encode()
    return bytes(message.data)


def _bond_info(options: BondOptions) -> dict[str, Any]:
    given = (
        ("IFLA_BOND_MODE", options.mode),
        ("IFLA_BOND_MIIMON", options.link_check_ms),
        ("IFLA_BOND_UPDELAY", options.up_delay_ms),
        ("IFLA_BOND_PRIMARY", options.primary_index),
        ("IFLA_BOND_XMIT_HASH_POLICY", options.hash_policy),
        ("IFLA_BOND_NUM_PEER_NOTIF", options.announcements),
        ("IFLA_BOND_ALL_SLAVES_ACTIVE", options.all_active),
        ("IFLA_BOND_AD_LACP_RATE", options.lacp_fast),
    )
    data = {"attrs": [(name, int(value)) for name, value in given if value is not None]}
    return {"attrs": [("IFLA_INFO_KIND", BOND), ("IFLA_INFO_DATA", data)]}


def _address(index: int, address: Cidr) -> Any:
    message = ifaddrmsg()
    message["family"] = int(socket.AF_INET if address.version == 4 else socket.AF_INET6)
    message["prefixlen"], message["index"] = address.network.prefixlen, index
    message["attrs"] = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))]
    return message


def _route_message(route: Route) -> Any:
    message = rtmsg()
    message["family"] = int(socket.AF_INET if route.to.version == 4 else socket.AF_INET6)
    message["dst_len"], message["table"], message["type"] = route.to.prefixlen, _RT_TABLE_MAIN, _RTN_UNICAST
    message["proto"] = route.protocol
    message["scope"] = _RT_SCOPE_LINK if route.via is None and route.to.version == 4 else _RT_SCOPE_UNIVERSE
    message["flags"] = _RTNH_F_ONLINK if route.onlink else 0
    attributes: list[tuple[str, object]] = [("RTA_OIF", route.index)]
    if route.to.prefixlen:
        attributes.append(("RTA_DST", str(route.to.network_address)))
    if route.via is not None:
        attributes.append(("RTA_GATEWAY", str(route.via)))
    if route.metric:
        attributes.append(("RTA_PRIORITY", route.metric))
    message["attrs"] = attributes
    return message


def _route(body: memoryview) -> Route | None:
    """A unicast route of the main table with one next hop; nothing for any other."""
    # The codec wants a header; its length is all that it reads of it.
    message = rtmsg(m.HEADER.pack(m.HEADER.size + len(body), m.RTM_NEWROUTE, 0, 0, 0) + bytes(body))
    message.decode()
    index = message.get_attr("RTA_OIF")
    if message["type"] != _RTN_UNICAST or message.get_attr("RTA_TABLE") != _RT_TABLE_MAIN or index is None:
        return None
    default = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
    destination = ip_address(message.get_attr("RTA_DST") or default)
    cls = IPv4Network if destination.version == 4 else IPv6Network
    gateway = message.get_attr("RTA_GATEWAY")
    return Route(
        to=cls(f"{destination}/{message['dst_len']}"),
        index=index,
        via=ip_address(gateway) if gateway else None,
        metric=message.get_attr("RTA_PRIORITY") or 0,
        protocol=message["proto"],
        onlink=bool(message["flags"] & _RTNH_F_ONLINK),
    )
