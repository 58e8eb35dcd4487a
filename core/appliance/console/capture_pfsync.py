"""What a pfsync datagram says, in short: BSD's versions 5 and 6, and the form between our own nodes. No I/O."""

from __future__ import annotations

import struct

Value = str | int | bool | list[str]

PROTOCOL = 240
FREEBSD, OPENBSD, NATIVE = 5, 6, 0x4E
ACTIONS = (
    *("CLR", "INS_1301", "INS_ACK", "UPD_1301", "UPD_C", "UPD_REQ", "DEL", "DEL_C"),
    *("INS_F", "DEL_F", "BUS", "TDB", "EOF", "INS_1400", "UPD_1400", "INS_1500", "UPD_1500"),
)
"""By number; OpenBSD calls 13 and 14 INS and UPD (net/if_pfsync.h)."""
SIZES = (20, 242, 12, 242, 84, 12, 0, 12, 0, 0, 12, 48, 0, 277, 277, 360, 360)
"""Bytes of one message of each action in version 5, where nothing else tells."""
_HELLO = struct.Struct("!BBBBQQIBBHB")
_SUBHEADER = struct.Struct("!BBH")
_HEADER_BYTES = 20
_SECTIONS_MAX = 16


def fields(payload: bytes) -> dict[str, Value]:
    """The facts of one datagram. Never raises, whatever the bytes."""
    if len(payload) < 4:
        return {"length": len(payload)}
    if payload[0] == NATIVE:
        return _native(payload)
    if payload[0] in (FREEBSD, OPENBSD):
        return _bsd(payload)
    return {"version": payload[0], "length": len(payload)}


def _native(payload: bytes) -> dict[str, Value]:
    if payload[1] == 1 and len(payload) >= _HELLO.size:
        _, _, _, keys, boot, sequence, states, lowest, highest, _, size = _HELLO.unpack_from(payload)
        name = payload[_HELLO.size : _HELLO.size + size].decode("utf-8", "replace")
        versions = str(lowest) if lowest == highest else f"{lowest}-{highest}"
        return {
            "form": "native",
            "hello": name if name.isprintable() else name.encode().hex(),
            "versions": versions,
            "states": states,
            "keys": keys,
            "boot": f"{boot:016x}",
            "sequence": sequence,
        }
    if payload[1] == 2 and len(payload) >= 16:
        return {
            "form": "native",
            "session": payload[4:8].hex(),
            "counter": int.from_bytes(payload[8:16]),
            "length": len(payload),
        }
    return {"form": "native", "type": payload[1], "length": len(payload)}


def _bsd(payload: bytes) -> dict[str, Value]:
    end = min(int.from_bytes(payload[2:4]), len(payload))
    at, sections = _HEADER_BYTES, list[str]()
    while at + _SUBHEADER.size <= end and len(sections) < _SECTIONS_MAX:
        action, words, count = _SUBHEADER.unpack_from(payload, at)
        at += _SUBHEADER.size
        size = words * 4 if payload[0] == OPENBSD else _size(action)
        name = ACTIONS[action] if action < len(ACTIONS) else f"action{action}"
        if payload[0] == OPENBSD:
            name = {13: "INS", 14: "UPD", 15: "TDB"}.get(action, name)
        if at + size * count > end:
            sections.append(f"{name} x{count} (cut off)")
            break
        if name != "EOF":
            sections.append(f"{name} x{count}")
        at += size * count
    return {"version": payload[0], "messages": sections, "length": len(payload)}


def _size(action: int) -> int:
    return SIZES[action] if action < len(SIZES) else 0
