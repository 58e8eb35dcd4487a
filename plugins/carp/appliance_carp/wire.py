"""CARP version 2 on the wire: IP packet and 36-byte advert to values and back, digest included.

Knows bytes, not states. Layout (big-endian; FreeBSD and OpenBSD `ip_carp.h`)::

    0       1      2        3        4       5        6      8        16
    ver|typ vhid   advskew  authlen  demote  advbase  cksum  counter  HMAC-SHA1 (20)

The checksum covers these 36 bytes only, also over IPv6. The HMAC covers version, type, vhid, every virtual
address (sorted) and the counter; it does *not* cover advskew, advbase, demote or the source address, so
these prove nothing by themselves. The receive order and the counter names are FreeBSD's.

This runs for every advert of every VHID: hashes are prepared per key and cloned per packet, values are
named tuples (a frozen dataclass costs three times as much to make).
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import struct
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple, TypeAlias

PROTOCOL = 112
"""IP protocol number, shared with VRRP."""
TTL = 255
"""Must be 255 on receive for multicast; the caller checks, because unicast peers may be routed."""
GROUP_V4 = "224.0.0.18"
GROUP_V6 = "ff02::12"
ADVERT_SIZE = 36
HELLO_TYPE = 0x22
"""First byte of `hello` messages: version 2, type 2, which no CARP accepts."""

_VERSION_TYPE = 0x21
_VRRP3_TYPE = 0x31
_AUTHLEN = 7
_HEAD = struct.Struct("!BBBBBBHQ20s")
_UNSUMMED = struct.Struct("!BBBBBBHQ")
_COUNTER = struct.Struct("!Q")
_BLOCK = 64  # of SHA1, for the two pads of HMAC (RFC 2104)
_ADDRESSES_CACHED = 256  # text forms of IPv6 sources; more only means that an odd one is formatted again

Address: TypeAlias = str | ipaddress.IPv4Address | ipaddress.IPv6Address


class Malformed(Exception):  # noqa: N818 - it is a property of the packet, and never reaches an operator
    """The peer sent nonsense; `counter` is FreeBSD's name of the statistic that it belongs to."""

    def __init__(self, counter: str, detail: str = "") -> None:
        super().__init__(f"{counter}: {detail}" if detail else counter)
        self.counter = counter


class Advert(NamedTuple):
    """One advertisement, checksum already verified, digest not yet."""

    vhid: int
    advskew: int
    advbase: int
    demote: int
    counter: int
    digest: bytes
    authlen: int = _AUTHLEN


class Packet(NamedTuple):
    """What matters of the IP packet around a payload."""

    source: str
    destination: str
    ttl: int
    payload: bytes


def parse(payload: bytes) -> Advert:
    """Read an advert from an IP payload.

    Like the BSDs this looks neither at authlen nor at demote, and tolerates bytes after the advert as long
    as the checksum is right over either the advert (OpenBSD) or everything (FreeBSD).
    """
    if len(payload) < ADVERT_SIZE:
        raise Malformed("badlen")
    head = payload[:ADVERT_SIZE]
    version_type, vhid, advskew, authlen, demote, advbase, _cksum, counter, digest = _HEAD.unpack(head)
    if version_type != _VERSION_TYPE:
        raise Malformed("badver")
    if int.from_bytes(head, "big") % 0xFFFF and checksum(payload):
        raise Malformed("badsum")
    return Advert(vhid, advskew, advbase, demote, counter, digest, authlen)


def checksum(data: bytes) -> int:
    """Return the Internet checksum; 0 when `data` already contains a right one."""
    if len(data) % 2:
        data += b"\0"
    # The one's-complement sum of 16-bit words is the number modulo 65535, with 65535 standing for its 0.
    rest = int.from_bytes(data, "big") % 0xFFFF
    return 0xFFFF - rest if rest else 0


def parse_ipv4(ip_packet: bytes) -> Packet:
    """Read an IPv4 packet; bytes after its total length (Ethernet padding) are not part of it."""
    if len(ip_packet) < 20:
        raise Malformed("hdrops", "short")
    header_size = (ip_packet[0] & 15) * 4
    total = ip_packet[2] << 8 | ip_packet[3]
    if ip_packet[0] >> 4 != 4 or header_size < 20 or len(ip_packet) < header_size or ip_packet[9] != PROTOCOL:
        raise Malformed("hdrops", "not protocol 112 over IPv4")
    if (ip_packet[6] << 8 | ip_packet[7]) & 0x3FFF:  # more fragments, or an offset
        raise Malformed("hdrops", "fragment")
    if not header_size <= total <= len(ip_packet):
        raise Malformed("badlen")
    if int.from_bytes(ip_packet[:header_size], "big") % 0xFFFF:
        raise Malformed("badsum", "IP header")
    source, destination = _text_v4(ip_packet[12:16]), _text_v4(ip_packet[16:20])
    return Packet(source, destination, ip_packet[8], ip_packet[header_size:total])


def parse_ipv6(ip_packet: bytes) -> Packet:
    """Read an IPv6 packet; CARP follows the fixed header directly, anything else is not CARP."""
    if len(ip_packet) < 40 or ip_packet[0] >> 4 != 6 or ip_packet[6] != PROTOCOL:
        raise Malformed("hdrops", "not protocol 112 over IPv6")
    end = 40 + (ip_packet[4] << 8 | ip_packet[5])
    if end > len(ip_packet):
        raise Malformed("badlen")
    return Packet(_text_v6(ip_packet[8:24]), _text_v6(ip_packet[24:40]), ip_packet[7], ip_packet[40:end])


def _text_v4(packed: bytes) -> str:
    a, b, c, d = packed
    return f"{a}.{b}.{c}.{d}"


@lru_cache(maxsize=_ADDRESSES_CACHED)
def _text_v6(packed: bytes) -> str:
    return str(ipaddress.IPv6Address(packed))


class Key:
    """Password, vhid and address set, hashed as far as possible ahead of time."""

    def __init__(
        self, password: str | bytes, vhid: int, addresses: Iterable[Address], *, send_nov6ll: bool = False
    ) -> None:
        """Prepare the key.

        Args:
            password: At most 19 bytes; the configuration refuses more.
            vhid: 1..255.
            addresses: All virtual addresses of the VHID, both families, any order.
            send_nov6ll: Leave link-local addresses out of what we send, as OpenBSD does. Both forms are
                accepted in any case.
        """
        self.vhid = vhid
        secret = password.encode() if isinstance(password, str) else password
        padded = secret.ljust(_BLOCK, b"\0")
        self._outer = hashlib.sha1(bytes(byte ^ 0x5C for byte in padded), usedforsecurity=False)
        inner = hashlib.sha1(bytes(byte ^ 0x36 for byte in padded), usedforsecurity=False)
        inner.update(bytes((2, 1, vhid)))
        packed = hashed_addresses(addresses)
        globals_only = [one for one in packed if not _is_link_local(one)]
        nov6ll = inner.copy()
        nov6ll.update(b"".join(globals_only))
        inner.update(b"".join(packed))
        # FreeBSD hashes link-local addresses ("HMAC_ORIG"), OpenBSD sends without ("HMAC_NOV6LL").
        self._inner, self._other = (nov6ll, inner) if send_nov6ll else (inner, nov6ll)
        self._has_other = len(globals_only) != len(packed)

    def digest(self, counter_bytes: bytes) -> bytes:
        """Return what we send for this counter."""
        inner = self._inner.copy()
        inner.update(counter_bytes)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def verifies(self, advert: Advert) -> bool:
        """Whether the sender knows our password and has our set of addresses."""
        counter_bytes = _COUNTER.pack(advert.counter)
        if hmac.compare_digest(self.digest(counter_bytes), advert.digest):
            return True
        if not self._has_other:
            return False
        inner = self._other.copy()
        inner.update(counter_bytes)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return hmac.compare_digest(outer.digest(), advert.digest)


def hashed_addresses(addresses: Iterable[Address]) -> list[bytes]:
    """Return the packed addresses in the order of the digest: IPv4 ascending, then IPv6 ascending, each once.

    The BSDs search the "smallest above the last, below all-ones" starting from zero; hence all-zeros and
    all-ones are never hashed. Scope ids that BSD embeds in bytes 2 and 3 of link-local addresses are cleared.
    """
    found: set[bytes] = set()
    for address in addresses:
        if isinstance(address, str):
            address = ipaddress.ip_address(address.partition("/")[0].partition("%")[0])
        packed = address.packed
        if _is_link_local(packed):
            packed = packed[:2] + b"\0\0" + packed[4:]
        if packed.strip(b"\0") and packed.strip(b"\xff"):
            found.add(packed)
    return sorted(found, key=lambda packed: (len(packed), packed))


def _is_link_local(packed: bytes) -> bool:
    return len(packed) == 16 and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80


def encode(key: Key, *, advskew: int, advbase: int, demote: int, counter: int) -> bytes:
    """Return the 36 bytes of an advert."""
    start = _UNSUMMED.pack(_VERSION_TYPE, key.vhid, advskew, _AUTHLEN, demote, advbase, 0, counter)
    packet = start + key.digest(start[8:])
    rest = int.from_bytes(packet, "big") % 0xFFFF
    cksum = 0xFFFF - rest if rest else 0
    return packet[:6] + cksum.to_bytes(2, "big") + packet[8:]


def describe_foreign(packet: Packet) -> str | None:
    """Say which VRRP speaker this is, or None when it is not VRRP.

    CARP and VRRP share protocol, group and virtual MAC: the same id on one network is a duplicate MAC.
    ``packet.payload[1]`` is the id. VRRP version 2 has the first byte of CARP, then
    ``vrid priority count authtype interval cksum addresses*4 [authdata*8]``: byte 3 and the length give it
    away (seven addresses without authentication data look like CARP and end as a bad digest).
    """
    payload = packet.payload
    if len(payload) < 8:
        return None
    first, vrid, priority, count = payload[:4]
    if first == _VRRP3_TYPE:
        size = 16 if ":" in packet.source else 4
        version = 3
    elif first == _VERSION_TYPE and not (count == _AUTHLEN and len(payload) == ADVERT_SIZE):
        size, version = 4, 2
        if len(payload) not in (8 + 4 * count, 16 + 4 * count) or payload[4] > 2 or checksum(payload):
            return None
    else:
        return None
    body = payload[8 : 8 + size * count]
    packed = [body[at : at + size] for at in range(0, len(body) - size + 1, size)]
    shown = ", ".join(_text_v4(one) if size == 4 else _text_v6(one) for one in packed[:4])
    return f"VRRP version {version} from {packet.source}: id {vrid}, priority {priority}, addresses {shown or 'none'}"
