"""How long a client is without service when something fails: numbered datagrams every millisecond, echoed.

The gap is the longest run without an answer, in milliseconds; 0 means that no datagram was lost. The moment
of the fault is random within the heartbeat interval. A trial begins when fw1 alone holds everything.
"""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from systems import System

from appliance.errors import ApplianceError
from appliance.lab.lab import Lab, unique_name
from appliance.lab.measure import ProbeKind

LOADS = ("idle", "busy")
SCENARIOS = ("death", "cable", "planned", "kill -9")
PROBE_MAX_S = 60.0
HOG_MAX_S = 7200
NEVER = math.inf
BEFORE_S = 0.02
"""Starting the command that causes the fault takes a while; the fault itself comes later, never earlier."""


class DisturbedError(Exception):
    """The longest gap of a trial began before the fault: it says nothing about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """The gaps of one system under one fault."""

    system: str
    scenario: str
    load: str
    values_ms: tuple[float, ...]

    def median(self) -> float:
        """The middle one (the upper of two)."""
        return sorted(self.values_ms)[len(self.values_ms) // 2] if self.values_ms else math.nan

    def p95(self) -> float:
        """The value that 95 % do not exceed."""
        ordered = sorted(self.values_ms)
        return ordered[min(len(ordered) - 1, math.ceil(0.95 * len(ordered)) - 1)] if ordered else math.nan

    def worst(self) -> float:
        """The longest."""
        return max(self.values_ms, default=math.nan)


@contextmanager
def busy_cores(load: str) -> Iterator[None]:
    """One endless loop per core while the block lasts, or nothing."""
    count = len(os.sched_getaffinity(0)) if load == "busy" else 0
    hogs = [
        subprocess.Popen(["timeout", str(HOG_MAX_S), sys.executable, "-c", "while True: pass"]) for _ in range(count)
    ]
    try:
        yield
    finally:
        for hog in hogs:
            hog.terminate()
            hog.wait()


def measure(system: System, scenarios: tuple[str, ...], runs: int, load: str, say: Callable[[str], None]) -> list[Gaps]:
    """All scenarios of one system; a fresh lab per scenario. The load is the caller's (`busy_cores`)."""
    results = []
    for scenario in scenarios:
        values = []
        with system.make_lab(unique_name("b")) as lab:
            for node in ("fw1", "fw2"):
                system.start(lab, node)
            for number in range(runs):
                try:
                    values.append(_trial(system, lab, scenario))
                except DisturbedError:
                    say(f"  {system.name} {scenario} run {number + 1} not counted: packets were lost before the fault")
                except ApplianceError as error:
                    say(f"  {system.name} {scenario} run {number + 1} not counted: {error.message.splitlines()[0]}")
                    break
        found = Gaps(system=system.name, scenario=scenario, load=load, values_ms=tuple(values))
        say(
            f"  {system.name:<48} {scenario:<8} {load:<5} median {found.median():8.1f}  p95 {found.p95():8.1f}  "
            f"max {found.worst():8.1f} ms  (n={len(values)})"
        )
        results.append(found)
    return results


def _trial(system: System, lab: Lab, scenario: str) -> float:
    system.wait_settled(lab)
    with lab.probe(ProbeKind.UDP, seconds=PROBE_MAX_S) as probe:
        probe.wait_flowing()
        time.sleep(0.3 + random.random() * 1.1)  # a random phase of the heartbeat
        fault_at = time.monotonic()
        if scenario == "death":
            lab.power_off("fw1")
            time.sleep(system.death_wait_s)
        elif scenario == "cable":
            lab.pull("fw1", "wan")
            time.sleep(system.cable_wait_s)
        elif scenario == "planned":
            system.hand_over(lab)
            time.sleep(2.0 if system.stop_is_planned != "SIGTERM" else system.death_wait_s)
        else:
            system.kill(lab, "fw1")
            time.sleep(2.0)
        result = probe.stop()
    _undo(system, lab, scenario)
    if not result.survived:
        return NEVER
    if result.lost and result.gap_at < fault_at - BEFORE_S:
        raise DisturbedError
    return result.longest_gap_ms if result.lost else 0.0


def _undo(system: System, lab: Lab, scenario: str) -> None:
    if scenario == "death":
        lab.power_on("fw1")
        system.start(lab, "fw1")
    elif scenario == "cable":
        lab.plug("fw1", "wan")
    elif scenario == "planned":
        system.restore(lab)
    else:
        system.restore_killed(lab)
