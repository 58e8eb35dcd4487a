"""What a DHCP client sends and hears, as whole Ethernet frames (RFC 2131, RFC 2132, RFC 826).

Written for tests alone, and by hand: the product's own encoder must not judge itself, and a thousand clients of one
process need neither addresses nor sockets of their own.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

BROADCAST = b"\xff" * 6
ETH_IPV4, ETH_ARP = 0x0800, 0x0806
UDP, CARP = 17, 112
CARP_ADVERT = 0x21
"""Version 2, type 1 (OpenBSD ip_carp.h); backups say other things to each other."""
CLIENT_PORT, SERVER_PORT = 68, 67
DISCOVER, OFFER, REQUEST, DECLINE, ACK, NAK, RELEASE = range(1, 8)
COOKIE = bytes((99, 130, 83, 99))
FIXED = 236
"""Bytes of a message before its cookie."""
MESSAGE_MIN = 300
"""BOOTP's minimum: some relays and servers drop what is shorter."""
OPT_HOSTNAME, OPT_REQUESTED, OPT_LEASE, OPT_TYPE, OPT_SERVER, OPT_WANTED, OPT_CLIENT_ID, OPT_END = (
    12, 50, 51, 53, 54, 55, 61, 255,
)  # fmt: skip
WANTED = bytes((1, 3, 6, 15, 42, 51, 54, 58, 59))
"""Options that clients ask for: mask, routers, DNS, domain, NTP, times, server."""
BROADCAST_FLAG = 0x8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer of a server."""

    kind: int
    xid: int
    mac: bytes
    """Whom it is for."""
    address: IPv4Address
    server: IPv4Address
    """Its server identifier."""
    lease_s: int
    source_mac: bytes
    """Of the frame: who really sent it."""
    options: dict[int, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a client asks, and in which state (RFC 2131, table 4)."""

    kind: int
    xid: int
    mac: bytes
    secs: int = 0
    hostname: str = ""
    ciaddr: IPv4Address | None = None
    requested: IPv4Address | None = None
    server: IPv4Address | None = None

    def message(self) -> bytes:
        """The BOOTP message."""
        options = [(OPT_TYPE, bytes((self.kind,))), (OPT_CLIENT_ID, b"\x01" + self.mac)]
        if self.kind != RELEASE:
            options.append((OPT_WANTED, WANTED))
        if self.hostname and self.kind != RELEASE:
            options.append((OPT_HOSTNAME, self.hostname.encode()))
        for code, value in ((OPT_REQUESTED, self.requested), (OPT_SERVER, self.server)):
            if value is not None:
                options.append((code, value.packed))
        body = b"".join(bytes((code, len(value))) + value for code, value in options) + bytes((OPT_END,))
        flags = 0 if self.ciaddr else BROADCAST_FLAG
        fixed = struct.pack(
            "!BBBBIHH4s4s4s4s16s64s128s",
            *(1, 1, 6, 0, self.xid, self.secs, flags, self.ciaddr.packed if self.ciaddr else bytes(4)),
            *(bytes(4), bytes(4), bytes(4), self.mac, b"", b""),
        )
        return (fixed + COOKIE + body).ljust(MESSAGE_MIN, b"\0")

    def frame(self, to_mac: bytes = BROADCAST, to: IPv4Address | None = None) -> bytes:
        """Broadcast, or to one server."""
        source = self.ciaddr.packed if self.ciaddr else bytes(4)
        return udp_frame(self.mac, to_mac, source, to.packed if to else b"\xff" * 4, self.message())


def udp_frame(mac: bytes, to_mac: bytes, source: bytes, target: bytes, data: bytes) -> bytes:
    """A datagram from the client's port to the server's; without UDP checksum, which IPv4 allows."""
    length = 8 + len(data)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + length, 0, 0, 64, UDP, 0, source, target)
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    udp = struct.pack("!HHHH", CLIENT_PORT, SERVER_PORT, length, 0)
    return to_mac + mac + struct.pack("!H", ETH_IPV4) + head + udp + data


def checksum(data: bytes) -> int:
    """The Internet checksum of an even number of bytes (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def read_reply(frame: bytes) -> Reply | None:
    """A server's answer in a frame; nothing for any other traffic, or for what is cut short."""
    if len(frame) < 14 + 20 + 8 + FIXED + 4 or frame[12:14] != b"\x08\x00" or frame[23] != UDP:
        return None
    at = 14 + (frame[14] & 15) * 4
    if frame[at : at + 4] != struct.pack("!HH", SERVER_PORT, CLIENT_PORT):
        return None
    message = frame[at + 8 :]
    if message[0] != 2 or message[FIXED : FIXED + 4] != COOKIE:
        return None
    options = read_options(message[FIXED + 4 :])
    kind, server = options.get(OPT_TYPE, b""), options.get(OPT_SERVER, b"")
    if len(kind) != 1 or len(server) != 4:
        return None
    return Reply(
        kind=kind[0],
        xid=int.from_bytes(message[4:8], "big"),
        mac=message[28:34],
        address=IPv4Address(message[16:20]),
        server=IPv4Address(server),
        lease_s=int.from_bytes(options.get(OPT_LEASE, b""), "big"),
        source_mac=frame[6:12],
        options=options,
    )


def read_options(data: bytes) -> dict[int, bytes]:
    """Options up to their end; what is cut short is left out."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 1 < len(data) and data[at] != OPT_END:
        if data[at] == 0:
            at += 1
            continue
        value = data[at + 2 : at + 2 + data[at + 1]]
        if len(value) == data[at + 1]:
            found[data[at]] = value
        at += 2 + data[at + 1]
    return found


def arp_answer(frame: bytes, mac: bytes) -> bytes:
    """The answer to a question for an address, by the client that has it (RFC 826)."""
    asker_mac, asker, asked = frame[22:28], frame[28:32], frame[38:42]
    body = struct.pack("!HHBBH", 1, ETH_IPV4, 6, 4, 2) + mac + asked + asker_mac + asker
    return asker_mac + mac + struct.pack("!H", ETH_ARP) + body


def arp_asked(frame: bytes) -> IPv4Address | None:
    """The address that an ARP question is for."""
    if len(frame) < 42 or frame[12:14] != b"\x08\x06" or frame[20:22] != b"\x00\x01":
        return None
    return IPv4Address(frame[38:42])


def carp_sender(frame: bytes) -> tuple[int, IPv4Address] | None:
    """VHID and node of a CARP advert: who is master, as anybody on the network sees it."""
    if len(frame) < 38 or frame[12:14] != b"\x08\x00" or frame[23] != CARP:
        return None
    at = 14 + (frame[14] & 15) * 4
    if len(frame) <= at + 1 or frame[at] != CARP_ADVERT:
        return None
    return frame[at + 1], IPv4Address(frame[26:30])
