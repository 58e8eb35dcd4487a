"""A drill: failures are rehearsed one after the other while a client looks on, and each is put back.

The cluster has to be well before it begins. Whatever happens, also Ctrl-C at any moment, it is put back as it was.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from appliance.errors import ApplianceError, RefusedError
from appliance.lab.demo import uninterrupted
from appliance.lab.lab import Lab
from appliance.lab.leases import DhcpClient
from appliance.lab.live_checks import Situation
from appliance.lab.looking import CALM_S, all_is_well, look
from appliance.lab.measure import ProbeKind
from appliance.lab.rehearsals import BACK_S, PRIMARY, SECONDARY, Rehearsal, put_back
from appliance.lab.report import Outcome, Phase, Report, Say

BEFORE_S, AFTER_S = 0.5, 1.5
"""Traffic that flows before something happens, and after it: TCP may wait for its next retransmission."""
PROBE_MAX_S = 120.0
PROBES = (ProbeKind.UDP, ProbeKind.PING, ProbeKind.DOWNLOAD, ProbeKind.INTERACTIVE)
"""What a client does meanwhile: a call, a ping, a download, a shell."""
BEGIN_S = 10.0
"""For a cluster that is settled to be seen settled."""


class Drill:
    """One drill.

    Args:
        lab: The cluster, which is up.
        say: Takes a line about what goes on.
        confirm: Asked before something dangerous; whether to do it.
    """

    def __init__(self, lab: Lab, *, say: Say, confirm: Callable[[str], bool]) -> None:
        self._lab, self._say, self._confirm = lab, say, confirm
        self._dhcp = DhcpClient(lab)
        self.report = Report(lab=lab.name, started=datetime.now(UTC).isoformat(timespec="seconds"))

    def run(self, rehearsals: Sequence[Rehearsal]) -> Report:
        """All of them, until one fails.

        Raises:
            RefusedError: The cluster is not well; nothing was touched.
            KeyboardInterrupt: Somebody has had enough; the cluster is as it was, the report tells.
        """
        self._refuse_unless_well()
        if not self._look("before", 0.0):
            return self.report
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
                return self.report
        self._look("after", CALM_S)
        return self.report

    def _look(self, when: str, patience_s: float) -> bool:
        """What a handbook has an operator look at, and a lease; whether all is well."""
        before = Situation(node=PRIMARY, master=PRIMARY)

        def ask(*words: str) -> dict[str, Any]:
            return self._lab.request(PRIMARY, *words)

        seen = look(ask, before, when, patience_s=patience_s, say=self._say)
        if when == "before":
            seen.append(self._lease())
        self.report.outcomes += seen
        return all_is_well(seen)

    def _lease(self) -> Outcome:
        outcome = Outcome(name="lease-before", title="a lease", looked_at=True)
        try:
            outcome.why = self._dhcp.begin()
        except (ApplianceError, subprocess.SubprocessError) as error:
            outcome.result, outcome.why = "failed", str(error).splitlines()[0]
        else:
            outcome.result = "passed" if self._dhcp.address else "skipped"
        self._say(f"{outcome.title}: {outcome.why}")
        return outcome

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
            begun, begun_at = time.time(), time.monotonic()
            act()
            took_s = time.monotonic() - begun_at
            said = self._dhcp.again()
            time.sleep(AFTER_S)
            results = tuple(probe.stop() for probe in running)
        self._say(f"  {title}: " + "; ".join(f"{each.kind} {each.sentence()}" for each in results))
        took_s = round(took_s, 3)
        return Phase(title=title, took_s=took_s, probes=results, begun=begun, ended=time.time(), said=said)

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
