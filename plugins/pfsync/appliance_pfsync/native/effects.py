"""What the native protocol asks of the service, and what it reports: plain values, in the order to act on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from appliance_pfsync.flow import Flows

Hashes = npt.NDArray[np.uint64]
"""Key hashes of flows, see `appliance_pfsync.flow.key_hashes`."""


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A peer can be replicated to: its first session, one after its restart, or it is heard again."""

    peer: str
    address: str


@dataclass(frozen=True, slots=True)
class PeerDown:
    """A peer has fallen silent."""

    peer: str
    address: str


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """Somebody speaks pfsync here but not with us. Said once for each (peer, why), again after a while."""

    peer: str
    """The name it gives; not proven when the reason is a key."""
    address: str
    why: str


@dataclass(frozen=True, slots=True, eq=False)
class FlowsReceived:
    """States of a peer, to be injected at once and then confirmed with `Peering.injected(peer, token, now)`."""

    peer: str
    flows: Flows
    """Read-only view of the datagram."""
    bulk: bool
    """They describe some earlier moment (a bulk update, an audit): an own copy that is further along stays."""
    token: int
    """Confirming it confirms everything before it."""


@dataclass(frozen=True, slots=True)
class FlowsLost:
    """States of a peer did not arrive and will not. The protocol asks for a bulk update by itself."""

    peer: str
    why: str


@dataclass(frozen=True, slots=True)
class FlowsInjected:
    """A peer has everything up to this ticket of `Peering.offer(…, ack_wanted=True)` in its kernel."""

    peer: str
    ticket: int


@dataclass(frozen=True, slots=True)
class Cleared:
    """A peer's operator flushed the states: remove every replicated one."""

    peer: str


@dataclass(frozen=True, slots=True)
class BulkWanted:
    """A peer wants everything: begin a dump (or begin it again), see `Peering.room_for_bulk`."""

    peer: str


@dataclass(frozen=True, slots=True)
class BulkDone:
    """A peer's states have all arrived."""

    peer: str
    count: int
    took_s: float


@dataclass(frozen=True, slots=True)
class BulkFailed:
    """A bulk update is given up; `lonely` when there is no peer to ask (then `peer` is empty)."""

    peer: str
    why: str
    lonely: bool = False


@dataclass(frozen=True, slots=True)
class AuditWanted:
    """Take the sorted key hashes of the exportable flows: `Peering.audit_snapshot(hashes, now)`; keep the flows."""


@dataclass(frozen=True, slots=True, eq=False)
class AuditSend:
    """A peer lacks these flows of the snapshot: send those that still exist with `Peering.offer_repair`."""

    peer: str
    hashes: Hashes


@dataclass(frozen=True, slots=True, eq=False)
class AuditDelete:
    """A peer knows that these flows of the snapshot ended: delete them from the kernel."""

    peer: str
    hashes: Hashes


@dataclass(frozen=True, slots=True)
class AuditDone:
    """A comparison with a peer has ended; the counts are flows, at most what one round repairs."""

    peer: str
    sent: int
    wanted: int
    deleted: int
    complete: bool
    """Everything that differed was looked at; otherwise the next round goes on."""


Effect = (
    PeerUp
    | PeerDown
    | PeerRefused
    | FlowsReceived
    | FlowsLost
    | FlowsInjected
    | Cleared
    | BulkWanted
    | BulkDone
    | BulkFailed
    | AuditWanted
    | AuditSend
    | AuditDelete
    | AuditDone
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerReport:
    """One peer, for `show pfsync`."""

    name: str
    address: str
    version: int
    secured: bool
    alive: bool
    lag_s: float | None
    """Age of its newest confirmed state at the confirmation, or of the oldest that is not confirmed yet."""
    states: int | None
    """How many states it says it has."""
    bulk: str
    """The bulk update that we ask it for: idle, asked, running, done or failed."""
    last_bulk_at: float | None
    last_bulk_count: int
    losses: int
    """Times that states of this peer, or ours for it, were lost."""
    counters: Mapping[str, int]


def gather(effects: Iterable[Effect]) -> list[Effect]:
    """Join neighbouring `FlowsReceived` of one peer, kind and family into one: injecting likes large batches."""
    result: list[Effect] = []
    run: list[FlowsReceived] = []
    for effect in effects:
        if isinstance(effect, FlowsReceived):
            if run and not _belong_together(run[-1], effect):
                result.append(_joined(run))
                run = []
            run.append(effect)
            continue
        if run:
            result.append(_joined(run))
            run = []
        result.append(effect)
    if run:
        result.append(_joined(run))
    return result


def _belong_together(one: FlowsReceived, other: FlowsReceived) -> bool:
    return one.peer == other.peer and one.bulk == other.bulk and one.flows.dtype == other.flows.dtype


def _joined(run: list[FlowsReceived]) -> FlowsReceived:
    if len(run) == 1:
        return run[0]
    raw = b"".join([one.flows.tobytes() for one in run])
    flows = np.frombuffer(raw, run[0].flows.dtype)
    return FlowsReceived(run[0].peer, flows, run[0].bulk, run[-1].token)
