"""How far a flow is: conntrack's one state of a connection and pf's state of each side.

pf keeps one number a side and derives from both which timeout counts; conntrack keeps one number, what each
direction may do as flags, and whether it has seen answers.
"""

from __future__ import annotations

from typing import NamedTuple

from appliance_pfsync.bsd.actions import MULTIPLE, NO_TRAFFIC, SINGLE, TIMEOUT_S, Peer, Timeout
from appliance_pfsync.flow import ICMP, ICMPV6, TCP, UDP, Status, TcpState

WINDOW_SCALE, CLOSE_INIT, BE_LIBERAL = 0x01, 0x04, 0x08
"""Of IP_CT_TCP_FLAG_* (linux/netfilter/nf_conntrack_tcp.h)."""
WSCALE_FLAG, WSCALE_MASK = 0x80, 0x0F
"""pf's byte for window scaling (pfvar.h, PF_WSCALE_*)."""
ANSWERED = Status.SEEN_REPLY | Status.ASSURED

_TCP_EXPORT = {
    TcpState.NONE: (Peer.SYN_SENT, Peer.NONE),
    TcpState.SYN_SENT: (Peer.SYN_SENT, Peer.NONE),
    TcpState.SYN_SENT2: (Peer.SYN_SENT, Peer.NONE),
    TcpState.SYN_RECV: (Peer.ESTABLISHED, Peer.SYN_SENT),
    TcpState.ESTABLISHED: (Peer.ESTABLISHED, Peer.ESTABLISHED),
    TcpState.FIN_WAIT: (Peer.FIN_SENT, Peer.ESTABLISHED),
    TcpState.CLOSE_WAIT: (Peer.FIN_ACKED, Peer.ESTABLISHED),
    TcpState.LAST_ACK: (Peer.FIN_ACKED, Peer.FIN_SENT),
    TcpState.TIME_WAIT: (Peer.FIN_ACKED, Peer.FIN_ACKED),
    TcpState.CLOSE: (Peer.RESET, Peer.RESET),
}
"""States of initiator and responder when the initiator closes first."""
_TCP_S = {
    TcpState.SYN_SENT: 120,
    TcpState.SYN_RECV: 60,
    TcpState.ESTABLISHED: 432000,
    TcpState.FIN_WAIT: 120,
    TcpState.CLOSE_WAIT: 60,
    TcpState.LAST_ACK: 30,
    TcpState.TIME_WAIT: 120,
    TcpState.CLOSE: 10,
}
_UDP_S, _UDP_STREAM_S, _ICMP_S, _OTHER_S = 30, 120, 30, 600
"""Linux's defaults (nf_conntrack_proto_*.c)."""


class Phase(NamedTuple):
    """What conntrack knows."""

    status: int
    """Of SEEN_REPLY and ASSURED."""
    tcp_state: int = 0
    flags_orig: int = 0
    flags_reply: int = 0
    wscale: int = 0


class Sides(NamedTuple):
    """What pf knows."""

    src: int
    dst: int
    timeout: int
    src_wscale: int = 0
    dst_wscale: int = 0


def to_sides(proto: int, phase: Phase) -> Sides:
    """pf's view of a flow."""
    if proto == TCP:
        return _tcp_sides(phase)
    is_answered = bool(phase.status & Status.SEEN_REPLY)
    if proto in (ICMP, ICMPV6):
        return Sides(0, 0, Timeout.ICMP_ERROR_REPLY if is_answered else Timeout.ICMP_FIRST)
    single, multiple = (
        (Timeout.UDP_SINGLE, Timeout.UDP_MULTIPLE) if proto == UDP else (Timeout.OTHER_SINGLE, Timeout.OTHER_MULTIPLE)
    )
    if not is_answered:
        return Sides(SINGLE, NO_TRAFFIC, single)
    return Sides(MULTIPLE, MULTIPLE if phase.status & Status.ASSURED else SINGLE, multiple)


def _tcp_sides(phase: Phase) -> Sides:
    known = phase.tcp_state if phase.tcp_state in _TCP_EXPORT else TcpState.CLOSE
    src, dst = _TCP_EXPORT[TcpState(known)]
    if phase.flags_reply & CLOSE_INIT and src >= Peer.FIN_SENT:
        src, dst = dst, src
    scales = (0, 0)
    if phase.flags_orig & phase.flags_reply & WINDOW_SCALE:
        scales = (WSCALE_FLAG | phase.wscale >> 4, WSCALE_FLAG | phase.wscale & WSCALE_MASK)
    return Sides(src, dst, tcp_timeout(src, dst), *scales)


def tcp_timeout(src: int, dst: int) -> Timeout:
    """Which timeout pf applies; the first match wins (pf.c)."""
    low, high = min(src, dst), max(src, dst)
    if low >= Peer.FIN_ACKED:
        return Timeout.TCP_CLOSED
    if low >= Peer.FIN_SENT:
        return Timeout.TCP_FIN_WAIT
    if low < Peer.ESTABLISHED:
        return Timeout.TCP_OPENING
    return Timeout.TCP_CLOSING if high >= Peer.FIN_SENT else Timeout.TCP_ESTABLISHED


def to_phase(proto: int, sides: Sides) -> Phase | None:
    """conntrack's view of a state; `None` while pf itself answers for the server (synproxy)."""
    if proto == TCP:
        return _tcp_phase(sides)
    if proto in (ICMP, ICMPV6):
        return Phase(Status.SEEN_REPLY if sides.timeout == Timeout.ICMP_ERROR_REPLY else 0)
    if sides.dst == NO_TRAFFIC:
        return Phase(0)
    return Phase(ANSWERED if min(sides.src, sides.dst) >= MULTIPLE else Status.SEEN_REPLY)


def _tcp_phase(sides: Sides) -> Phase | None:
    src, dst = sides.src, sides.dst
    if max(src, dst) >= Peer.PROXY_SRC:
        return None
    flags_orig = flags_reply = BE_LIBERAL  # nobody tells us the windows
    if src > dst and src >= Peer.FIN_SENT:
        flags_orig |= CLOSE_INIT
    elif dst > src and dst >= Peer.FIN_SENT:
        flags_reply |= CLOSE_INIT
    wscale = 0
    if sides.src_wscale & sides.dst_wscale & WSCALE_FLAG:
        flags_orig, flags_reply = flags_orig | WINDOW_SCALE, flags_reply | WINDOW_SCALE
        wscale = (sides.src_wscale & WSCALE_MASK) << 4 | sides.dst_wscale & WSCALE_MASK
    status = ANSWERED if dst >= Peer.SYN_SENT else 0
    return Phase(status, _tcp_state(src, dst), flags_orig, flags_reply, wscale)


def _tcp_state(src: int, dst: int) -> TcpState:
    low, high = min(src, dst), max(src, dst)
    if high >= Peer.RESET:
        return TcpState.CLOSE
    if low >= Peer.FIN_ACKED:
        return TcpState.TIME_WAIT
    if low >= Peer.FIN_SENT:
        return TcpState.LAST_ACK
    if high >= Peer.FIN_ACKED:
        return TcpState.CLOSE_WAIT
    if high >= Peer.FIN_SENT:
        return TcpState.FIN_WAIT
    if low >= Peer.ESTABLISHED:
        return TcpState.ESTABLISHED
    return TcpState.SYN_RECV if dst >= Peer.SYN_SENT else TcpState.SYN_SENT


def to_expire(timeout: int, seconds: int) -> int:
    """pf's remaining seconds for conntrack's: 0, "the whole timeout", where Linux waits longer than pf ever does."""
    return 0 if seconds > TIMEOUT_S[timeout] else max(1, seconds)


def default_s(proto: int, phase: Phase) -> int:
    """How long Linux keeps a flow in this phase: what "the whole timeout" is on this node."""
    if proto == TCP:
        return _TCP_S[TcpState(phase.tcp_state)]
    if proto in (ICMP, ICMPV6):
        return _ICMP_S
    if proto == UDP:
        return _UDP_STREAM_S if phase.status & Status.ASSURED else _UDP_S
    return _OTHER_S
