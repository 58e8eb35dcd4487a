"""One look at a peer, and the push that follows if it lacks something. Without sockets, clocks or tasks.

`exchange` is a generator: it yields what is to be done next (ask this node, call the peer, wait) and is sent the
answer, or thrown the error. Whoever drives it decides about connections and time; a test has prepared answers.

    hello -> checks -> digests -> restore -> (new connection) confirm -> digests again

The confirmation comes over a new connection on purpose: a configuration that cuts the node off cannot be confirmed, and
goes away by itself. Success is what the peer's own digests say afterwards, not what its answers promised.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from appliance.config.sections import canonical
from appliance.events.config import ConfigState, Section
from appliance.rpc import Fault, FaultCode, RpcError
from appliance_xmlrpc_sync.causes import Cause, SyncError
from appliance_xmlrpc_sync.preflight import (
    Digests,
    Hello,
    read_digests,
    read_hello,
    refuse_circle,
    refuse_missing_interfaces,
    refuse_version,
)
from appliance_xmlrpc_sync.vocabulary import (
    Agreed,
    Answer,
    AskClock,
    AskSections,
    AskState,
    Call,
    Known,
    Outcome,
    SectionFact,
    SectionState,
    Sleep,
    Step,
    Task,
    Verdict,
    Work,
)

CONFIRM_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 2.0, 2.0)
"""Between attempts to confirm: what was applied may have restarted the peer's network for a moment."""
KEPT_MAX = 64
"""Names of copies of overwritten sections that are taken over from an answer."""


Exchange = Generator[Step, Any, Outcome]


def exchange(task: Task, known: Known) -> Exchange:
    """Look at a peer and give it what it lacks.

    Args:
        task: What to do.
        known: What is known of the peer; filled as the look goes on.

    Raises:
        SyncError: A check of this node failed.
        RpcError: The peer could not be called.
        Fault: The peer said no.
    """
    own: ConfigState = yield AskState()
    if own.unconfirmed_s is not None:
        return Outcome(verdict=Verdict.UNCONFIRMED, revision=own.revision, again_s=own.unconfirmed_s)
    hello = yield from meet(task, known)
    key = (own.revision, task, own.schemas, hello.addresses, hello.schemas)
    if known.agreed is not None and known.agreed.key == key:
        answer: Answer = yield Call(method="config_digest")
        theirs = read_digests(answer.value)
        if not theirs.unconfirmed and known.agreed.digests == {
            name: theirs.sections.get(name) for name in known.agreed.digests
        }:
            known.revision = theirs.revision
            return Outcome(verdict=Verdict.IN_SYNC, revision=own.revision)
    wanted = yield from choose(task, known, own, hello)
    theirs = yield from _digests(task, known, wanted)
    different = [each for each in wanted if lacks(theirs, each)]
    known.agreed = None
    if not different:
        known.agreed = Agreed(key=key, digests={each.name: theirs.sections.get(each.name) for each in wanted})
        return Outcome(verdict=Verdict.IN_SYNC, revision=own.revision)
    if task.policy == "manual" and not task.is_asked:
        return Outcome(verdict=Verdict.PENDING, revision=own.revision)
    is_careful = task.on_drift == "refuse" and not task.force
    held = [each for each in different if is_careful and each.name in theirs.drift]
    chosen = [each for each in different if each not in held]
    kept: tuple[str, ...] = ()
    if chosen:
        txn, kept = yield from _restore(task, chosen, theirs)
        lost = (yield from _confirm(txn, task.confirm_s)) if txn else None
        yield from _read_back(task, known, wanted, chosen, lost)
    if held:
        raise _drifted(held, theirs, known)
    pushed = tuple(each.name for each in chosen)
    return Outcome(verdict=Verdict.IN_SYNC, revision=own.revision, pushed=pushed, kept=kept)


def meet(task: Task, known: Known) -> Generator[Step, Any, Hello]:
    """Find out who the peer is.

    Raises:
        SyncError: It is not one to send to.
    """
    answer: Answer = yield Call(method="host_firmware_version")
    hello = known.hello = read_hello(answer.value)
    known.skew_s = skew(hello.time, answer)
    refuse_circle(hello, own_name=task.own_name)
    return hello


def choose(task: Task, known: Known, own: ConfigState, hello: Hello) -> Generator[Step, Any, list[Section]]:
    """What the peer should have: the sections that are not off, as they are for this peer.

    Raises:
        SyncError: The peer cannot take them.
    """
    sections: Sequence[Section] = yield AskSections(receiver=hello.addresses, rank=task.rank)
    for each in sections:
        if each.name in task.off:
            known.sections[each.name] = SectionFact(state=SectionState.OFF)
    wanted = [each for each in sections if each.name not in task.off]
    refuse_version(hello, own.schemas, wanted)
    refuse_missing_interfaces(hello, own.addresses, wanted)
    return wanted


def skew(time: float, answer: Answer) -> float:
    """How much a clock that was read somewhere between question and answer is ahead, in seconds; 0 if it may agree."""
    if time > answer.received:
        return time - answer.received
    return min(time - answer.sent, 0.0)


def note(known: Known, task: Task, wanted: Sequence[Section], theirs: Digests) -> None:
    """Keep what the peer's digests say."""
    known.revision = theirs.revision
    kept = {name: fact for name, fact in known.sections.items() if name in task.off}
    for each in wanted:
        drift = theirs.drift.get(each.name)
        if not lacks(theirs, each):
            kept[each.name] = SectionFact(state=SectionState.IN_SYNC)
        elif drift is not None:
            who, when = drift.get("who", ""), drift.get("when", "")
            kept[each.name] = SectionFact(state=SectionState.DRIFT, who=who, when=when)
        else:
            kept[each.name] = SectionFact(state=SectionState.PENDING)
    known.sections = kept


def lacks(theirs: Digests, section: Section) -> bool:
    """Whether a peer has to be given this section; not one that is empty and of a plugin that it need not have."""
    if section.name not in theirs.sections:
        return bool(section.data.value)
    # What was not confirmed goes away: this node was restarted in the middle of a push, and pushes it again.
    return section.name in theirs.unconfirmed or theirs.sections[section.name] != section.digest


def _digests(task: Task, known: Known, wanted: Sequence[Section]) -> Generator[Step, Any, Digests]:
    answer: Answer = yield Call(method="config_digest")
    theirs = read_digests(answer.value)
    note(known, task, wanted, theirs)
    return theirs


def _restore(
    task: Task, chosen: Sequence[Section], theirs: Digests
) -> Generator[Step, Any, tuple[str, tuple[str, ...]]]:
    made: Mapping[str, bytes] = yield Work(run=lambda: {each.name: canonical(each.data.value) for each in chosen})
    sections = {each.name: {"data": made[each.name], "sha256": each.digest} for each in chosen}
    how = {
        "node": task.own_name,
        # Absent: the peer has no such section, and says so itself.
        "base": {each.name: theirs.sections[each.name] for each in chosen if each.name in theirs.sections},
        "confirm_timeout": float(task.confirm_s),
        "force": task.force,
        "reason": task.reason,
    }
    answer: Answer = yield Call(method="restore_config_section", params=(sections, how))
    said = answer.value if isinstance(answer.value, dict) else {}
    txn, kept = said.get("txn"), said.get("kept", [])
    if not isinstance(txn, str):
        raise SyncError(
            Cause.NONSENSE,
            "the answer of restore_config_section names no transaction",
            hint="Run the same version on both nodes.",
        )
    return txn, tuple(str(each) for each in kept[:KEPT_MAX]) if isinstance(kept, list) else ()


def _confirm(txn: str, confirm_s: float) -> Generator[Step, Any, RpcError | None]:
    """Confirm; what the digests have to decide about: an attempt that was lost before one that was refused."""
    begun: float = yield AskClock()
    lost: RpcError | None = None
    for pause in (*CONFIRM_PAUSES_S, None):
        try:
            yield Call(method="confirm_config", params=(txn,), fresh=True)
        except Fault as fault:
            if fault.code != FaultCode.NO_TRANSACTION or lost is None:
                raise
            return lost
        except RpcError as error:
            lost = error
        else:
            return None
        now: float = yield AskClock()
        if pause is None or now + pause >= begun + confirm_s:
            break
        yield Sleep(seconds=pause)
    assert lost is not None
    raise _cut(lost)


def _cut(lost: RpcError) -> SyncError:
    return SyncError(
        Cause.CUT,
        f"the peer cannot be reached when it has the new configuration, and takes it back by itself: {lost.message}",
        hint=f"Look whether the change cuts the nodes off from each other. {lost.hint}",
    )


def _read_back(
    task: Task, known: Known, wanted: Sequence[Section], chosen: Sequence[Section], lost: RpcError | None
) -> Generator[Step, Any, None]:
    theirs = yield from _digests(task, known, wanted)
    wrong = [each.name for each in chosen if theirs.sections.get(each.name) != each.digest]
    if wrong and lost is not None:
        raise _cut(lost)
    if wrong:
        node = known.hello.node if known.hello else "the peer"
        raise SyncError(
            Cause.READ_BACK,
            f"{node} has confirmed {', '.join(wrong)} and has something else now",
            hint="Somebody may have changed it there just then: it is tried again. See `sync diff` if it stays.",
        )


def _drifted(held: Sequence[Section], theirs: Digests, known: Known) -> SyncError:
    node = known.hello.node if known.hello else "the peer"
    parts = []
    for each in held:
        drift = theirs.drift[each.name]
        by, at = drift.get("who"), drift.get("when")
        parts.append(each.name + (f" (by {by}{f', {at}' if at else ''})" if by else ""))
    return SyncError(
        Cause.DRIFT,
        f"{', '.join(parts)} was changed on {node} and is not overwritten (on_drift)",
        hint="Look at `sync diff`; then undo the change there, or overwrite it with `sync now --force`.",
    )
