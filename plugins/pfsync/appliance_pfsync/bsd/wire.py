"""The bytes of a datagram: header, subheaders, and every message that is not a full state. Big-endian throughout.

::

    header, 20 bytes      version  0  length(2)  checksum of the ruleset(16), zeros from us
    subheader, 4 bytes    action  0 or words of one message (version 6)  count(2)
    messages              `count` of one size
    ... more subheaders; version 5 ends with EOF
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from appliance_pfsync.bsd.actions import HEADER_BYTES, ID_BYTES, SUBHEADER_BYTES, TDB_V6, Action, Bus, Form

HEADER = struct.Struct("!BBH16s")
_SUBHEADER = struct.Struct("!BBH")
_ID = struct.Struct("!QI")
_CLEAR = struct.Struct("!16sI")
_BUS = struct.Struct("!IIB3x")
_UPD_C = struct.Struct("!Q32s32sIIB3x")

Identity = tuple[int, int]
"""(id, creatorid) of a state: the same on every node."""


class Section(NamedTuple):
    """One subheader with its messages."""

    action: Action
    messages: list[bytes]


class Compressed(NamedTuple):
    """UPD_C: what changes in a state. Both sides as their 32 bytes."""

    identity: Identity
    src: bytes
    dst: bytes
    timeout: int


def refused(form: Form, datagram: bytes) -> str:
    """The counter that a datagram which is not read at all goes into; empty if it is read."""
    if len(datagram) < HEADER_BYTES:
        return "hdrops"
    version, _, length, _ = HEADER.unpack_from(datagram)
    if version != form.version:
        return "badver"
    return "badlen" if length > len(datagram) or length < HEADER_BYTES else ""


def sections(form: Form, datagram: bytes, counters: Counter[str]) -> Iterator[Section]:
    """What a datagram that is not `refused` says, in its order, up to the first thing that cannot be read."""
    end = HEADER.unpack_from(datagram)[2]
    at = HEADER_BYTES
    while at <= end - SUBHEADER_BYTES:
        number, words, count = _SUBHEADER.unpack_from(datagram, at)
        at += SUBHEADER_BYTES
        stride = _stride5(form, number) if form.has_eof else words * 4
        if stride is None:
            counters["badact"] += 1
            return
        if number == Action.EOF and form.has_eof:
            counters["badlen"] += at != end
            return
        if at + stride * count > end:
            counters["badlen"] += 1
            return
        action = Action(number) if number in Action._value2member_map_ else None
        size = form.sizes.get(action, 0) if action is not None else 0
        if size and stride >= size:
            yield Section(Action(number), [datagram[at + i * stride : at + i * stride + size] for i in range(count)])
        elif not form.has_eof and number > TDB_V6:
            counters["badact"] += 1
        at += stride * count
    if not form.has_eof and at != end:
        counters["badlen"] += 1


def _stride5(form: Form, number: int) -> int | None:
    """Bytes of a message in version 5, which only knows its own; `None` if nothing behind it can be read."""
    return form.sizes.get(Action(number)) if number in Action._value2member_map_ else None


def build(form: Form, messages: Mapping[Action, Sequence[bytes]]) -> bytes:
    """The datagram with these messages, in the dialect's order of subheaders."""
    parts = []
    for action in form.order:
        found = messages.get(action)
        if found:
            words = 0 if form.has_eof else len(found[0]) // 4
            parts += [_SUBHEADER.pack(action, words, len(found)), *found]
    if form.has_eof:
        parts.append(_SUBHEADER.pack(Action.EOF, 0, 1))
    body = b"".join(parts)
    return HEADER.pack(form.version, 0, HEADER_BYTES + len(body), bytes(16)) + body


# --- messages ----------------------------------------------------------------------------------------------------


def pack_identity(identity: Identity) -> bytes:
    """INS_ACK, UPD_REQ and DEL_C."""
    return _ID.pack(*identity)


def unpack_identity(message: bytes) -> Identity:
    """The opposite; also what the first and last field of nothing else looks like."""
    state_id, creator = _ID.unpack(message[:ID_BYTES])
    return state_id, creator


BULK_REQUEST: Identity = (0, 0)
"""UPD_REQ of this one asks for everything."""


def pack_clear(creator: int, ifname: str = "") -> bytes:
    """CLR; without a name it means every interface."""
    return _CLEAR.pack(ifname.encode("ascii", "replace")[:15], creator)


def unpack_clear(message: bytes) -> tuple[int, str]:
    """The creator and the interface, empty for all."""
    name, creator = _CLEAR.unpack(message)
    return creator, text(name)


def pack_bus(creator: int, age_s: int, status: Bus) -> bytes:
    """BUS; the age is that of the request that is answered."""
    return _BUS.pack(creator, age_s, status)


def unpack_bus(message: bytes) -> tuple[int, int, int]:
    """Creator, age in seconds, status."""
    creator, age_s, status = _BUS.unpack(message)
    return creator, age_s, status


def pack_compressed(update: Compressed) -> bytes:
    """UPD_C. Its field for the expiry is not used by anybody."""
    state_id, creator = update.identity
    return _UPD_C.pack(state_id, update.src, update.dst, creator, 0, update.timeout)


def unpack_compressed(message: bytes) -> Compressed:
    """The opposite."""
    state_id, src, dst, creator, _, timeout = _UPD_C.unpack(message)
    return Compressed((state_id, creator), src, dst, timeout)


def text(name: bytes) -> str:
    """An interface name up to its NUL."""
    return name.split(b"\0", 1)[0].decode("ascii", "replace")
