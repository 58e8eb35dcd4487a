"""A flow and its two states in pf: IN where it enters the firewall, OUT where it leaves.

::

    the client's tuple   10.1.0.5:40001 -> 198.51.100.7:80      IN, wire     = CTA_TUPLE_ORIG
    between the two      10.1.0.5:40001 -> 10.9.0.80:8080       IN, stack    = OUT, stack
    the server's tuple   203.0.113.1:5001 -> 10.9.0.80:8080     OUT, wire    = the inverse of CTA_TUPLE_REPLY

IN translates destinations, OUT translates sources. Local flows have only one of the two. The index 0 of a key
is the initiator in an IN state and the responder in an OUT state.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from appliance_pfsync.bsd import phases, state
from appliance_pfsync.bsd.actions import Direction, StateFlag
from appliance_pfsync.bsd.phases import Phase, Sides
from appliance_pfsync.bsd.records import Record
from appliance_pfsync.bsd.state import State
from appliance_pfsync.bsd.wire import Identity
from appliance_pfsync.flow import ICMP, ICMPV6, TCP, UDP, Op, Status

SCTP = 132
ECHO = {ICMP: 8, ICMPV6: 128}
REPLY_TYPES = {ICMP: {8: 0, 13: 14, 15: 16, 17: 18}, ICMPV6: {128: 129, 139: 140}}
"""Requests of which Linux keeps flows (nf_conntrack_proto_icmp*.c), and the types of their answers."""
_KEY = struct.Struct("!16s16sHH")

End = tuple[bytes, int]
"""Packed address and port."""


class Keys(NamedTuple):
    """Where the packets of a flow come from and go to: (initiator, responder) on the three ways."""

    client: tuple[End, End]
    middle: tuple[End, End]
    server: tuple[End, End]


# --- flow to states ----------------------------------------------------------------------------------------------


def keys_of(record: Record) -> Keys | None:
    """The three tuples of a flow; `None` if pf has no such states."""
    if record.zone:
        return None  # pf has no zones; in zone 0 the flow could be somebody else's
    ports = _ports(record)
    if ports is None:
        return None
    initiator_port, responder_port, inner_port, outer_port = ports
    initiator, responder = (record.orig_src, initiator_port), (record.orig_dst, responder_port)
    inner, outer = (record.reply_src, inner_port), (record.reply_dst, outer_port)
    return Keys((initiator, responder), (initiator, inner), (outer, inner))


def _ports(record: Record) -> tuple[int, int, int, int] | None:
    """Of initiator and responder, then of the responder and the initiator after translation."""
    if record.proto in (TCP, UDP):
        return record.orig_sport, record.orig_dport, record.reply_sport, record.reply_dport
    if record.proto in ECHO:
        kind, code = divmod(record.orig_dport, 256)
        if code or kind not in REPLY_TYPES[record.proto]:
            return None
        return record.orig_sport, kind, kind, record.reply_sport
    if record.proto == SCTP or record.orig_sport or record.orig_dport or record.reply_sport or record.reply_dport:
        return None  # protocols whose ports pf does not look at
    return 0, 0, 0, 0


def phase_of(record: Record) -> Phase:
    """How far the flow is."""
    return Phase(record.status, record.tcp_state, record.tcp_flags_orig, record.tcp_flags_reply, record.wscale)


def make_states(record: Record, keys: Keys, identities: tuple[Identity, Identity], now: float) -> tuple[State, State]:
    """The IN and the OUT state of a forwarded flow that pf does not know yet."""
    sides = phases.to_sides(record.proto, phase_of(record))
    src, dst = state.side(sides.src, sides.src_wscale), state.side(sides.dst, sides.dst_wscale)
    flags = StateFlag.SLOPPY if record.proto == TCP else 0  # without sequence numbers pf must not look at them
    middle = {Direction.IN: keys.middle, Direction.OUT: keys.middle[::-1]}
    wire = {Direction.IN: keys.client, Direction.OUT: keys.server[::-1]}
    made = [
        State(
            identity, direction, record.proto, record.family, record.family,
            _pack_key(*wire[direction]), _pack_key(*middle[direction]), src, dst, sides.timeout, flags,
            expire=phases.to_expire(sides.timeout, record.timeout), at=now,
        )
        for identity, direction in zip(identities, Direction, strict=True)
    ]  # fmt: skip
    return made[0], made[1]


def advance(own: State, record: Record, now: float) -> None:
    """Take over how far the flow is now. What pf said about sequence numbers stays as it is: it judges an update
    without them as older than what it has."""
    sides = phases.to_sides(record.proto, phase_of(record))
    own.src = state.with_state(own.src, sides.src, sides.src_wscale)
    own.dst = state.with_state(own.dst, sides.dst, sides.dst_wscale)
    own.timeout = sides.timeout
    own.creation, own.expire, own.at = own.age_s(now), phases.to_expire(sides.timeout, record.timeout), now


def _pack_key(first: End, second: End) -> bytes:
    return _KEY.pack(first[0], second[0], first[1], second[1])


# --- states to flow ----------------------------------------------------------------------------------------------


def middle_of(one: State) -> bytes:
    """The same bytes for the IN and the OUT state of a flow."""
    first, second = _ends(one.stack, one)
    initiator, responder = (first, second) if one.direction == Direction.IN else (second, first)
    return bytes((one.stack_family, one.proto)) + _pack_key(initiator, responder)


def to_record(inward: State | None, outward: State | None, now: float) -> Record | None:
    """The flow of an IN state, an OUT state or both; `None` if Linux has no such flow."""
    present = [each for each in (inward, outward) if each is not None]
    if not present or not all(map(_is_importable, present)):
        return None
    lead = max(present, key=lambda each: (each.src[24] + each.dst[24], each.at))
    phase = phases.to_phase(lead.proto, _sides(lead))
    if phase is None:
        return None
    tuples = _tuples(_keys(inward, outward), lead.proto)
    seconds = lead.remaining_s(now) or phases.default_s(lead.proto, phase)
    initiator, responder, inner, outer = tuples
    translated = (Status.SRC_NAT if _differ(initiator, outer, lead.proto) else 0) | (
        Status.DST_NAT if _differ(responder, inner, lead.proto) else 0
    )
    return Record(
        Op.INSERT, lead.proto, 0, initiator[0], responder[0], initiator[1], responder[1],
        inner[0], outer[0], inner[1], outer[1],
        Status.CONFIRMED | phase.status | translated, seconds, 0,
        phase.tcp_state, phase.flags_orig, phase.flags_reply, phase.wscale,
    )  # fmt: skip


def _is_importable(one: State) -> bool:
    return (
        one.direction in tuple(Direction)
        and one.wire_family == one.stack_family
        and one.proto != SCTP
        and not state.is_modulated(one.src)
        and not state.is_modulated(one.dst)
    )


def _sides(one: State) -> Sides:
    src, dst = one.src, one.dst
    return Sides(
        state.side_state(src), state.side_state(dst), one.timeout, state.side_wscale(src), state.side_wscale(dst)
    )


def _keys(inward: State | None, outward: State | None) -> Keys:
    if inward is None:
        assert outward is not None
        middle = _ends(outward.stack, outward)[::-1]
        return Keys(middle, middle, _ends(outward.wire, outward)[::-1])
    client, middle = _ends(inward.wire, inward), _ends(inward.stack, inward)
    server = middle if outward is None else _ends(outward.wire, outward)[::-1]
    return Keys(client, middle, server)


def _ends(key: bytes, one: State) -> tuple[End, End]:
    """Both ends in the order of the key, with addresses as long as the family wants."""
    first, second, first_port, second_port = _KEY.unpack(key)
    size = 4 if one.wire_family == 4 else 16
    return (first[:size], first_port), (second[:size], second_port)


def _tuples(keys: Keys, proto: int) -> tuple[End, End, End, End]:
    """Initiator, responder, responder after translation, initiator after translation, as a record has them."""
    (initiator, responder), (outer, inner) = keys.client, keys.server
    if proto in ECHO:
        kind = _kind(initiator[1], responder[1], proto)
        answer = REPLY_TYPES[proto][kind]
        return (
            initiator,
            (responder[0], kind << 8),
            (inner[0], outer[1]),
            (outer[0], answer << 8),
        )
    if proto not in (TCP, UDP):
        return (initiator[0], 0), (responder[0], 0), (inner[0], 0), (outer[0], 0)
    return initiator, responder, inner, outer


def _kind(identifier: int, port: int, proto: int) -> int:
    """The type of the request; FreeBSD before 14 has the id in both places, and only knows echo."""
    return port if port in REPLY_TYPES[proto] and port != identifier else ECHO[proto]


def _differ(one: End, other: End, proto: int) -> bool:
    """Whether an end has been translated; the ports of ICMP differ anyway."""
    return one[0] != other[0] if proto in ECHO else one != other
