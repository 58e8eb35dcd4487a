"""Ethernet frames to one-line summaries: CARP, VRRP, our hellos, pfsync, ARP, IPv6 neighbour adverts. No I/O.

CARP and VRRP share IP protocol 112 and, in version 2, even the first byte. What tells them apart: CARP
is exactly 36 bytes long and its fourth byte is 7, the length of counter and digest in words; a VRRP
advertisement with that byte (seven addresses) and an authentication field is 44 bytes long.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address

from appliance.console import capture_pfsync

IPV4, ARP, VLAN, IPV6 = 0x0800, 0x0806, 0x8100, 0x86DD
PROTOCOL_CARP, PROTOCOL_ICMPV6 = 112, 58
NEIGHBOUR_ADVERTISEMENT = 136  # RFC 4861 §4.4
CARP_LENGTH = 36
CARP_AUTH_WORDS = 7
CARP = struct.Struct("!BBBBBBHQ20s")
HELLO = struct.Struct("!BBBBQQHBI")
HELLO_FIRST_BYTE = 0x22
HELLO_ENABLED, HELLO_MAINTENANCE = 1, 2
CHECKED_HOPS = 255
"""TTL or hop limit of every advertisement; anything else has crossed a router."""

Value = str | int | bool | list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What one frame says."""

    protocol: str
    source: str
    destination: str
    source_mac: str
    fields: dict[str, Value] = field(default_factory=dict)

    def line(self) -> str:
        """For people."""
        fields = " ".join(f"{key} {_text(value)}" for key, value in self.fields.items())
        return f"{self.protocol:<7} {self.source} > {self.destination}  {fields}  from {self.source_mac}"

    def data(self) -> dict[str, object]:
        """For programs."""
        return {
            "protocol": self.protocol,
            "source": self.source,
            "destination": self.destination,
            "source_mac": self.source_mac,
            **self.fields,
        }


def decode(frame: bytes) -> Decoded | None:
    """The summary of a frame, or ``None`` when it is none of ours. Never raises, whatever the bytes."""
    if len(frame) < 14:
        return None
    kind, at = int.from_bytes(frame[12:14]), 14
    if kind == VLAN and len(frame) >= 18:
        kind, at = int.from_bytes(frame[16:18]), 18
    source_mac, payload = frame[6:12].hex(":"), frame[at:]
    match kind:
        case _ if kind == ARP:
            return _arp(payload, source_mac)
        case _ if kind == IPV4:
            return _ipv4(payload, source_mac)
        case _ if kind == IPV6:
            return _ipv6(payload, source_mac)
    return None


def checksum_ok(data: bytes) -> bool:
    """Whether the Internet checksum inside the data is right (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


def _ipv4(packet: bytes, mac: str) -> Decoded | None:
    if len(packet) < 20 or packet[0] >> 4 != 4 or packet[9] not in (PROTOCOL_CARP, capture_pfsync.PROTOCOL):
        return None
    header, total = (packet[0] & 15) * 4, int.from_bytes(packet[2:4])
    source, destination = str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20]))
    if packet[9] == capture_pfsync.PROTOCOL:
        return _pfsync(packet[header:total], source, destination, mac, packet[8])
    pseudo = packet[12:20] + b"\0\x70" + max(total - header, 0).to_bytes(2)
    return _advert(packet[header:total], source, destination, mac, packet[8], pseudo, 4)


def _ipv6(packet: bytes, mac: str) -> Decoded | None:
    if len(packet) < 40 or packet[0] >> 4 != 6:
        return None
    length, following, hops = int.from_bytes(packet[4:6]), packet[6], packet[7]
    source, destination = str(IPv6Address(packet[8:24])), str(IPv6Address(packet[24:40]))
    payload = packet[40 : 40 + length]
    if following == PROTOCOL_CARP:
        pseudo = packet[8:40] + length.to_bytes(4) + b"\0\0\0\x70"
        return _advert(payload, source, destination, mac, hops, pseudo, 16)
    if following == capture_pfsync.PROTOCOL:
        return _pfsync(payload, source, destination, mac, hops)
    if following == PROTOCOL_ICMPV6:
        return _neighbour(payload, source, destination, mac, hops)
    return None


def _pfsync(payload: bytes, source: str, destination: str, mac: str, hops: int) -> Decoded:
    fields = capture_pfsync.fields(payload)
    if hops != CHECKED_HOPS:
        fields["ttl"] = hops
    return Decoded(protocol="pfsync", source=source, destination=destination, source_mac=mac, fields=fields)


def _advert(
    payload: bytes, source: str, destination: str, mac: str, hops: int, pseudo: bytes, address_size: int
) -> Decoded | None:
    if len(payload) < 8:
        return None
    if payload[0] == 0x21 and payload[3] == CARP_AUTH_WORDS and len(payload) == CARP_LENGTH:
        name, fields = "CARP", _carp(payload)
    elif payload[0] == 0x21:
        name, fields = "VRRPv2", _vrrp2(payload)
    elif payload[0] == HELLO_FIRST_BYTE and len(payload) > HELLO.size:
        name, fields = "hello", _hello(payload)
    elif payload[0] == 0x31:
        name, fields = "VRRPv3", _vrrp3(payload, pseudo, address_size)
    else:
        name, fields = "proto112", {"first_byte": f"{payload[0]:#04x}", "length": len(payload)}
    if hops != CHECKED_HOPS:
        fields["ttl"] = hops
    return Decoded(protocol=name, source=source, destination=destination, source_mac=mac, fields=fields)


def _carp(payload: bytes) -> dict[str, Value]:
    _, vhid, advskew, _, demotion, advbase, _, counter, digest = CARP.unpack(payload)
    fields: dict[str, Value] = {"vhid": vhid, "advbase": advbase, "advskew": advskew}
    if demotion:
        fields["demotion"] = demotion
    if advskew == 255:
        # FreeBSD and we say so when a master leaves in good order.
        fields["bow_out"] = True
    fields |= {"counter": f"{counter:016x}", "digest": digest[:4].hex()}
    if not checksum_ok(payload):
        fields["bad_checksum"] = True
    return fields


def _hello(payload: bytes) -> dict[str, Value]:
    """The open part of what our own nodes tell each other; the plugin `carp` owns the format."""
    _, _, part, parts, _, sequence, demotion, flags, _ = HELLO.unpack_from(payload)
    name = payload[HELLO.size + 1 : HELLO.size + 1 + payload[HELLO.size]]
    fields: dict[str, Value] = {"node": name.decode("utf-8", "replace"), "demotion": demotion, "sequence": sequence}
    if parts > 1:
        fields["part"] = f"{part + 1}/{parts}"
    if not flags & HELLO_ENABLED:
        fields["disabled"] = True
    if flags & HELLO_MAINTENANCE:
        fields["maintenance"] = True
    return fields


def _vrrp2(payload: bytes) -> dict[str, Value]:
    fields: dict[str, Value] = {"vrid": payload[1], "priority": payload[2], "interval_s": payload[5]}
    fields["addresses"] = _addresses(payload[8:], payload[3], 4)
    if not checksum_ok(payload):
        fields["bad_checksum"] = True
    return fields


def _vrrp3(payload: bytes, pseudo: bytes, address_size: int) -> dict[str, Value]:
    interval_ms = (int.from_bytes(payload[4:6]) & 0x0FFF) * 10
    fields: dict[str, Value] = {"vrid": payload[1], "priority": payload[2], "interval_ms": interval_ms}
    fields["addresses"] = _addresses(payload[8:], payload[3], address_size)
    # RFC 5798 has a pseudo-header; some senders leave it out for IPv4.
    if not checksum_ok(pseudo + payload) and not checksum_ok(payload):
        fields["bad_checksum"] = True
    return fields


def _addresses(data: bytes, count: int, size: int) -> list[str]:
    kind = IPv4Address if size == 4 else IPv6Address
    whole = min(count, len(data) // size)
    return [str(kind(data[index * size : (index + 1) * size])) for index in range(whole)]


def _arp(packet: bytes, mac: str) -> Decoded | None:
    if len(packet) < 28 or packet[:6] != b"\0\x01\x08\0\x06\x04":
        return None
    operation = int.from_bytes(packet[6:8])
    sender_mac, sender = packet[8:14].hex(":"), str(IPv4Address(packet[14:18]))
    target = str(IPv4Address(packet[24:28]))
    fields: dict[str, Value] = {"is_at" if operation == 2 else "asks_from": sender_mac}
    if sender == target:
        # Whoever takes an address over announces it like this (RFC 5227 §3).
        fields["gratuitous"] = True
    names = {1: "ARP-req", 2: "ARP-rep"}
    name = "GARP" if sender == target else names.get(operation, f"ARP-{operation}")
    return Decoded(protocol=name, source=sender, destination=target, source_mac=mac, fields=fields)


def _neighbour(payload: bytes, source: str, destination: str, mac: str, hops: int) -> Decoded | None:
    if len(payload) < 24 or payload[0] != NEIGHBOUR_ADVERTISEMENT:
        return None
    flags = payload[4]
    fields: dict[str, Value] = {"target": str(IPv6Address(payload[8:24]))}
    if len(payload) >= 32 and payload[24:26] == b"\x02\x01":
        fields["is_at"] = payload[26:32].hex(":")
    named = {0x80: "router", 0x40: "solicited", 0x20: "override"}
    fields["flags"] = [name for bit, name in named.items() if flags & bit]
    if hops != CHECKED_HOPS:
        fields["ttl"] = hops
    return Decoded(protocol="NA", source=source, destination=destination, source_mac=mac, fields=fields)


def _text(value: Value) -> str:
    if isinstance(value, list):
        return ",".join(value) or "none"
    return "yes" if value is True else str(value)
