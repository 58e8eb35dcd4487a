"""A look at the wire and a hand on it: frames of a lab's namespaces, read and made without the plugin's own code.

The encoder here is a second one on purpose: written from the protocol's description, with `hmac` of the standard
library, so that a mistake in `appliance_carp.wire` cannot hide behind itself.
"""

from __future__ import annotations

import hashlib
import hmac
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple

from appliance.lab import Lab, netns
from appliance.lab.waiting import LabTimeoutError

ETH_P_ALL = 3
CARP = 112
GROUP = {4: "224.0.0.18", 6: "ff02::12"}
GROUP_MAC = {4: "01:00:5e:00:00:12", 6: "33:33:00:00:00:12"}
BROADCAST = "ff:ff:ff:ff:ff:ff"
ATTACKER_MAC = "02:66:66:66:66:66"
_SO_TIMESTAMPNS = 35
_RECEIVE_BYTES = 4 << 20
_PACKET_OUTGOING = 4


class Frame(NamedTuple):
    """One Ethernet frame."""

    raw: bytes
    at: float = 0.0
    """Wall clock of the kernel, in seconds."""
    outgoing: bool = False
    """Sent by the device that is looked at, and not received by it."""

    @property
    def destination_mac(self) -> str:
        return self.raw[:6].hex(":")

    @property
    def source_mac(self) -> str:
        return self.raw[6:12].hex(":")

    @property
    def ethertype(self) -> int:
        return int.from_bytes(self.raw[12:14], "big")

    @property
    def family(self) -> int:
        """4, 6, or 0 for what is no IP packet."""
        return {0x0800: 4, 0x86DD: 6}.get(self.ethertype, 0)

    @property
    def ip(self) -> bytes:
        """Everything after the Ethernet header."""
        return self.raw[14:]

    @property
    def protocol(self) -> int:
        return {4: self.raw[23:24], 6: self.raw[20:21], 0: b"\0"}[self.family][0] if len(self.raw) > 23 else 0

    @property
    def source(self) -> str:
        return str(ip_address(self.ip[12:16] if self.family == 4 else self.ip[8:24]))

    @property
    def destination(self) -> str:
        return str(ip_address(self.ip[16:20] if self.family == 4 else self.ip[24:40]))

    @property
    def ttl(self) -> int:
        return self.ip[8] if self.family == 4 else self.ip[7]

    @property
    def payload(self) -> bytes:
        """What the IP packet carries, without padding."""
        if self.family == 4:
            return self.ip[(self.ip[0] & 15) * 4 : int.from_bytes(self.ip[2:4], "big")]
        return self.ip[40 : 40 + int.from_bytes(self.ip[4:6], "big")]

    @property
    def is_advert(self) -> bool:
        """A CARP advert, not a hello of our own nodes nor VRRP version 3."""
        return self.protocol == CARP and self.payload[:1] == b"\x21"

    @property
    def advert(self) -> Advert:
        """The fields of an advert."""
        return Advert(*_ADVERT.unpack(self.payload))


class Advert(NamedTuple):
    """The 36 bytes, field by field."""

    version_type: int
    vhid: int
    advskew: int
    authlen: int
    demote: int
    advbase: int
    checksum: int
    counter: bytes
    digest: bytes

    @property
    def is_bow_out(self) -> bool:
        return (self.advbase, self.advskew) == (255, 255)


_ADVERT = struct.Struct("!BBBBBBH8s20s")


class Wire:
    """A packet socket on one device of one machine: hears every frame of both directions, sends any."""

    def __init__(self, lab: Lab, role: str, device: str) -> None:
        def opened() -> socket.socket:
            return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))

        # A socket stays in the namespace in which it was made.
        self._socket = netns.inside(lab.topology.namespace(role), opened)
        self._name = f"{role}/{device}"
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._socket.bind((device, ETH_P_ALL))
        self._socket.setblocking(False)
        self._drain()
        self.heard: list[Frame] = []
        """Everything since the beginning, or since `forget`."""

    def close(self) -> None:
        self._socket.close()

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self._socket.send(frame)

    def listen(self) -> list[Frame]:
        """Take in what has come; everything heard so far."""
        self.heard += self._drain()
        return self.heard

    def forget(self) -> None:
        self._drain()
        self.heard = []

    def _drain(self) -> list[Frame]:
        found = []
        while True:
            try:
                raw, control, _, address = self._socket.recvmsg(2048, 64)
            except BlockingIOError:
                return found
            seconds, nanoseconds = struct.unpack("@qq", control[0][2][:16]) if control else (0, 0)
            found.append(Frame(raw, seconds + nanoseconds / 1e9, address[2] == _PACKET_OUTGOING))

    def wait(self, wanted: Callable[[Frame], bool], what: str, *, count: int = 1, deadline_s: float = 5.0) -> Frame:
        """Until so many such frames were heard; the last of them."""
        deadline = time.monotonic() + deadline_s
        while len(found := [frame for frame in self.listen() if wanted(frame)]) < count:
            if time.monotonic() > deadline:
                heard = "; ".join(describe(frame) for frame in self.heard[-20:])
                raise LabTimeoutError(f"{self._name} did not hear {what} in {deadline_s} s", hint=f"Heard: {heard}")
            select.select([self._socket], [], [], 0.05)
        return found[count - 1]


@contextmanager
def tapped(lab: Lab, role: str, device: str) -> Iterator[Wire]:
    """A `Wire` for the length of a block."""
    wire = Wire(lab, role, device)
    try:
        yield wire
    finally:
        wire.close()


def describe(frame: Frame) -> str:
    """One frame in few words."""
    if frame.is_advert and len(frame.payload) == _ADVERT.size:
        advert = frame.advert
        return f"{frame.source} advert vhid {advert.vhid} {advert.advbase}/{advert.advskew}"
    return f"{frame.source_mac} > {frame.destination_mac} {frame.ethertype:04x} {frame.raw[14:30].hex()}"


# ------------------------------------------------------------------------------------------------- making


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def internet_checksum(data: bytes) -> int:
    """RFC 1071, the slow way."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def digest(password: str, vhid: int, addresses: Iterable[str], counter: bytes) -> bytes:
    """HMAC-SHA1 over version, type, VHID, IPv4 addresses, IPv6 addresses (both ascending) and the counter."""
    parsed = [ip_address(text.partition("/")[0]) for text in addresses]
    ordered = sorted({(each.version, each.packed) for each in parsed})
    message = bytes((2, 1, vhid)) + b"".join(packed for _, packed in ordered) + counter
    return hmac.new(password.encode(), message, hashlib.sha1).digest()


def advert(
    password: str,
    vhid: int,
    addresses: Iterable[str],
    *,
    advbase: int = 1,
    advskew: int = 0,
    counter: bytes = b"\x01\x23\x45\x67\x89\xab\xcd\xef",
) -> bytes:
    """The 36 bytes of an advert."""
    return summed(
        _ADVERT.pack(0x21, vhid, advskew, 7, 0, advbase, 0, counter, digest(password, vhid, addresses, counter))
    )


def summed(payload: bytes) -> bytes:
    """The same with a right checksum in bytes 6 and 7."""
    blank = payload[:6] + b"\0\0" + payload[8:]
    return blank[:6] + struct.pack("!H", internet_checksum(blank)) + blank[8:]


def packet(
    payload: bytes,
    source: str,
    *,
    destination: str = "",
    source_mac: str = ATTACKER_MAC,
    destination_mac: str = "",
    ttl: int = 255,
    protocol: int = CARP,
) -> bytes:
    """A payload in an IP packet in an Ethernet frame, to the CARP group unless told otherwise."""
    parsed = ip_address(source)
    target = ip_address(destination or GROUP[parsed.version])
    ethernet = mac(destination_mac or GROUP_MAC[parsed.version]) + mac(source_mac)
    if isinstance(parsed, IPv4Address):
        fields = (0x45, 0xE0, 20 + len(payload), 0, 0x4000, ttl, protocol)
        head = struct.pack("!BBHHHBBH4s4s", *fields, 0, parsed.packed, target.packed)
        head = head[:10] + struct.pack("!H", internet_checksum(head)) + head[12:]
        return ethernet + b"\x08\x00" + head + payload
    assert isinstance(parsed, IPv6Address)
    head = struct.pack("!IHBB16s16s", 0x6E000000, len(payload), protocol, ttl, parsed.packed, target.packed)
    return ethernet + b"\x86\xdd" + head + payload


def with_payload(frame: Frame, payload: bytes) -> bytes:
    """A recorded frame with another payload of the same length."""
    assert len(payload) == len(frame.payload)
    return frame.raw[: len(frame.raw) - len(payload)] + payload


def arp(operation: int, sender_mac: str, sender: str, target: str, *, target_mac: str = "00:00:00:00:00:00") -> bytes:
    """A broadcast ARP frame."""
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac(sender_mac) + ip_address(sender).packed
    return mac(BROADCAST) + mac(sender_mac) + b"\x08\x06" + body + mac(target_mac) + ip_address(target).packed
