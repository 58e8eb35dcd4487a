"""Ethernet, IP, ARP and neighbour-discovery frames: pure functions between values and bytes."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

ETH_P_IP, ETH_P_ARP, ETH_P_IPV6 = 0x0800, 0x0806, 0x86DD
ETHERNET_HEADER = 14
BROADCAST_MAC = b"\xff" * 6
NULL_MAC = b"\0" * 6
ALL_NODES = IPv6Address("ff02::1")
ARP_REQUEST, ARP_REPLY = 1, 2

_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_IPV6 = struct.Struct("!IHBB16s16s")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_DONT_FRAGMENT = 0x4000
_ICMPV6 = 58
_NEIGHBOR_SOLICITATION, _NEIGHBOR_ADVERTISEMENT = 135, 136  # RFC 4861 §4.3, §4.4
_SOURCE_LINK_LAYER, _TARGET_LINK_LAYER = 1, 2
_NA_ROUTER, _NA_OVERRIDE = 0x80000000, 0x20000000
_ND_HOP_LIMIT = 255  # RFC 4861: anything else did not come from this link


class ArpPacket(NamedTuple):
    """An ARP packet for IPv4 over Ethernet."""

    source_mac: bytes
    """Ethernet source of the frame, which need not be the sender's."""
    operation: int
    sender_mac: bytes
    sender_ip: IPv4Address
    target_mac: bytes
    target_ip: IPv4Address


class NeighborAdvertisement(NamedTuple):
    """An ICMPv6 neighbour advertisement."""

    source_mac: bytes
    source: IPv6Address
    target: IPv6Address
    link_layer: bytes
    """The target link-layer option; empty without one."""
    router: bool
    solicited: bool
    override: bool


def mac_bytes(text: str) -> bytes:
    """Six bytes of ``00:00:5e:00:01:01``."""
    raw = bytes.fromhex(text.replace(":", "").replace("-", ""))
    if len(raw) != 6:
        raise ValueError(f"{text!r} is not a MAC address such as 00:00:5e:00:01:01")
    return raw


def mac_text(raw: bytes) -> str:
    """``00:00:5e:00:01:01`` of six bytes."""
    return raw.hex(":")


def internet_checksum(data: bytes) -> int:
    """RFC 1071. Zero over data that already carries its right checksum."""
    number = int.from_bytes(data + b"\0" if len(data) % 2 else data, "big")
    # A non-zero number divisible by 0xffff has the ones' complement sum 0xffff ("minus zero").
    return 0xFFFF - (number % 0xFFFF or (0xFFFF if number else 0))


def multicast_mac(group: IPv4Address | IPv6Address) -> bytes:
    """The Ethernet address of a multicast group (RFC 1112 §6.4, RFC 2464 §7)."""
    if group.version == 6:
        return b"\x33\x33" + group.packed[12:]
    return b"\x01\x00\x5e" + bytes((group.packed[1] & 0x7F,)) + group.packed[2:]


def solicited_node(address: IPv6Address) -> IPv6Address:
    """The group that a neighbour solicitation for this address is sent to (RFC 4291 §2.7.1)."""
    return IPv6Address(b"\xff\x02" + b"\0" * 9 + b"\x01\xff" + address.packed[13:])


def ethernet_frame(destination_mac: bytes, source_mac: bytes, ethertype: int, payload: bytes) -> bytes:
    """An Ethernet II frame."""
    return destination_mac + source_mac + ethertype.to_bytes(2, "big") + payload


def ipv4_frame(
    *,
    source_mac: bytes,
    destination_mac: bytes,
    source: IPv4Address,
    destination: IPv4Address,
    protocol: int,
    payload: bytes,
    tos: int = 0,
    ttl: int = 255,
    identification: int = 0,
) -> bytes:
    """An unfragmentable IPv4 packet without options in an Ethernet frame."""
    length = _IPV4.size + len(payload)
    fields = (0x45, tos, length, identification, _DONT_FRAGMENT, ttl, protocol)
    head = _IPV4.pack(*fields, 0, source.packed, destination.packed)
    head = _IPV4.pack(*fields, internet_checksum(head), source.packed, destination.packed)
    return ethernet_frame(destination_mac, source_mac, ETH_P_IP, head + payload)


def ipv6_frame(
    *,
    source_mac: bytes,
    destination_mac: bytes,
    source: IPv6Address,
    destination: IPv6Address,
    next_header: int,
    payload: bytes,
    traffic_class: int = 0,
    hop_limit: int = 255,
) -> bytes:
    """An IPv6 packet without extension headers in an Ethernet frame."""
    first = 6 << 28 | traffic_class << 20
    head = _IPV6.pack(first, len(payload), next_header, hop_limit, source.packed, destination.packed)
    return ethernet_frame(destination_mac, source_mac, ETH_P_IPV6, head + payload)


# ------------------------------------------------------------------------------------------------ ARP


def arp_frame(packet: ArpPacket, *, destination_mac: bytes = BROADCAST_MAC) -> bytes:
    """An ARP packet in an Ethernet frame."""
    body = _ARP.pack(
        1, ETH_P_IP, 6, 4, packet.operation,
        packet.sender_mac, packet.sender_ip.packed, packet.target_mac, packet.target_ip.packed,
    )  # fmt: skip
    return ethernet_frame(destination_mac, packet.source_mac, ETH_P_ARP, body)


def arp_request(
    sender_mac: bytes,
    sender_ip: IPv4Address,
    target_ip: IPv4Address,
    *,
    destination_mac: bytes = BROADCAST_MAC,
) -> bytes:
    """Who has `target_ip`? Unicast to the address's known owner when `destination_mac` is given."""
    packet = ArpPacket(sender_mac, ARP_REQUEST, sender_mac, sender_ip, NULL_MAC, target_ip)
    return arp_frame(packet, destination_mac=destination_mac)


arp_probe = arp_request
"""Asks whether `target_ip` still answers. RFC 5227's probe is the same with sender 0.0.0.0."""


def gratuitous_arp(mac: bytes, address: IPv4Address) -> bytes:
    """Announces an address as CARP does: a request with sender = target = the address."""
    return arp_request(mac, address, address)


def parse_arp(frame: bytes) -> ArpPacket | None:
    """The ARP packet of an Ethernet frame; nothing when it is not one for IPv4 over Ethernet."""
    if len(frame) < ETHERNET_HEADER + _ARP.size or frame[12:14] != b"\x08\x06":
        return None
    fields = _ARP.unpack_from(frame, ETHERNET_HEADER)
    if fields[:4] != (1, ETH_P_IP, 6, 4):
        return None
    operation, sender_mac, sender_ip, target_mac, target_ip = fields[4:]
    return ArpPacket(frame[6:12], operation, sender_mac, IPv4Address(sender_ip), target_mac, IPv4Address(target_ip))


# ------------------------------------------------------------------------------------------- ICMPv6 ND


def icmpv6_checksum(source: IPv6Address, destination: IPv6Address, message: bytes) -> int:
    """The checksum over the pseudo-header and the message (whose own checksum field is zero, or right)."""
    pseudo = source.packed + destination.packed + struct.pack("!II", len(message), _ICMPV6)
    return internet_checksum(pseudo + message)


def _icmpv6_frame(mac: bytes, to_mac: bytes, source: IPv6Address, to: IPv6Address, message: bytes) -> bytes:
    checksum = icmpv6_checksum(source, to, message)
    message = message[:2] + checksum.to_bytes(2, "big") + message[4:]
    return ipv6_frame(
        source_mac=mac,
        destination_mac=to_mac,
        source=source,
        destination=to,
        next_header=_ICMPV6,
        payload=message,
        hop_limit=_ND_HOP_LIMIT,
    )


def unsolicited_na(mac: bytes, address: IPv6Address, *, router: bool) -> bytes:
    """Announces an address to all nodes; overrides what they had learned."""
    flags = _NA_OVERRIDE | (_NA_ROUTER if router else 0)
    message = struct.pack("!BBHI", _NEIGHBOR_ADVERTISEMENT, 0, 0, flags) + address.packed
    message += bytes((_TARGET_LINK_LAYER, 1)) + mac
    return _icmpv6_frame(mac, multicast_mac(ALL_NODES), address, ALL_NODES, message)


def neighbor_solicitation(
    mac: bytes,
    source: IPv6Address,
    target: IPv6Address,
    *,
    destination_mac: bytes | None = None,
) -> bytes:
    """Who has `target`? To its solicited-node group, or unicast to the known owner."""
    message = struct.pack("!BBHI", _NEIGHBOR_SOLICITATION, 0, 0, 0) + target.packed
    message += bytes((_SOURCE_LINK_LAYER, 1)) + mac
    if destination_mac is not None:
        return _icmpv6_frame(mac, destination_mac, source, target, message)
    group = solicited_node(target)
    return _icmpv6_frame(mac, multicast_mac(group), source, group, message)


def parse_na(frame: bytes) -> NeighborAdvertisement | None:
    """The neighbour advertisement of an Ethernet frame; nothing when it is not a valid one."""
    start = ETHERNET_HEADER + _IPV6.size
    if len(frame) < start + 24 or frame[12:14] != b"\x86\xdd":
        return None
    first, length, next_header, hop_limit, source, to = _IPV6.unpack_from(frame, ETHERNET_HEADER)
    message = frame[start : start + length]
    if first >> 28 != 6 or next_header != _ICMPV6 or hop_limit != _ND_HOP_LIMIT or len(message) < max(24, length):
        return None
    if message[0] != _NEIGHBOR_ADVERTISEMENT or message[1] != 0:
        return None
    if icmpv6_checksum(IPv6Address(source), IPv6Address(to), message):
        return None
    return NeighborAdvertisement(
        source_mac=frame[6:12],
        source=IPv6Address(source),
        target=IPv6Address(message[8:24]),
        link_layer=_option(message, 24, _TARGET_LINK_LAYER),
        router=bool(message[4] & 0x80),
        solicited=bool(message[4] & 0x40),
        override=bool(message[4] & 0x20),
    )


def _option(message: bytes, offset: int, wanted: int) -> bytes:
    """The link-layer address of a neighbour-discovery option, or nothing."""
    while offset + 8 <= len(message):
        size = message[offset + 1] * 8
        if size == 0:
            break
        if message[offset] == wanted:
            return message[offset + 2 : offset + 8]
        offset += size
    return b""
