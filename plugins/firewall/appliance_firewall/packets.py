"""The beginning of an IP packet as values for people: addresses, protocol, ports, flags. Pure; never raises.

What is cut off is unknown, not wrong: a log keeps the first bytes of a packet only. What contradicts itself is
``malformed``, and whatever was understood before is told nevertheless.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

PROTOCOLS = {
    1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 33: "dccp", 41: "6in4", 47: "gre", 50: "esp", 51: "ah", 58: "icmp6",
    89: "ospf", 103: "pim", 112: "carp", 132: "sctp", 136: "udplite", 240: "pfsync",
}  # fmt: skip
"""Names of IP protocols, those of `show states` among them. 112 is also VRRP's."""
ICMP_TYPES = {
    0: "echo-reply", 3: "destination-unreachable", 5: "redirect", 8: "echo-request", 9: "router-advertisement",
    10: "router-solicitation", 11: "time-exceeded", 12: "parameter-problem", 13: "timestamp-request",
    14: "timestamp-reply",
}  # fmt: skip
ICMP6_TYPES = {
    1: "destination-unreachable", 2: "packet-too-big", 3: "time-exceeded", 4: "parameter-problem", 128: "echo-request",
    129: "echo-reply", 130: "mld-listener-query", 131: "mld-listener-report", 132: "mld-listener-done",
    133: "nd-router-solicit", 134: "nd-router-advert", 135: "nd-neighbor-solicit", 136: "nd-neighbor-advert",
    137: "nd-redirect", 143: "mld2-listener-report",
}  # fmt: skip
"""Names of ICMP types as nftables has them."""
FLAGS = ((0x02, "S"), (0x04, "R"), (0x01, "F"), (0x08, "P"), (0x10, "A"), (0x20, "U"), (0x40, "E"), (0x80, "C"))
"""TCP flags in the order in which they are written: ``SA`` is the answer to ``S``."""
EXTENSIONS_MAX = 8
"""IPv6 extension headers that are walked; RFC 8200 has each at most once, or twice."""

_WITH_PORTS = frozenset({6, 17, 33, 132, 136})
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _NO_NEXT, _OPTIONS, _MOBILITY = 0, 43, 44, 51, 59, 60, 135
_EXTENSIONS = frozenset({_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _OPTIONS, _MOBILITY})
_IPV4_HEADER, _IPV6_HEADER = 20, 40
_TCP_FLAGS_AT = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """What is known of one packet."""

    version: int = 0
    """4 or 6; 0 when it is no IP packet."""
    protocol: str = ""
    """A name of `PROTOCOLS` or a number."""
    source: IPv4Address | IPv6Address | None = None
    destination: IPv4Address | IPv6Address | None = None
    source_port: int | None = None
    destination_port: int | None = None
    icmp: str = ""
    """Type of an ICMP message, a name or a number."""
    flags: str = ""
    """Of TCP, in the order of `FLAGS`."""
    length: int = 0
    """Bytes with the IP header, as the packet says it."""
    fragment: bool = False
    """Not the first part of a packet: it has no ports."""
    malformed: bool = False


MALFORMED = Packet(malformed=True)


def parse(data: bytes) -> Packet:
    """A packet from its IP header on, perhaps cut off. Whatever the bytes are, there is an answer."""
    version = data[0] >> 4 if data else 0
    if version == 4 and len(data) >= _IPV4_HEADER:
        return _parse_ipv4(data)
    if version == 6 and len(data) >= _IPV6_HEADER:
        return _parse_ipv6(data)
    return MALFORMED


def _parse_ipv4(data: bytes) -> Packet:
    header, length = (data[0] & 0x0F) * 4, int.from_bytes(data[2:4], "big")
    is_wrong = header < _IPV4_HEADER or length < header
    is_fragment = bool(int.from_bytes(data[6:8], "big") & 0x1FFF)
    rest = b"" if is_wrong or is_fragment else data[header:length]
    sport, dport, icmp, flags, is_bad = _transport(data[9], rest, cut=len(data) < length)
    return Packet(
        version=4, protocol=_name(data[9]), source=IPv4Address(data[12:16]), destination=IPv4Address(data[16:20]),
        source_port=sport, destination_port=dport, icmp=icmp, flags=flags, length=length, fragment=is_fragment,
        malformed=is_wrong or (is_bad and not is_fragment),
    )  # fmt: skip


def _parse_ipv6(data: bytes) -> Packet:
    length = _IPV6_HEADER + int.from_bytes(data[4:6], "big")
    protocol, offset, is_fragment, is_wrong = _walk(data[:length], data[6])
    rest = b"" if is_wrong or is_fragment else data[offset:length]
    sport, dport, icmp, flags, is_bad = _transport(protocol, rest, cut=len(data) < length)
    return Packet(
        version=6, protocol=_name(protocol), source=IPv6Address(data[8:24]), destination=IPv6Address(data[24:40]),
        source_port=sport, destination_port=dport, icmp=icmp, flags=flags, length=length, fragment=is_fragment,
        malformed=is_wrong or (is_bad and not is_fragment),
    )  # fmt: skip


def _walk(data: bytes, following: int) -> tuple[int, int, bool, bool]:
    """The upper protocol, where it begins, whether this is a later fragment, and whether the headers are nonsense."""
    offset = _IPV6_HEADER
    for _ in range(EXTENSIONS_MAX):
        if following not in _EXTENSIONS or offset + 8 > len(data):
            return following, offset, False, False
        kind, following = following, data[offset]
        if kind == _FRAGMENT:
            if int.from_bytes(data[offset + 2 : offset + 4], "big") >> 3:
                return following, offset + 8, True, False
            offset += 8
        elif kind == _AUTHENTICATION:
            offset += (data[offset + 1] + 2) * 4
        else:
            offset += (data[offset + 1] + 1) * 8
    return following, offset, False, following in _EXTENSIONS


def _transport(protocol: int, data: bytes, *, cut: bool) -> tuple[int | None, int | None, str, str, bool]:
    """Ports, ICMP type, TCP flags, and whether a packet that is complete (not `cut`) is too short for them."""
    if protocol in _WITH_PORTS:
        is_tcp = protocol == 6
        flags = _flags(data[_TCP_FLAGS_AT]) if is_tcp and len(data) > _TCP_FLAGS_AT else ""
        is_short = len(data) < (_TCP_FLAGS_AT + 1 if is_tcp else 4) and not cut
        if len(data) < 4:
            return None, None, "", flags, is_short
        return int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big"), "", flags, is_short
    if protocol in (1, 58):
        if not data:
            return None, None, "", "", not cut
        return None, None, (ICMP_TYPES if protocol == 1 else ICMP6_TYPES).get(data[0], str(data[0])), "", False
    return None, None, "", "", False


def _flags(bits: int) -> str:
    return "".join(letter for bit, letter in FLAGS if bits & bit)


def _name(protocol: int) -> str:
    return PROTOCOLS.get(protocol, str(protocol))
