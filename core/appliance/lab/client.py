"""What a client behind a cluster in use measures while the cluster rehearses, and how that gets into the report.

The client runs `appliance drill probe` (no node has to run on it), the node `appliance drill`; both write a file, and
`appliance drill merge` puts the losses where they belong, by the clocks of both machines.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from appliance.errors import ApplianceError, UsageError
from appliance.lab.measure import ProbeKind, ProbeResult, window
from appliance.lab.probes import RunningProbe
from appliance.lab.report import Outcome, Phase, Report, Say

SECONDS_MAX = 3600.0
MARGIN_S = 0.5
"""A step counts from this long before to this long before its end: two machines that keep time by NTP agree much
better, and what the next step does must not be counted here as well."""
KINDS = tuple(str(kind) for kind in ProbeKind)
DEFAULT_KINDS = "ping"
"""Needs nothing at the other end. The others need `appliance drill answer` there."""
FILE_MAX = 64 * 1024 * 1024
"""An hour of all kinds of traffic is a tenth of this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All that one client measured."""

    client: str
    target: str
    probes: tuple[ProbeResult, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data, as it is saved."""
        return {"client": self.client, "target": self.target, "probes": [probe.to_json() for probe in self.probes]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`."""
        probes = tuple(ProbeResult.from_json(each) for each in data["probes"])
        return cls(client=str(data["client"]), target=str(data["target"]), probes=probes)


def kinds_of(text: str) -> list[ProbeKind]:
    """``ping,udp`` and the like.

    Raises:
        UsageError: There is no such traffic.
    """
    names = [each for each in text.split(",") if each]
    unknown = [each for each in names if each not in KINDS]
    if unknown or not names:
        raise UsageError(f"there is no traffic {(unknown or [''])[0]!r}", hint=f"There are: {', '.join(KINDS)}.")
    return [ProbeKind(each) for each in dict.fromkeys(names)]


def measure(target: str, kinds: Sequence[ProbeKind], seconds: float, say: Say) -> Measured:
    """Send traffic until the time is over or somebody interrupts.

    Raises:
        ApplianceError: Nothing answers.
        UsageError: Too long, or no time at all.
    """
    if not 0 < seconds <= SECONDS_MAX:
        raise UsageError(f"{seconds:g} s are not possible", hint=f"Use up to {SECONDS_MAX:.0f} seconds.")
    with ExitStack() as stack:
        running = [stack.enter_context(_probe(kind, target, seconds)) for kind in kinds]
        for probe in running:
            probe.wait_flowing()
        say(f"{', '.join(kinds)} to {target} for {seconds:g} s, or until Ctrl-C. Now start the drill on the node.")
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(seconds)
        results = tuple(probe.stop() for probe in running)
    for result in results:
        say(f"  {result.kind}: {result.sentence()}")
    return Measured(client=socket.gethostname(), target=target, probes=results)


def _probe(kind: ProbeKind, target: str, seconds: float) -> RunningProbe:
    argv = [sys.executable, "-m", "appliance.lab.probe", str(kind), "--address", target, "--seconds", str(seconds)]
    # Of a group of its own: Ctrl-C is for us, who then ask it to stop and to tell.
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, start_new_session=True)
    return RunningProbe(process, kind, seconds)


def answer() -> None:
    """The other end of all kinds of traffic, until somebody interrupts."""
    with ExitStack() as stack:
        for half in ("udp", "tcp"):
            argv = [sys.executable, "-m", "appliance.lab.probe_server", half]
            process = stack.enter_context(subprocess.Popen(argv, start_new_session=True, stdout=subprocess.DEVNULL))
            stack.callback(process.terminate)
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()


def read(path: str) -> dict[str, Any]:
    """A file of `--save`, or of `appliance drill --json`.

    Raises:
        UsageError: It cannot be read, or is something else.
    """
    try:
        file = Path(path)
        if file.stat().st_size > FILE_MAX:
            raise UsageError(f"{path} is larger than any report", hint="Name a file that a drill has written.")
        data = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"cannot read {path}: {error.strerror}", hint="Name a file that a drill has written."
        ) from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}", hint="Name a file that a drill has written.") from None
    if not isinstance(data, dict):
        raise UsageError(f"{path} is no report", hint="Name a file that a drill has written.")
    return data


def report_from(data: Mapping[str, Any]) -> Report:
    """The inverse of `Report.to_json`.

    Raises:
        UsageError: It is something else.
    """
    try:
        outcomes = [_outcome(each) for each in data["rehearsals"]]
        known = {each.name for each in fields(Report)} - {"outcomes"}
        return Report(outcomes=outcomes, **{name: value for name, value in data.items() if name in known})
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"that is no report of a drill: {error}", hint="Save one by `appliance drill --json`."
        ) from None


def _outcome(data: Mapping[str, Any]) -> Outcome:
    phases = []
    for each in data["phases"]:
        probes = tuple(ProbeResult.from_json(probe) for probe in each["probes"])
        phases.append(Phase(**{**each, "probes": probes}))
    return Outcome(**{**data, "phases": phases})


def merge(report: Report, measured: Measured) -> Report:
    """The report with what the client measured while each thing happened.

    Raises:
        ApplianceError: They are not of the same time.
    """
    outcomes = [_with(outcome, measured) for outcome in report.outcomes]
    if not any(phase.probes for outcome in outcomes for phase in outcome.phases):
        raise ApplianceError(
            f"{measured.client} measured at another time than the drill ran",
            hint="Start `appliance drill probe` first and end it last; both machines have to keep time by NTP.",
        )
    values = {field.name: getattr(report, field.name) for field in fields(Report)}
    return Report(**{**values, "outcomes": outcomes, "client": f"{measured.client} to {measured.target}"})


def _covers(result: ProbeResult, begin: float, end: float) -> bool:
    """Whether a probe ran all the time, or until it broke in the middle."""
    ended = result.began + result.seconds
    return result.began <= begin and (end <= ended or (begin < ended and not result.survived))


def _with(outcome: Outcome, measured: Measured) -> Outcome:
    phases = []
    for phase in outcome.phases:
        begin, end = phase.begun - MARGIN_S, phase.ended - MARGIN_S
        seen = [each for each in measured.probes if _covers(each, begin, end)]
        probes = tuple(window(each, begin, end) for each in seen)
        phases.append(Phase(**{**{f.name: getattr(phase, f.name) for f in fields(Phase)}, "probes": probes}))
    lost = [str(probe.kind) for phase in phases for probe in phase.probes if not probe.survived]
    if lost and outcome.result == "passed":
        why = f"{', '.join(dict.fromkeys(lost))} of {measured.client} did not survive"
        return Outcome(name=outcome.name, title=outcome.title, result="failed", why=why, phases=phases)
    return Outcome(**{**asdict(outcome), "phases": phases})
