"""LLDP frames as switches send them, made by hand from IEEE 802.1AB-2016, clause 8."""

from __future__ import annotations


def value(kind: int, data: bytes) -> bytes:
    """One TLV: seven bits of type, nine of length."""
    return (kind << 9 | len(data)).to_bytes(2, "big") + data


def lldp_payload(
    *, chassis: str = "02:00:00:00:00:aa", port: str = "ge-0/0/1", ttl_s: int = 120, name: str = ""
) -> bytes:
    """Chassis by MAC address, port by name."""
    parts = [
        value(1, b"\x04" + bytes.fromhex(chassis.replace(":", ""))),
        value(2, b"\x05" + port.encode()),
        value(3, ttl_s.to_bytes(2, "big")),
    ]
    if name:
        parts.append(value(5, name.encode()))
    return b"".join([*parts, value(0, b"")])


def lldp_frame(*, chassis: str, port: str) -> bytes:
    """The whole frame, to the nearest bridge."""
    source = bytes.fromhex(chassis.replace(":", ""))
    return bytes.fromhex("0180c200000e") + source + b"\x88\xcc" + lldp_payload(chassis=chassis, port=port)
