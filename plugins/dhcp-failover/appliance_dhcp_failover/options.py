"""Values of DHCP options as bytes. Pure.

Kea knows a type for most codes and none for some. Bytes are right for both, and what they have to be is decided in one
place: here.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv4Address
from typing import Literal

Kind = Literal["text", "address", "number8", "number16", "number32", "hex"]
DATA_MAX = 255
"""Bytes; RFC 2132 §2 has one byte for the length."""
ROUTERS, DNS, DOMAIN, NTP, TFTP, BOOT_FILE = 3, 6, 15, 42, 66, 67
"""RFC 2132 §3.5, §3.8, §3.17, §8.3, §9.4, §9.5."""
RESERVED = frozenset({0, 1, 50, 51, 52, 53, 54, 55, 57, 58, 59, 61, 82, 255})
"""Codes by which client and server run the protocol itself (RFC 2132 §9, RFC 3046)."""
_HEX = re.compile(r"[0-9A-Fa-f]{2}(:?[0-9A-Fa-f]{2})*")


def encode(kind: Kind, value: str) -> bytes:
    """The bytes of a value.

    Raises:
        ValueError: It is not of this kind, empty, or too long; says what would be right.
    """
    data = _encode(kind, value.strip())
    if not data:
        raise ValueError("the value is empty")
    if len(data) > DATA_MAX:
        raise ValueError(f"the value has {len(data)} bytes, an option has room for {DATA_MAX}")
    return data


def addresses(values: list[IPv4Address]) -> bytes:
    """A list of addresses as an option carries it."""
    return b"".join(each.packed for each in values)


def _encode(kind: Kind, value: str) -> bytes:
    if kind == "text":
        return value.encode()
    if kind == "hex":
        if not _HEX.fullmatch(value):
            raise ValueError('hexadecimal digits in pairs are needed, such as "0a:1b" or "0a1b"')
        return bytes.fromhex(value.replace(":", ""))
    parts = [part.strip() for part in value.split(",")]
    if kind == "address":
        try:
            return addresses([IPv4Address(part) for part in parts])
        except AddressValueError:
            raise ValueError('IPv4 addresses are needed, separated by commas: "192.168.1.5, 192.168.1.6"') from None
    size = {"number8": 1, "number16": 2, "number32": 4}[kind]
    if not all(part.isascii() and part.isdecimal() and int(part) < 256**size for part in parts):
        raise ValueError(f"numbers from 0 to {256**size - 1} are needed, separated by commas")
    return b"".join(int(part).to_bytes(size) for part in parts)
