"""What comes next in the upgrade of a cluster. Pure: from what is remembered and what both nodes say, nothing else.

Every decision is made anew from the state of things, as often as one looks, so a restart of the node that leads at any
moment changes nothing but the time it takes. The order is that of least risk: the other node, which carries nothing,
takes the new system and proves it; then it takes the traffic while this one follows. Whatever is doubtful ends in
`Phase.UNDO`, which brings the old system back to where the new one runs.
"""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from appliance_images.cluster.record import Phase, Record, Report

AGAIN_S = 45.0
"""Until a request that had no visible effect is made again."""
SWITCH_S = 120.0
"""For the other node to take the virtual addresses."""
SILENT_S = 60.0
"""How long the other node may be silent in a phase in which it has no reason to."""


class Action(StrEnum):
    """What the node that leads does."""

    SEND = "send"
    RESTART_PEER = "restart-peer"
    WRITE = "write"
    SWITCH = "switch"
    RESTART_OWN = "restart-own"
    SEND_BACK = "send-back"
    KEEP_OWN = "keep-own"
    """Its own old slot boots next."""


def following(
    record: Record, own: Report, peer: Report | None, now: float, patience_s: float
) -> tuple[Record, Action | None]:
    """The record as it is from now on, and what to do.

    Args:
        record: What is remembered.
        own: The node that leads.
        peer: The other one; ``None`` when it does not answer.
        now: Time of day, in seconds since the epoch.
        patience_s: For a node to start and prove healthy.
    """
    match record.phase:
        case Phase.SEND:
            return record, Action.SEND
        case Phase.PEER_RESTARTS:
            return _peer_restarts(record, peer, now, patience_s)
        case Phase.WRITE:
            return _unless_in_doubt(record, own, peer, now) or (record, Action.WRITE)
        case Phase.SWITCH:
            return _unless_in_doubt(record, own, peer, now) or _switch(record, own, peer, now)
        case Phase.OWN_RESTART:
            return _own_restart(record, own, now, patience_s)
        case Phase.UNDO:
            return _undo(record, own, peer, now, patience_s)
        case Phase.DONE | Phase.FAILED:
            return record, None


def succeeded(record: Record, action: Action, now: float) -> Record:
    """After an action that has worked."""
    match action:
        case Action.SEND:
            return record.become(Phase.PEER_RESTARTS, now, f"{record.peer.node} has {record.version}, and restarts")
        case Action.WRITE:
            return record.become(Phase.SWITCH, now, f"{record.own.node} has {record.version} in its other slot")
        case _:
            return replace(record, asked=now)


def failed(record: Record, action: Action, why: str, now: float) -> Record:
    """After an action that has not worked."""
    match action:
        case Action.SEND:
            return _fail(record, why, now)
        case Action.WRITE:
            return _doubt(record, why, now)
        case _:
            # It is tried again until the time of the phase is over.
            return replace(record, asked=now).noted(now, why)


def _peer_restarts(record: Record, peer: Report | None, now: float, patience_s: float) -> tuple[Record, Action | None]:
    name = record.peer.node
    if peer is not None and peer.boot == record.peer.boot:
        if now - record.since > patience_s:
            return _doubt(record, f"{name} did not restart within {patience_s:.0f} s", now), None
        return record, _if_due(record, Action.RESTART_PEER, now)
    if peer is not None and peer.slot == record.peer.slot:
        return _fail(
            record, f"{name} went back to {record.peer.version}: the new system did not prove healthy", now
        ), None
    if peer is not None and peer.is_ready:
        return record.become(Phase.WRITE, now, f"{name} runs {peer.version}, is healthy and {peer.role}"), None
    if now - record.since > patience_s:
        what = "does not answer" if peer is None else f"is not ready: {'; '.join(peer.problems) or 'not yet proved'}"
        return _doubt(record, f"{name} {what}", now), None
    return record, None


def _unless_in_doubt(
    record: Record, own: Report, peer: Report | None, now: float
) -> tuple[Record, Action | None] | None:
    """The other node has to stay as healthy as it was when its turn was over."""
    name = record.peer.node
    if own.boot != record.own.boot:
        return _doubt(record, f"{record.own.node} was restarted by something else", now), None
    if peer is None:
        if now - max(record.since, record.asked) > SILENT_S:
            return _doubt(record, f"{name} does not answer any more", now), None
        return record, None
    if peer.slot == record.peer.slot or not peer.is_good:
        return _doubt(record, f"{name} does not run the new system any more", now), None
    return None


def _switch(record: Record, own: Report, peer: Report | None, now: float) -> tuple[Record, Action | None]:
    assert peer is not None
    if own.role in ("BACKUP", "NONE") and peer.role in ("MASTER", "NONE"):
        note = f"{peer.node} is {peer.role}; {own.node} restarts and goes on when it is back"
        return record.become(Phase.OWN_RESTART, now, note), None
    if now - record.since > SWITCH_S:
        return _doubt(record, f"{peer.node} did not take over: it is {peer.role} and {own.node} {own.role}", now), None
    return record, _if_due(record, Action.SWITCH, now)


def _own_restart(record: Record, own: Report, now: float, patience_s: float) -> tuple[Record, Action | None]:
    name = record.own.node
    if own.boot == record.own.boot:
        if now - record.since > patience_s:
            return _doubt(record, f"{name} did not restart within {patience_s:.0f} s", now), None
        return record, _if_due(record, Action.RESTART_OWN, now)
    if own.slot == record.own.slot:
        return _doubt(record, f"{name} went back to {own.version}: the new system did not prove healthy", now), None
    if own.is_ready:
        return record.become(Phase.DONE, now, f"both nodes run {record.version}; {name} is {own.role}"), None
    if now - record.since > patience_s:
        what = "; ".join(own.problems) or "not yet proved"
        return _fail(record, f"both nodes run {record.version}, and {name} is not ready: {what}", now), None
    return record, None


def _undo(
    record: Record, own: Report, peer: Report | None, now: float, patience_s: float
) -> tuple[Record, Action | None]:
    name = record.peer.node
    if own.slot == record.own.slot and not own.is_good:
        return record, Action.KEEP_OWN
    if peer is not None and peer.slot == record.peer.slot and peer.is_good:
        return _fail(record, f"{record.why}; both nodes run their old systems", now), None
    if now - record.since > patience_s:
        what = "does not answer" if peer is None else f"runs {peer.version} from slot {peer.slot}"
        return _fail(record, f"{record.why}; and {name} could not be taken back: it {what}", now), None
    if peer is None or [each for each in own.problems if name not in each]:
        return record, None  # not as long as this node could not carry the traffic alone
    return record, _if_due(record, Action.SEND_BACK, now)


def _if_due(record: Record, action: Action, now: float) -> Action | None:
    return action if now - record.asked >= AGAIN_S else None


def _doubt(record: Record, why: str, now: float) -> Record:
    return replace(record, why=why).become(Phase.UNDO, now, f"in doubt: {why}; the old system is brought back")


def _fail(record: Record, why: str, now: float) -> Record:
    return replace(record, why=why).become(Phase.FAILED, now, f"failed: {why}")
