"""Builds the ctnetlink messages that create, change, delete and look up connections from records.

What a message must contain so that the kernel not only lists the connection but translates and accepts its packets
has been measured: a reply tuple that is the plain inverse of the original one with CTA_NAT_SRC/DST beside it (an
already translated reply tuple is listed alike and translates nothing), the status bits of a connection that works,
and liberal TCP windows, because the kernel tells nobody its sequence numbers.

Every record gives one message, in the order of the records; message i has the sequence number `seq + i`. Inside,
messages of one shape are made together, which their order in the buffer does not show.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance_pfsync import walker as cta
from appliance_pfsync.blanks import Blank, Make, Shapes, build
from appliance_pfsync.flow import FLOW4, FLOW6, ICMP, ICMPV6, TCP, Flows, Status, TcpState, family_of

_CT_NEW, _CT_GET, _CT_DELETE = 0x0100, 0x0101, 0x0102
_REQUEST, _EXCL, _CREATE = 0x1, 0x200, 0x400
_NAT_SRC, _NAT_DST = 6, 13
_TCP_KEPT, _TCP_LIBERAL, _TCP_ALL = 0x07, 0x08, 0xFF
"""WINDOW_SCALE, SACK_PERM and CLOSE_INIT stay; what is about sequence numbers goes."""
_STATUS_KEPT = Status.SEEN_REPLY | Status.ASSURED
"""All others are the kernel's own (it answers EBUSY or ignores them), or would refuse every later update: an entry
with FIXED_TIMEOUT answers EPERM to a new timeout."""
_NO_LABELS = np.void(bytes(16))
_U32_MAX = 0xFFFF_FFFF


class _Kind(IntEnum):
    """How the protocol writes its tuples."""

    ICMP = 0
    ICMPV6 = 1
    TCP = 2
    OTHER = 3
    """Ports; protocols without take no notice of them."""


_KINDS = np.full(256, _Kind.OTHER, np.uint8)
_KINDS[[ICMP, ICMPV6, TCP]] = _Kind.ICMP, _Kind.ICMPV6, _Kind.TCP

_ZONE, _MARK, _LABELS, _SNAT, _DNAT, _STATUS, _TCP_STATE = (1 << bit for bit in range(2, 9))
_KIND = 0x3
"""A shape is a `_Kind` in the lowest two bits, and what the message has besides."""
_ECHOES = {int(_Kind.ICMP): cta.PROTO_ICMP, int(_Kind.ICMPV6): cta.PROTO_ICMPV6}

# --- the four messages -------------------------------------------------------------------------------------------


def encode_create(flows: Flows, seq: int, *, extra_timeout: int = 0) -> bytes:
    """Create them; EEXIST if either tuple is taken.

    Args:
        flows: Any records; the op does not matter.
        seq: Sequence number of the first message.
        extra_timeout: Seconds added to every timeout.
    """
    values = _Values(flows, extra_timeout=extra_timeout)
    shapes = _shapes(values) | _flag(values["mark"] != 0, _MARK) | _flag(values["labels"] != _NO_LABELS, _LABELS)
    shapes |= _flag(values["has_snat"], _SNAT) | _flag(values["has_dnat"], _DNAT)
    return _build(_create, shapes, values, seq)


def encode_update(flows: Flows, seq: int, *, extra_timeout: int = 0) -> bytes:
    """Change timeout, status, mark and TCP state of those that exist; ENOENT for the others.

    They are looked up by the reply tuple: a local copy that is translated differently is another connection. EBUSY
    if the local copy has seen more than the record says (SEEN_REPLY and ASSURED are for ever), or is the child of a
    helper here (EXPECTED); the timeout has then been changed, and nothing else. Labels stay as they are. A record
    without a TCP state (`tcp_state` 0) changes none.
    """
    values = _Values(flows, extra_timeout=extra_timeout)
    shapes = _shapes(values) | _flag((flows["status"] & int(_STATUS_KEPT)) != 0, _STATUS)
    shapes |= _flag(flows["tcp_state"] != 0, _TCP_STATE)
    return _build(_update, shapes, values, seq)


def encode_delete(flows: Flows, seq: int, *, by_reply: bool = False) -> bytes:
    """Delete whatever has the original tuple (or the reply tuple) of these; ENOENT if nothing has."""
    return _about_keys(_delete_by_reply if by_reply else _delete, flows, seq)


def encode_get(flows: Flows, seq: int) -> bytes:
    """Ask for whatever has the original tuple of these."""
    return _about_keys(_get, flows, seq)


def _about_keys(make: Make, flows: Flows, seq: int) -> bytes:
    values = _Values(flows)
    return _build(make, _shapes(values), values, seq)


def _build(make: Make, shapes: Shapes, values: _Values, seq: int) -> bytes:
    values["seq"] = (np.arange(len(shapes)) + seq) & _U32_MAX
    return build(make, values.family, shapes, values)


def _create(message: Blank, shape: int) -> None:
    message.begin(_CT_NEW, _REQUEST | _CREATE | _EXCL)
    message.tuple(cta.TUPLE_ORIG, ("orig_src", "orig_dst"), "orig", _ECHOES.get(shape & _KIND))
    message.tuple(cta.TUPLE_REPLY, ("orig_dst", "orig_src"), "inverse", _ECHOES.get(shape & _KIND))
    if shape & _SNAT:
        message.nat(_NAT_SRC, "reply_dst", "snat_port")
    if shape & _DNAT:
        # The identifier of an echo belongs to who asks, translation of the other address leaves it alone.
        message.nat(_NAT_DST, "reply_src", "reply_sport" if shape & _KIND in (_Kind.TCP, _Kind.OTHER) else None)
    message.put(cta.STATUS, "status", ">u4")
    _content(message, shape, has_tcp=shape & _KIND == _Kind.TCP)
    if shape & _MARK:
        message.put(cta.MARK, "mark", ">u4")
    if shape & _LABELS:
        message.put(cta.LABELS, "labels", "V16")


def _update(message: Blank, shape: int) -> None:
    message.begin(_CT_NEW, _REQUEST)
    message.tuple(cta.TUPLE_REPLY, ("reply_src", "reply_dst"), "reply", _ECHOES.get(shape & _KIND))
    if shape & _STATUS:
        message.put(cta.STATUS, "status", ">u4")
    _content(message, shape, has_tcp=shape & _KIND == _Kind.TCP and bool(shape & _TCP_STATE))
    message.put(cta.MARK, "mark", ">u4")


def _content(message: Blank, shape: int, *, has_tcp: bool) -> None:
    message.put(cta.TIMEOUT, "timeout", ">u4")
    if has_tcp:
        with message.nest(cta.PROTOINFO), message.nest(cta.PROTOINFO_TCP):
            message.put(cta.TCP_STATE, "tcp_state", "u1")
            message.put(cta.TCP_WSCALE_ORIG, "wscale_orig", "u1")
            message.put(cta.TCP_WSCALE_REPLY, "wscale_reply", "u1")
            message.put(cta.TCP_FLAGS_ORIG, "tcp_flags_orig", "u1", after=bytes([_TCP_ALL]))
            message.put(cta.TCP_FLAGS_REPLY, "tcp_flags_reply", "u1", after=bytes([_TCP_ALL]))
    _zone(message, shape)


def _zone(message: Blank, shape: int) -> None:
    if shape & _ZONE:  # 0 is the default
        message.put(cta.ZONE, "zone", ">u2")


def _delete(message: Blank, shape: int) -> None:
    message.begin(_CT_DELETE, _REQUEST)
    message.tuple(cta.TUPLE_ORIG, ("orig_src", "orig_dst"), "orig", _ECHOES.get(shape & _KIND))
    _zone(message, shape)


def _delete_by_reply(message: Blank, shape: int) -> None:
    message.begin(_CT_DELETE, _REQUEST)
    message.tuple(cta.TUPLE_REPLY, ("reply_src", "reply_dst"), "reply", _ECHOES.get(shape & _KIND))
    _zone(message, shape)


def _get(message: Blank, shape: int) -> None:
    message.begin(_CT_GET, _REQUEST)
    message.tuple(cta.TUPLE_ORIG, ("orig_src", "orig_dst"), "orig", _ECHOES.get(shape & _KIND))
    _zone(message, shape)


# --- what goes into them -----------------------------------------------------------------------------------------


class _Values(dict[str, npt.NDArray[Any]]):
    """Every field that some message has, one element per record: computed when the first message asks for it."""

    def __init__(self, flows: Flows, *, extra_timeout: int = 0) -> None:
        super().__init__()
        if flows.dtype not in (FLOW4, FLOW6):  # such as what np.concatenate makes without a dtype
            raise TypeError("records in the byte order of this machine")
        self.family = family_of(flows)
        self._flows = flows
        self._extra_timeout = extra_timeout

    def __missing__(self, name: str) -> npt.NDArray[Any]:
        derive = _DERIVED.get(name)
        value = self[name] = derive(self) if derive else self._flows[name]
        return value

    @property
    def kinds(self) -> npt.NDArray[np.uint8]:
        """`_Kind` of each."""
        kinds: npt.NDArray[np.uint8] = _KINDS[self["proto"]]
        return kinds

    def echo_or(self, echo: str, otherwise: str) -> npt.NDArray[Any]:
        """One field of echoes, another one of everything else."""
        return np.where(self.kinds <= _Kind.ICMPV6, self[echo], self[otherwise])

    def new_timeout(self) -> npt.NDArray[Any]:
        """Zero would be the end at once."""
        return np.clip(self._flows["timeout"].astype(np.uint64) + self._extra_timeout, 1, _U32_MAX)

    def known_state(self) -> npt.NDArray[Any]:
        """An event about something else tells no state; what is worth creating is then nearly always ESTABLISHED."""
        state = self._flows["tcp_state"]
        is_assured = (self._flows["status"] & int(Status.ASSURED)) != 0
        unknown = (state == TcpState.NONE) & is_assured
        return np.where(unknown, np.uint8(TcpState.ESTABLISHED), state) if unknown.any() else state

    def other(self, first: str, second: str) -> npt.NDArray[np.bool_]:
        """Where two fields differ."""
        return np.asarray(self[first] != self[second])


_DERIVED: dict[str, Callable[[_Values], npt.NDArray[Any]]] = {
    "status": lambda of: of._flows["status"] & int(_STATUS_KEPT) | int(Status.CONFIRMED),
    "timeout": _Values.new_timeout,
    "tcp_state": _Values.known_state,
    "tcp_flags_orig": lambda of: of._flows["tcp_flags_orig"] & _TCP_KEPT | _TCP_LIBERAL,
    "tcp_flags_reply": lambda of: of._flows["tcp_flags_reply"] & _TCP_KEPT | _TCP_LIBERAL,
    "wscale_orig": lambda of: of["wscale"] >> 4,
    "wscale_reply": lambda of: of["wscale"] & 0x0F,
    "orig_type": lambda of: of["orig_dport"] >> 8,
    "orig_code": lambda of: of["orig_dport"] & 0xFF,
    "reply_type": lambda of: of["reply_dport"] >> 8,
    "reply_code": lambda of: of["reply_dport"] & 0xFF,
    # The plain inverse: answers to an echo have the identifier of the question.
    "inverse_sport": lambda of: of.echo_or("orig_sport", "orig_dport"),
    "inverse_dport": lambda of: of["orig_sport"],
    "inverse_type": lambda of: of["reply_type"],
    "inverse_code": lambda of: of["reply_code"],
    "snat_port": lambda of: of.echo_or("reply_sport", "reply_dport"),
    "has_snat": lambda of: of.other("reply_dst", "orig_src") | of.other("snat_port", "orig_sport"),
    "has_dnat": lambda of: (
        of.other("reply_src", "orig_dst") | of.other("reply_sport", "orig_dport") & (of.kinds > _Kind.ICMPV6)
    ),
}


def _shapes(values: _Values) -> Shapes:
    kinds: Shapes = values.kinds.astype(np.uint16)
    return kinds | _flag(values["zone"] != 0, _ZONE)


def _flag(condition: npt.NDArray[np.bool_], bit: int) -> Shapes:
    return np.multiply(condition, np.uint16(bit), dtype=np.uint16)
