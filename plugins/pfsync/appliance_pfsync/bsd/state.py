"""A full state of pf, and its four layouts on the wire: 1301, 1400 and 1500 of FreeBSD (packed), and OpenBSD's.

::

    1301, 1400, 1500   id ifname wire key(36) stack key(36) src peer(32) dst peer(32) rt_addr(16) rule anchor nat_rule
                       creation expire packets(16) bytes(16) creatorid, 232 bytes, then what differs
    OpenBSD            the same with keys of 40 bytes (rdomain and af behind the ports), then 24 bytes of its own
    key                addr[0](16) addr[1](16) port[0](2) port[1](2); IPv4 in the first four bytes

What this node neither has nor wants (rules, counters, queues, tags, route-to) is sent as "none" and not read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from appliance_pfsync.bsd.actions import Action, Form
from appliance_pfsync.bsd.wire import Identity, text

INET = 2
NONE = 0xFFFFFFFF
"""No rule, no anchor (pf); as a signed number no routing table."""
IF_ALL = "all"
"""A floating state: matches on every interface, whatever the peer calls them."""
STATES_MAX = 12
"""Largest valid state of one side (PF_TCPS_PROXY_DST)."""

_HEAD = struct.Struct("!Q16s36s36s32s32s16sIIIII32sI")
_TAIL_1301 = struct.Struct("!BBB2sBBBBB")
_TAIL_1400 = struct.Struct("!BBBHBBBBB8siBBHBBB16s")
_TAIL_1500 = struct.Struct("!64s16s16siH8sHBBBBBBBBBBBBB3s")
_OPENBSD = struct.Struct("!Q16s36sHBx36sHBx32s32s16sIIIII32sIiiHBBBBBBBBBBHBB")
assert _HEAD.size + _TAIL_1301.size == 242
assert _HEAD.size + _TAIL_1400.size == 277
assert _HEAD.size + _TAIL_1500.size == 360
assert _OPENBSD.size == 264

_SEQLO = struct.Struct("!I")
_STATE_AT, _WSCALE_AT, _SEQLO_AT, _SEQDIFF_AT = 24, 25, 8, 16


class Invalid(Exception):  # noqa: N818 - like native.header.Malformed: a reason, not a fault
    """A state that no pf would accept (counter badval)."""


@dataclass(slots=True)
class State:
    """One state: a flow as it is seen in one direction through the firewall."""

    identity: Identity
    direction: int
    proto: int
    wire_family: int
    """4 or 6."""
    stack_family: int
    """Another one only with NAT64."""
    wire: bytes
    """Key as on the cable of the interface, 36 bytes. Index 0 is the initiator of an IN state, the responder of an
    OUT state."""
    stack: bytes
    """Key as the host's own stack sees it."""
    src: bytes
    """The initiator's side, 32 bytes."""
    dst: bytes
    """The responder's side."""
    timeout: int
    flags: int = 0
    creation: int = 0
    """Age in seconds at `at`."""
    expire: int = 0
    """Seconds that remained at `at`; 0 is the whole timeout, whatever that is on the receiver's side."""
    at: float = 0.0
    """Monotonic seconds."""
    ifname: str = IF_ALL
    orig_ifname: str = IF_ALL
    """Only in format 1500: the interface on which the first packet came."""

    def age_s(self, now: float) -> int:
        """Seconds since it was made."""
        return min(NONE, self.creation + max(0, int(now - self.at)))

    def remaining_s(self, now: float) -> int:
        """Seconds until it expires, at least one; 0 is the whole timeout."""
        return max(1, self.expire - max(0, int(now - self.at))) if self.expire else 0


# --- one side ----------------------------------------------------------------------------------------------------


def side(state: int, wscale: int = 0) -> bytes:
    """The 32 bytes of a side of which no sequence numbers are known."""
    return bytes(_STATE_AT) + bytes((state, wscale)) + bytes(6)


def side_state(raw: bytes) -> int:
    """Its state."""
    return raw[_STATE_AT]


def side_wscale(raw: bytes) -> int:
    """Its window scale: 0x80 when negotiated, the shift in 0x0f."""
    return raw[_WSCALE_AT]


def seqlo(raw: bytes) -> int:
    """Highest sequence number sent; 0 when nobody counts."""
    return int(_SEQLO.unpack_from(raw, _SEQLO_AT)[0])


def is_modulated(raw: bytes) -> bool:
    """Whether pf rewrites its sequence numbers, which nobody else can go on with."""
    return raw[_SEQDIFF_AT : _SEQDIFF_AT + 4] != bytes(4)


def with_state(raw: bytes, state: int, wscale: int) -> bytes:
    """The same side in another state. A window scale is only taken where none is known."""
    return raw[:_STATE_AT] + bytes((state, raw[_WSCALE_AT] or wscale)) + raw[_WSCALE_AT + 1 :]


# --- both ways ---------------------------------------------------------------------------------------------------


def pack(form: Form, state: State, now: float, extra_flags: int = 0) -> bytes:
    """The state as the dialect sends it, at this moment."""
    return _PACKERS[form.version, form.insert](form, state, now, state.flags | extra_flags)


def _head(state: State, now: float) -> bytes:
    state_id, creator = state.identity
    return _HEAD.pack(
        state_id, _name(state.ifname), state.wire, state.stack, state.src, state.dst, bytes(16),
        NONE, NONE, NONE, state.age_s(now), state.remaining_s(now), bytes(32), creator,
    )  # fmt: skip


def _pack_1301(form: Form, state: State, now: float, flags: int) -> bytes:
    family = _af(form, state.wire_family)
    return _head(state, now) + _TAIL_1301.pack(
        family, state.proto, state.direction, bytes(2), 0, flags & 0xFF, state.timeout, 0, 0
    )


def _pack_1400(form: Form, state: State, now: float, flags: int) -> bytes:
    family = _af(form, state.wire_family)
    return _head(state, now) + _TAIL_1400.pack(
        family, state.proto, state.direction, flags, 0, 0, state.timeout, 0, 0,
        bytes(8), -1, 0, 0, 0, 0, 0, 0, bytes(16),
    )  # fmt: skip


def _pack_1500(form: Form, state: State, now: float, flags: int) -> bytes:
    return _head(state, now) + _TAIL_1500.pack(
        bytes(64), bytes(16), _name(state.orig_ifname), -1, flags, bytes(8), 0,
        _af(form, state.wire_family), _af(form, state.stack_family), 0, state.proto, state.proto,
        0, state.timeout, state.direction, 0, 0, 0, 0, 0, bytes(3),
    )  # fmt: skip


def _pack_openbsd(form: Form, state: State, now: float, flags: int) -> bytes:
    state_id, creator = state.identity
    return _OPENBSD.pack(
        state_id, _name(state.ifname), state.wire, 0, _af(form, state.wire_family),
        state.stack, 0, _af(form, state.stack_family), state.src, state.dst, bytes(16),
        NONE, NONE, NONE, state.age_s(now), state.remaining_s(now), bytes(32), creator, 0, 0, 0,
        _af(form, state.wire_family), state.proto, state.direction, 0, 0, state.timeout, 0, 0, 0, 0, flags, 0, 0,
    )  # fmt: skip


def unpack(form: Form, action: Action, raw: bytes, now: float) -> State:
    """The state in a message of this action.

    Raises:
        Invalid: pf would not take it either.
    """
    state = _UNPACKERS[form.version, action](form, raw)
    state.at = now
    _check(form, state, raw)
    return state


def _check(form: Form, state: State, raw: bytes) -> None:
    if state.timeout >= form.timeout_max:
        raise Invalid("timeout")
    if side_state(state.src) > STATES_MAX or side_state(state.dst) > STATES_MAX:
        raise Invalid("state of a side")
    if state.direction > 2:
        raise Invalid("direction")
    if not state.identity[1]:
        raise Invalid("creatorid")
    if 0 not in raw[8:24]:
        raise Invalid("interface name")


def _unpack_1301(form: Form, raw: bytes) -> State:
    family, proto, direction, _, _, flags, timeout, _, _ = _TAIL_1301.unpack_from(raw, _HEAD.size)
    return _from_head(form, raw, (family, family), (proto, direction, timeout, flags))


def _unpack_1400(form: Form, raw: bytes) -> State:
    family, proto, direction, flags, _, _, timeout, *_ = _TAIL_1400.unpack_from(raw, _HEAD.size)
    return _from_head(form, raw, (family, family), (proto, direction, timeout, flags))


def _unpack_1500(form: Form, raw: bytes) -> State:
    tail = _TAIL_1500.unpack_from(raw, _HEAD.size)
    flags, wire_af, stack_af, wire_proto, stack_proto = tail[4], tail[7], tail[8], tail[10], tail[11]
    if wire_proto != stack_proto:  # NAT64 of ICMP: as little a flow of one family as any NAT64
        stack_af = form.inet6 if wire_af == INET else INET
    state = _from_head(form, raw, (wire_af, stack_af), (wire_proto, tail[14], tail[13], flags))
    state.orig_ifname = text(tail[2])
    return state


def _from_head(form: Form, raw: bytes, families: tuple[int, int], rest: tuple[int, int, int, int]) -> State:
    head = _HEAD.unpack_from(raw)
    proto, direction, timeout, flags = rest
    return State(
        (head[0], head[13]), direction, proto, _family(form, families[0]), _family(form, families[1]),
        head[2], head[3], head[4], head[5], timeout, flags, head[10], head[11], ifname=text(head[1]),
    )  # fmt: skip


def _unpack_openbsd(form: Form, raw: bytes) -> State:
    (
        state_id, name, wire, _, wire_af, stack, _, stack_af, src, dst, _, _, _, _, creation, expire, _, creator,
        _, _, _, family, proto, direction, _, _, timeout, _, _, _, _, flags, _, _,
    ) = _OPENBSD.unpack(raw)  # fmt: skip
    return State(
        (state_id, creator), direction, proto, _family(form, wire_af or family), _family(form, stack_af or family),
        wire, stack, src, dst, timeout, flags, creation, expire, ifname=text(name),
    )  # fmt: skip


def _af(form: Form, family: int) -> int:
    return INET if family == 4 else form.inet6


def _family(form: Form, number: int) -> int:
    """4 or 6."""
    if number == INET:
        return 4
    if number == form.inet6:
        return 6
    raise Invalid("address family")


def _name(name: str) -> bytes:
    return name.encode("ascii", "replace")[:15]


_PACKERS: Mapping[tuple[int, Action], Callable[[Form, State, float, int], bytes]] = MappingProxyType({
    (5, Action.INS_1301): _pack_1301,
    (5, Action.INS): _pack_1400,
    (5, Action.INS_1500): _pack_1500,
    (6, Action.INS): _pack_openbsd,
})  # fmt: skip
_UNPACKERS: Mapping[tuple[int, Action], Callable[[Form, bytes], State]] = MappingProxyType({
    (5, Action.INS_1301): _unpack_1301,
    (5, Action.UPD_1301): _unpack_1301,
    (5, Action.INS): _unpack_1400,
    (5, Action.UPD): _unpack_1400,
    (5, Action.INS_1500): _unpack_1500,
    (5, Action.UPD_1500): _unpack_1500,
    (6, Action.INS): _unpack_openbsd,
    (6, Action.UPD): _unpack_openbsd,
})  # fmt: skip
