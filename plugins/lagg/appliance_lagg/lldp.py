"""What a neighbour says about itself with LLDP: which switch, and which of its ports. Pure.

Layout of IEEE 802.1AB-2016, clause 8: a list of values with seven bits of type and nine bits of length.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import NamedTuple

ETHERTYPE = 0x88CC
GROUP = bytes.fromhex("0180c200000e")
"""Frames to it end at the next bridge."""
TEXT_MAX = 64
"""Bytes of a name that are kept; it comes from the network."""

_END, _CHASSIS, _PORT, _TTL, _NAME = 0, 1, 2, 3, 5
_MAC_SUBTYPES = {_CHASSIS: 4, _PORT: 3}
_ADDRESS_SUBTYPES = {_CHASSIS: 5, _PORT: 4}
_FAMILIES = {1: 4, 2: 16}  # IANA address family numbers, with the length of an address


class Neighbour(NamedTuple):
    """The far end of a cable."""

    chassis: str
    """Identifies the switch."""
    port: str
    ttl_s: int
    """How long this may be believed."""
    name: str = ""


def parse(payload: bytes) -> Neighbour | None:
    """The payload of a frame; nothing when it is malformed."""
    values: dict[int, bytes] = {}
    offset = 0
    while offset + 2 <= len(payload):
        head = int.from_bytes(payload[offset : offset + 2], "big")
        kind, length = head >> 9, head & 0x1FF
        offset += 2
        if kind == _END:
            break
        if offset + length > len(payload):
            return None
        values.setdefault(kind, payload[offset : offset + length])
        offset += length
    if not {_CHASSIS, _PORT, _TTL} <= values.keys() or len(values[_TTL]) != 2:
        return None
    if min(len(values[_CHASSIS]), len(values[_PORT])) < 2:
        return None
    return Neighbour(
        chassis=_identity(_CHASSIS, values[_CHASSIS]),
        port=_identity(_PORT, values[_PORT]),
        ttl_s=int.from_bytes(values[_TTL], "big"),
        name=_text(values.get(_NAME, b"")),
    )


def _identity(kind: int, value: bytes) -> str:
    subtype, rest = value[0], value[1:]
    if subtype == _MAC_SUBTYPES[kind] and len(rest) == 6:
        return rest.hex(":")
    if subtype == _ADDRESS_SUBTYPES[kind] and _FAMILIES.get(rest[0]) == len(rest) - 1:
        return str(ip_address(rest[1:]))
    return _text(rest)


def _text(raw: bytes) -> str:
    text = raw[:TEXT_MAX].decode("utf-8", errors="replace")
    return "".join(character if character.isprintable() else "?" for character in text)
