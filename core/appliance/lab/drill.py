"""A drill: failures are rehearsed one after the other while a client looks on, and each is put back.

The cluster has to be well before it begins. Whatever happens, also Ctrl-C at any moment, it is put back as it was.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from appliance.errors import ApplianceError, RefusedError
from appliance.lab.demo import uninterrupted
from appliance.lab.lab import Lab
from appliance.lab.measure import ProbeKind, ProbeResult
from appliance.lab.rehearsals import BACK_S, PRIMARY, SECONDARY, Rehearsal, put_back

BEFORE_S, AFTER_S = 0.5, 1.5
"""Traffic that flows before something happens, and after it: TCP may wait for its next retransmission."""
PROBE_MAX_S = 120.0
PROBES = (ProbeKind.UDP, ProbeKind.PING, ProbeKind.DOWNLOAD, ProbeKind.INTERACTIVE)
"""What a client does meanwhile: a call, a ping, a download, a shell."""
BEGIN_S = 10.0
"""For a cluster that is settled to be seen settled."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One half of a rehearsal: something happens, or is put back."""

    title: str
    took_s: float
    """Until the roles had settled."""
    probes: tuple[ProbeResult, ...]
    """What clients measured; none when nobody did."""
    begun: float = 0.0
    """Unix time; 0: not noted."""
    ended: float = 0.0
    said: str = ""
    """What the node said about it."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How one rehearsal went."""

    name: str
    title: str
    result: str = "passed"
    """``passed``, ``failed``, ``skipped`` or ``aborted``."""
    why: str = ""
    phases: list[Phase] = field(default_factory=list)
    looked_at: bool = False
    """Nothing happened, something was looked at; then `why` tells what was seen."""


@dataclass(slots=True, kw_only=True)
class Report:
    """A whole drill."""

    lab: str
    """Empty: a cluster in use."""
    started: str
    """RFC 3339."""
    outcomes: list[Outcome] = field(default_factory=list)
    restored: bool = True
    """Whether the cluster is as it was before."""
    error: str = ""
    """Why it is not, or why the drill did not begin."""
    node: str = ""
    """Of a cluster in use, where the drill ran."""
    client: str = ""
    """Who measured the losses, and to where; empty: the client of the lab, or nobody."""

    @property
    def place(self) -> str:
        """For people."""
        return self.lab or f"the cluster, from {self.node}"

    @property
    def passed(self) -> bool:
        """Whether all that was rehearsed went well, and something was."""
        done = [each for each in self.outcomes if each.result != "skipped"]
        rehearsed = any(not each.looked_at for each in done)
        return self.restored and not self.error and rehearsed and all(each.result == "passed" for each in done)

    def to_json(self) -> dict[str, Any]:
        """Plain data, as ``--json`` prints it."""
        data = asdict(self)
        rehearsals = data.pop("outcomes")
        return {**data, "passed": self.passed, "rehearsals": rehearsals}


class Drill:
    """One drill.

    Args:
        lab: The cluster, which is up.
        say: Takes a line about what goes on.
        confirm: Asked before something dangerous; whether to do it.
    """

    def __init__(self, lab: Lab, *, say: Say, confirm: Callable[[str], bool]) -> None:
        self._lab, self._say, self._confirm = lab, say, confirm
        self.report = Report(lab=lab.name, started=datetime.now(UTC).isoformat(timespec="seconds"))

    def run(self, rehearsals: Sequence[Rehearsal]) -> Report:
        """All of them, until one fails.

        Raises:
            RefusedError: The cluster is not well; nothing was touched.
            KeyboardInterrupt: Somebody has had enough; the cluster is as it was, the report tells.
        """
        self._refuse_unless_well()
        for rehearsal in rehearsals:
            outcome = Outcome(name=rehearsal.name, title=rehearsal.title)
            self.report.outcomes.append(outcome)
            if rehearsal.dangerous and not self._confirm(f"{rehearsal.title}: a machine loses its power."):
                outcome.result, outcome.why = "skipped", "not confirmed"
                continue
            self._say(rehearsal.title)
            try:
                self._rehearse(rehearsal, outcome)
            except KeyboardInterrupt:
                outcome.result, outcome.why = "aborted", "interrupted"
                self._restore()
                raise
            except (ApplianceError, subprocess.SubprocessError) as error:
                outcome.result, outcome.why = "failed", str(error).splitlines()[0]
                self._restore()
                break
        return self.report

    def _refuse_unless_well(self) -> None:
        lab = self._lab
        if lab.topology.nodes < 2 or lab.faults_in_force():
            raise RefusedError(
                f"the lab {lab.name} has one node only, or faults in force",
                hint="See `appliance lab status`; `appliance lab undo` removes all faults.",
            )
        try:
            lab.wait_settled(PRIMARY, deadline_s=BEGIN_S)
            reports = [lab.request(node, "doctor") for node in lab.topology.node_names]
        except ApplianceError as error:
            raise RefusedError(
                f"the cluster is not well: {error.message.splitlines()[0]}",
                hint="A drill begins with the primary as MASTER of everything: see `appliance show ha` of both nodes.",
            ) from None
        sick = [str(report["node"]) for report in reports if report["fail"]]
        if sick:
            raise RefusedError(
                f"the doctor finds failures on {', '.join(sick)}",
                hint="Mend what `appliance doctor` names there; a drill would only make it worse.",
            )

    def _rehearse(self, rehearsal: Rehearsal, outcome: Outcome) -> None:
        lab, master = self._lab, SECONDARY if rehearsal.moves else PRIMARY

        def happen() -> None:
            rehearsal.happen(lab)
            lab.wait_for(lambda seen: _is_master(seen.get(master)), f"{master} is MASTER of everything", BACK_S)

        def back() -> None:
            rehearsal.back(lab)
            lab.wait_settled(PRIMARY, deadline_s=BACK_S)

        for title, act in (("it happens", happen), ("it is put back", back)):
            phase = self._traffic(title, act)
            outcome.phases.append(phase)
            broken = [str(probe.kind) for probe in phase.probes if not probe.survived]
            if broken:
                raise ApplianceError(f"{title}: {', '.join(broken)} did not survive", hint="See the report.")

    def _traffic(self, title: str, act: Callable[[], None]) -> Phase:
        """Sends all kinds of traffic while something happens, and measures."""
        with ExitStack() as stack:
            running = [stack.enter_context(self._lab.probe(kind, seconds=PROBE_MAX_S)) for kind in PROBES]
            for probe in running:
                probe.wait_flowing()
            time.sleep(BEFORE_S)
            begun = time.monotonic()
            act()
            took_s = time.monotonic() - begun
            time.sleep(AFTER_S)
            results = tuple(probe.stop() for probe in running)
        self._say(f"  {title}: " + "; ".join(f"{each.kind} {each.sentence()}" for each in results))
        return Phase(title=title, took_s=round(took_s, 3), probes=results)

    def _restore(self) -> None:
        """An impatient second Ctrl-C must not leave anything behind."""
        with uninterrupted():
            try:
                put_back(self._lab)
            except ApplianceError as error:
                self.report.restored, self.report.error = False, str(error).splitlines()[0]


def _is_master(status: Any) -> bool:
    vips = (status or {}).get("vips", [])
    return bool(vips) and all(vip["state"] == "MASTER" for vip in vips)
