"""What is asked, as values, and how texts become these values. Pure; every error says what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface, ip_address, ip_interface

from appliance.errors import UsageError
from appliance.identity.names import is_name

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface
PAIRING, GENERATE, NONE = "pairing", "generate", "none"
PASSWORD_BYTES_MAX = 19
"""CARP's key has 20 bytes, the last one is zero (FreeBSD ifconfig.8)."""
NETWORKS_MAX = 16
VHIDS = range(1, 256)
_INTERFACE = re.compile(r"[a-z][a-z0-9_]{0,11}")
"""A logical interface, short enough for ``NAME_gw``."""


class Kind(StrEnum):
    """What a network is for."""

    WAN = "wan"
    """It has a router to everything else."""
    LAN = "lan"
    """Machines that are protected: LAN, DMZ …"""
    SYNC = "sync"
    """The cable between the nodes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was told about the addresses of one family in one network."""

    interface: Interface
    """A virtual address with its prefix length; the address of the network itself leaves the choice to the plan."""
    nodes: tuple[Address, ...] = ()
    """Of the primary and the secondary; empty leaves them to the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAnswer:
    """What was told about one network."""

    name: str
    """The logical interface."""
    kind: Kind
    devices: tuple[str, str]
    """Of the primary and the secondary, as `ports.Port` reads them."""
    wishes: tuple[Wish, ...]
    """At most one of each family."""
    gateways: tuple[Address, ...] = ()
    """The routers of a WAN, at most one of each family."""
    clients: str = ""
    """Addresses that DHCP gives out, ``FIRST-LAST``; empty: none."""
    bundle: str = ""
    """How its devices are bundled, if they are."""
    vhid: int | None = None
    """Of its virtual address; `None` leaves it to the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """All answers."""

    nodes: tuple[str, str]
    """Names of the primary and the secondary."""
    this: str
    """Which of them this machine is."""
    networks: tuple[NetworkAnswer, ...]
    password: str = ""
    """Of the virtual addresses; empty: derived from the pairing."""


def node_name(text: str) -> str:
    """The name of a node."""
    if not is_name(text):
        raise UsageError(
            f"`{text}` is not the name of a node", hint="Use letters, digits and inner hyphens, at most 63."
        )
    return text


def interface_names(text: str, taken: Iterable[str]) -> tuple[str, ...]:
    """Names of further networks, separated by blanks; `none` for none."""
    names = () if text == NONE else tuple(text.replace(",", " ").split())
    used = list(taken)
    for name in names:
        if not _INTERFACE.fullmatch(name) or name == NONE:
            raise UsageError(
                f"`{name}` cannot be the name of a network",
                hint="Use a lower-case letter, then lower-case letters, digits and `_`, at most 12 together.",
            )
        if name in used:
            raise UsageError(f"`{name}` is the name of another network", hint="Choose a name that is free.")
        used.append(name)
    if len(used) > NETWORKS_MAX:
        raise UsageError(f"{len(used)} networks are too many", hint=f"At most {NETWORKS_MAX} are set up here.")
    return names


def vhid(text: str, heard: Mapping[int, str]) -> int:
    """A VHID that nobody else on the network has.

    Args:
        text: What was told.
        heard: Who speaks there for which VHID.
    """
    if not text.isdecimal() or int(text) not in VHIDS:
        raise UsageError(f"`{text}` is no VHID", hint=f"Give a number from {VHIDS[0]} to {VHIDS[-1]}.")
    if (found := int(text)) in heard:
        raise UsageError(
            f"VHID {found} is used there by {heard[found]}",
            hint="Two virtual routers of one number share a MAC address.",
        )
    return found


def wish(text: str, version: int, earlier: Iterable[Wish] = ()) -> Wish:
    """A network or a virtual address in it, perhaps followed by the addresses of both nodes."""
    first, *rest = text.replace(",", " ").split() or [""]
    example = "192.168.1.0/24" if version == 4 else "2001:db8:1::/64"
    try:
        if "/" not in first:
            raise ValueError(f"`{first}` has no prefix length")
        interface = ip_interface(first)
        nodes = tuple(ip_address(each) for each in rest)
    except ValueError as error:
        raise UsageError(str(error), hint=f"Give a network such as {example}, or a virtual address with /N.") from None
    if interface.version != version or any(node.version != version for node in nodes):
        raise UsageError(f"`{text}` is not IPv{version}", hint=f"Give a network such as {example}.")
    if len(nodes) not in (0, 2):
        raise UsageError("one node is without an address", hint="Give none, or those of the primary and the secondary.")
    found = Wish(interface=interface, nodes=nodes)
    _refuse_unusable(interface.ip, interface, is_network_allowed=True)
    for node in nodes:
        _refuse_unusable(node, interface)
    if len({interface.ip, *nodes}) < 1 + len(nodes):
        raise UsageError("the same address is used twice", hint="The virtual one and both nodes' have to differ.")
    for other in earlier:
        if other.interface.version == version and _overlap(other.interface, interface):
            raise UsageError(
                f"{interface.network} overlaps {other.interface.network}",
                hint="Each network needs addresses of its own.",
            )
    return found


def gateway(text: str, wished: Iterable[Wish], version: int) -> Address:
    """The router of a WAN: in its network, and nobody else's address."""
    try:
        found = ip_address(text)
    except ValueError:
        raise UsageError(f"`{text}` is not an address", hint="Give the address of the router, without /N.") from None
    for each in wished:
        if each.interface.version != version:
            continue
        if found.version != version or found not in each.interface.network:
            raise UsageError(f"{found} is not in {each.interface.network}", hint="A router is in the network itself.")
        _refuse_unusable(found, each.interface)
        if found in (each.interface.ip, *each.nodes):
            raise UsageError(f"{found} is an address of the cluster", hint="Give the address of the router.")
    return found


def clients(text: str, network: Interface, taken: Iterable[Address]) -> str:
    """The addresses that DHCP gives out; empty for `none`."""
    if text == NONE:
        return ""
    first, dash, last = (part.strip() for part in text.partition("-"))
    try:
        begin, end = IPv4Address(first), IPv4Address(last if dash else first)
    except ValueError:
        raise UsageError(
            f"`{text}` is not a range of addresses", hint="Give FIRST-LAST, or `none` for no DHCP."
        ) from None
    if begin > end:
        raise UsageError(f"{text} ends before it begins", hint="Give the lower address first.")
    for address in (begin, end):
        if address not in network.network:
            raise UsageError(f"{address} is not in {network.network}", hint="Give addresses of this network.")
        _refuse_unusable(address, network)
    for used in taken:
        if isinstance(used, IPv4Address) and begin <= used <= end:
            raise UsageError(f"{used} is an address of the cluster", hint="Give a range without it.")
    return f"{begin}-{end}"


def password(text: str) -> str:
    """A password of the virtual addresses, or `pairing` or `generate`."""
    if not 1 <= len(text.encode()) <= PASSWORD_BYTES_MAX or not text.isprintable():
        raise UsageError(
            f"this password cannot be used: {len(text.encode())} bytes",
            hint=f"Give 1 to {PASSWORD_BYTES_MAX} printable bytes, `{GENERATE}`, or `{PAIRING}` for none at all.",
        )
    return text


def choice(text: str, *choices: str) -> str:
    """One of several words; its beginning suffices."""
    found = [each for each in choices if text and each.startswith(text.lower())]
    if len(found) != 1 and text not in choices:
        raise UsageError(f"`{text}` is no answer to this", hint=f"Answer {' or '.join(choices)}.")
    return text if text in choices else found[0]


def _overlap(one: Interface, other: Interface) -> bool:
    first, last = int(one.network.network_address), int(one.network.broadcast_address)
    return first <= int(other.network.broadcast_address) and int(other.network.network_address) <= last


def _refuse_unusable(address: Address, interface: Interface, *, is_network_allowed: bool = False) -> None:
    network = interface.network
    if address not in network:
        raise UsageError(f"{address} is not in {network}", hint="All nodes and their virtual address share a network.")
    if address == network.network_address and not is_network_allowed:
        raise UsageError(f"{address} is the address of the network itself", hint="Choose another one in it.")
    if not isinstance(interface, IPv6Interface) and address == network.broadcast_address:
        raise UsageError(f"{address} is the broadcast address of {network}", hint="Choose another one in it.")
    if address.is_multicast or address.is_loopback or address.is_link_local or network.prefixlen < 8:
        raise UsageError(f"{interface} is no network of machines", hint="Give one with unicast addresses.")
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise UsageError(f"{address} is an IPv4 address in disguise", hint="Give an IPv6 network.")
