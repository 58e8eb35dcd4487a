"""Which of two copies of one flow is kept: the greater one in a total order, so that every node decides alike.

The order looks, most important first, at: ASSURED, SEEN_REPLY, the progress of TCP, the timeout, the mark, the
reply tuple, and then every other byte. The maximum in a total order is commutative, associative and
idempotent: three partitions that merge in any sequence end with the same table.

Only copies that describe some earlier moment are compared (bulk updates, audits). What a peer reports while it
happens is applied in the order in which it happened.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from appliance_pfsync.flow import FLOW4, FLOW6, Flows, Status, TcpState

Mask = npt.NDArray[np.bool_]

_PROGRESS = (
    TcpState.NONE,
    TcpState.SYN_SENT,
    TcpState.SYN_SENT2,
    TcpState.SYN_RECV,
    TcpState.ESTABLISHED,
    TcpState.FIN_WAIT,
    TcpState.CLOSE_WAIT,
    TcpState.LAST_ACK,
    TcpState.TIME_WAIT,
    TcpState.CLOSE,
)
"""The life of a TCP connection; a state that this version does not know counts as later than all others."""
_RANK = np.arange(256, dtype=np.uint8)
_RANK[: len(_PROGRESS)] = [_PROGRESS.index(TcpState(value)) for value in range(len(_PROGRESS))]


def _byte_order(dtype: np.dtype[np.void]) -> list[int]:
    """All bytes of a record, the reply tuple first and the op last."""
    assert dtype.fields is not None
    start = dtype.fields["reply_src"][1]
    reply = range(start, dtype.fields["status"][1])
    return [*reply, *(at for at in range(1, dtype.itemsize) if at not in reply), 0]


_BYTES = {dtype.itemsize: _byte_order(dtype) for dtype in (FLOW4, FLOW6)}


def newer(own: Flows, other: Flows) -> Mask:
    """Row by row, whether the other copy is to replace the own one. Both arrays describe the same flows."""
    wins = _bytes_greater(own, other)
    # From the least to the most important: a later line overrules the earlier ones where it sees a difference.
    for field in ("mark", "timeout"):
        wins = _decide(own[field], other[field], wins)
    wins = _decide(_RANK[own["tcp_state"]], _RANK[other["tcp_state"]], wins)
    for bit in (Status.SEEN_REPLY, Status.ASSURED):
        wins = _decide(own["status"] & int(bit), other["status"] & int(bit), wins)
    return wins


def _decide(own: npt.NDArray[np.integer], other: npt.NDArray[np.integer], otherwise: Mask) -> Mask:
    decided: Mask = np.where(own == other, otherwise, other > own)
    return decided


def _bytes_greater(own: Flows, other: Flows) -> Mask:
    order = _BYTES[own.dtype.itemsize]
    mine, theirs = _octets(own)[:, order], _octets(other)[:, order]
    first = (mine != theirs).argmax(axis=1)
    rows = np.arange(len(own))
    greater: Mask = theirs[rows, first] > mine[rows, first]
    return greater


def _octets(flows: Flows) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(flows).view(np.uint8).reshape(len(flows), flows.dtype.itemsize)


def merged(own: Flows, other: Flows) -> Flows:
    """Row by row the copy that is kept."""
    kept = own.copy()
    wins = newer(own, other)
    kept[wins] = other[wins]
    return kept


def precedence(flow: np.void) -> tuple[bool, bool, int, int, int, bytes]:
    """The place of one copy in the order: what `newer` compares, for single records."""
    status = int(flow["status"])
    raw = flow.tobytes()
    return (
        bool(status & Status.ASSURED),
        bool(status & Status.SEEN_REPLY),
        int(_RANK[flow["tcp_state"]]),
        int(flow["timeout"]),
        int(flow["mark"]),
        bytes(raw[at] for at in _BYTES[len(raw)]),
    )


def join(own: np.void, other: np.void) -> np.void:
    """The copy that is kept of two."""
    return other if precedence(other) > precedence(own) else own
