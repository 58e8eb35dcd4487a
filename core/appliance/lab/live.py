"""A drill on a cluster that is in use, from one of its nodes.

The node itself does what is rehearsed and puts it back (`ha rehearse` of the plugin drill): when this program is gone,
however it went, the node notices. What is here looks on, measures how long roles need to settle, and checks what a
handbook tells an operator to check. What a client lost is measured where the client is, see `appliance.lab.client`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from appliance.control import wire
from appliance.control.client import Call
from appliance.errors import ApplianceError, RefusedError, UsageError
from appliance.lab.demo import uninterrupted
from appliance.lab.live_checks import JsonObject, Situation, dhcp_is_with, situation
from appliance.lab.looking import CALM_S, all_is_well, look
from appliance.lab.report import Outcome, Phase, Report, Say
from appliance.lab.waiting import ask

POLL_S = 0.02
"""Resolution of what is measured here; a role change is one answer later."""
SETTLE_S = 15.0
"""For roles to settle: book timers need at most 3.4 s."""
WELL_S, EXAMINE_S = 15.0, 2.0
"""For the doctor to be content when a drill begins, and between two examinations, which cost processor time."""
BACK_S = 60.0
"""To be as before: a link comes up, states are learned, the node takes over again."""
REHEARSE_S = 120.0
"""After this the node puts it back by itself, should this program hang."""
POWER_S = 300.0
"""For somebody to walk to a machine, and for a machine to start."""
POWER_OFF = "power-off"
PLANNED = {
    "switchover": "planned switchover",
    "maintenance": "maintenance of this node",
    "disable": "CARP disabled on this node",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRehearsal:
    """One thing that can happen to this node, or to another one by somebody's hand."""

    name: str
    title: str
    question: str = ""
    """Asked first: this is more than an operator does every day."""


def rehearsals(show_carp: JsonObject) -> list[LiveRehearsal]:
    """What can be rehearsed on a node with these virtual hosts, in the order of the handbook."""
    names = dict.fromkeys(str(vip["interface"]) for vip in cast("list[JsonObject]", show_carp["vips"]))
    found = [LiveRehearsal(name=name, title=title) for name, title in PLANNED.items()]
    found += [
        LiveRehearsal(
            name=f"unplug-{name}",
            title=f"{name} of this node without link",
            question=f"The interface {name} of this node goes down for some seconds.",
        )
        for name in names
    ]
    return [
        *found,
        LiveRehearsal(
            name=POWER_OFF,
            title="power failure of another node",
            question="You take the power of the other node, and give it back when you are asked to.",
        ),
    ]


def choose(known: Sequence[LiveRehearsal], only: str, skip: str) -> list[LiveRehearsal]:
    """Those that are named; without names all that need nobody at a machine.

    Raises:
        UsageError: There is none of this name.
    """
    by_name = {each.name: each for each in known}
    wanted = [each for each in only.split(",") if each] or [name for name in by_name if name != POWER_OFF]
    unwanted = [each for each in skip.split(",") if each]
    unknown = [each for each in (*wanted, *unwanted) if each not in by_name]
    if unknown:
        raise UsageError(f"there is no rehearsal {unknown[0]!r}", hint=f"There are: {', '.join(by_name)}.")
    return [by_name[name] for name in wanted if name not in unwanted]


class LiveNode:
    """The node that this program runs on."""

    def __init__(self, socket: str | Path) -> None:
        self._socket = socket

    def ask(self, *words: str) -> JsonObject:
        """One question."""
        return ask(self._socket, words)

    @contextmanager
    def rehearsing(self, name: str) -> Iterator[str]:
        """Something has happened to the node while the block lasts; what the node says about it."""
        with Call(self._socket, ("ha", "rehearse", name, "--seconds", f"{REHEARSE_S:g}"), json=True) as call:
            for reply in call.replies():
                if isinstance(reply, wire.Failure):
                    raise ApplianceError(reply.message, hint=reply.hint)
                if isinstance(reply, wire.Data):
                    yield str(reply.data["result"]).partition("\n")[0]
                    return
        raise ApplianceError("the node did not say what it does", hint="See its log.")


class LiveDrill:
    """One drill.

    Args:
        node: This node.
        say: Takes a line about what goes on.
        confirm: Asked before something dangerous; whether to do it.
        hold_s: How long everything stays as it is rehearsed, for clients to notice.
    """

    def __init__(self, node: LiveNode, *, say: Say, confirm: Callable[[str], bool], hold_s: float) -> None:
        self._node, self._say, self._confirm, self._hold_s = node, say, confirm, hold_s
        self.report = Report(lab="", started=datetime.now(UTC).isoformat(timespec="seconds"))
        self._before = Situation()
        self._has_dhcp = False

    def run(self, chosen: Sequence[LiveRehearsal]) -> Report:
        """All of them, until one fails.

        Raises:
            RefusedError: The cluster is not well; nothing was touched.
            KeyboardInterrupt: Somebody has had enough; the report tells whether the cluster is as it was.
        """
        self._before = self._refuse_unless_well()
        self.report.node = self._before.node
        if not self._check("before"):
            return self.report
        for rehearsal in chosen:
            outcome = Outcome(name=rehearsal.name, title=rehearsal.title)
            self.report.outcomes.append(outcome)
            if rehearsal.question and not self._confirm(f"{rehearsal.title}: {rehearsal.question}"):
                outcome.result, outcome.why = "skipped", "not confirmed"
                continue
            if rehearsal.name == "switchover" and not self._before.is_master:
                outcome.result, outcome.why = "skipped", f"{self._before.master} is MASTER: start the drill there"
                continue
            self._say(rehearsal.title)
            try:
                (self._power if rehearsal.name == POWER_OFF else self._rehearse)(rehearsal, outcome)
            except KeyboardInterrupt:
                outcome.result, outcome.why = "aborted", "interrupted"
                self.restore()
                raise
            except ApplianceError as error:
                outcome.result, outcome.why = "failed", error.message.splitlines()[0]
                self.restore()
                return self.report
        self._check("after", CALM_S)
        return self.report

    def restore(self) -> None:
        """Wait for what the node does by itself; the report tells when it does not."""
        with uninterrupted():
            try:
                self._wait(self._is_as_before, "everything is as before", BACK_S)
            except ApplianceError as error:
                self.report.restored, self.report.error = False, error.message.splitlines()[0]

    def _refuse_unless_well(self) -> Situation:
        found = situation(self._node.ask("show", "carp"))
        if found.trouble:
            raise RefusedError(
                f"the cluster is not well: {found.trouble}",
                hint="A drill begins when one node is MASTER of everything: see `appliance show ha`.",
            )
        reports = self._examined()
        unseen = [f"{each['node']}: {each['error']}" for each in reports if each.get("error")]
        outcome = Outcome(name="doctor-before", title="doctor before", looked_at=True)
        outcome.why = f"no failure on {', '.join(str(each['node']) for each in reports if not each.get('error'))}"
        if unseen:  # nodes that are not paired cannot be asked; what they say of their roles is heard all the same
            outcome.result, outcome.why = "skipped", f"{outcome.why}; {'; '.join(unseen)}"
        self._say(f"{outcome.title}: {outcome.why}")
        self.report.outcomes.append(outcome)
        return found

    def _examined(self) -> list[JsonObject]:
        """What the doctor says of all nodes; it may take a moment to be content after something that is over.

        Raises:
            RefusedError: It is not.
        """
        deadline = time.monotonic() + WELL_S
        while True:
            own = self._node.ask("doctor", "--peers")
            reports = [own, *cast("list[JsonObject]", own["peers"])]
            sick = [_sick(each) for each in reports if each["fail"] and not each.get("error")]
            if not sick:
                return reports
            if time.monotonic() > deadline:
                raise RefusedError(
                    f"the doctor finds failures on {'; '.join(sick)}",
                    hint="Mend what `appliance doctor --peers` names; a drill would only make it worse.",
                )
            time.sleep(EXAMINE_S)

    def _check(self, when: str, patience_s: float = 0.0) -> bool:
        """What the handbook has an operator look at; whether all is well."""
        seen = look(self._node.ask, self._before, when, patience_s=patience_s, say=self._say)
        self.report.outcomes += seen
        self._has_dhcp |= any((each.name, each.result) == ("DHCP-before", "passed") for each in seen)
        return all_is_well(seen)

    def _rehearse(self, rehearsal: LiveRehearsal, outcome: Outcome) -> None:
        begun, begun_at = time.time(), time.monotonic()  # a clock may be set meanwhile
        with self._node.rehearsing(rehearsal.name) as said:
            self._wait(self._is_taken_over, "another node is MASTER of everything", SETTLE_S)
            took_s = time.monotonic() - begun_at
            self._wait_for_dhcp()
            time.sleep(self._hold_s)
            if not self._is_taken_over(situation(self._node.ask("show", "carp"))):
                raise ApplianceError("the roles changed again by themselves", hint="See `appliance events`.")
        outcome.phases.append(self._phase("it happens", begun, took_s, said))
        begun, begun_at = time.time(), time.monotonic()
        self._wait(self._is_as_before, "everything is as before", BACK_S)
        took_s = time.monotonic() - begun_at
        time.sleep(self._hold_s)
        outcome.phases.append(self._phase("it is put back", begun, took_s, ""))

    def _phase(self, title: str, begun: float, took_s: float, said: str) -> Phase:
        self._say(f"  {title}: roles settled after {took_s:.2f} s{'; ' if said else ''}{said}")
        return Phase(title=title, took_s=round(took_s, 3), probes=(), begun=begun, ended=time.time(), said=said)

    def _power(self, rehearsal: LiveRehearsal, outcome: Outcome) -> None:
        """Somebody's hand does it; this node survives and looks on."""
        others = {name for name, seen in self._before.nodes.items() if seen}
        self._say(f"  take the power of {' or '.join(sorted(others))} now; this waits {POWER_S:.0f} s for it")
        heard = begun = time.time()

        def is_lost(seen: Situation) -> bool:
            nonlocal heard
            if any(not seen.nodes.get(name, False) for name in others):
                return True
            heard = time.time() - (seen.silent_s or 0.0)
            return False

        self._wait(is_lost, f"{rehearsal.title}: nobody lost its power", POWER_S)
        self._wait(lambda seen: seen.is_master, "this node is MASTER of everything", SETTLE_S)
        begun, took_s, said = heard, 0.0, "this node was MASTER already"
        if not self._before.is_master:
            took_s = max(0.0, situation(self._node.ask("show", "carp")).since - heard)
            said = "counted from its last advert; it may have lived on for up to an interval"
        time.sleep(self._hold_s)
        outcome.phases.append(self._phase("the other node is gone", begun, took_s, said))
        self._say("  give the power back now")
        begun = time.time()
        self._wait(self._is_as_before, "everything is as before", POWER_S)
        outcome.phases.append(self._phase("it is back", begun, time.time() - begun, "with the start of the machine"))

    def _is_taken_over(self, seen: Situation) -> bool:
        if not self._before.is_master:
            return seen.master == self._before.master
        return not seen.is_master and bool(seen.master) and seen.master != seen.node

    def _is_as_before(self, seen: Situation) -> bool:
        return (seen.master, dict(seen.nodes), seen.trouble) == (self._before.master, dict(self._before.nodes), "")

    def _wait_for_dhcp(self) -> None:
        """Leases are handed out by the node that has the addresses, if this node knows of any."""
        if not self._before.is_master or not self._has_dhcp:
            return

        def look() -> str:
            return dhcp_is_with(self._node.ask("show", "dhcp"), "peer")

        _until(lambda: not look(), lambda: f"DHCP did not follow: {look()}", SETTLE_S)

    def _wait(self, condition: Callable[[Situation], bool], what: str, deadline_s: float) -> None:
        def seen() -> Situation:
            try:
                return situation(self._node.ask("show", "carp"))
            except ApplianceError as error:  # it is starting, or its service is
                return Situation(trouble=error.message)

        def why() -> str:
            last = seen()
            hint = "" if last.master or last.trouble else "; with `preempt = false` no node takes over by itself"
            return f"not within {deadline_s:.0f} s: {what} ({last.trouble or last.text}{hint})"

        _until(lambda: condition(seen()), why, deadline_s)


def _sick(report: JsonObject) -> str:
    """A node and the checks that failed there."""
    failed = [str(each["check"]) for each in report["findings"] if each["health"] == "fail"]
    return f"{report['node']} ({', '.join(failed)})"


def _until(condition: Callable[[], bool], why: Callable[[], str], deadline_s: float) -> None:
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            raise ApplianceError(why(), hint="See `appliance show ha` on all nodes.")
        time.sleep(POLL_S)


def cluster_of(node: LiveNode) -> Any:
    """``show carp`` of a node that has virtual hosts.

    Raises:
        RefusedError: It has none.
    """
    data = node.ask("show", "carp")
    if not data["vips"]:
        raise RefusedError("this node has no virtual hosts", hint="A drill is about a failover: configure [carp].")
    return data
