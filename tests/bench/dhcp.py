"""How long DHCP clients are without an answer, and whether two of them ever have one address.

A trial: 200 clients hold an address and renew it every few seconds, 50 new ones come every second; then the first
server fails, and later it returns. The clients are those of `tests.netns.dhcp`; they note every OFFER, every address
they ever held and every renewal. ``leases/s`` is measured with perfdhcp at growing rates, both servers up.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dhcp_systems import SYSTEMS, DhcpSystem

from appliance.lab import Lab
from tests.netns.dhcp.crowds import Ledger, crowded, favour

SCENARIOS = ("kill", "death", "planned", "sync cut")
NEW_PER_S, RENEWING, RENEW_EVERY_S = 50, 200, 4
BEFORE_S = 2.0
"""New clients come for this long before anything happens."""
TRIAL_MAX_S = 400
RATES = (250, 500, 1000, 1500, 2000, 3000)
RATE_S, RATE_CLIENTS = 5, 6000
RATE_MAX_S = 30.0
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much is measured."""

    runs: int = 3
    peer_runs: int = 3
    kea_runs: int = 1
    """Kea with its own timers needs a minute for every outage."""
    scenarios: tuple[str, ...] = SCENARIOS
    systems: tuple[str, ...] = tuple(SYSTEMS)


QUICK = Options(runs=1, peer_runs=1, scenarios=("death",), systems=("ours", "isc"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What clients saw in one trial; seconds."""

    silence_s: float
    wait_s: float
    delayed: int
    return_silence_s: float
    return_wait_s: float
    clients: int
    duplicates: int
    moved: int
    failed_renewals: int
    longest_renewal_s: float

    @classmethod
    def of(cls, ledger: Ledger, failed_at: float, returned_at: float) -> Trial:
        """Reads the books of the clients."""
        end = ledger.ended_at
        if ledger.frames_lost:
            raise RuntimeError(f"the clients lost {ledger.frames_lost} frames: nothing can be said")
        return cls(
            silence_s=ledger.silence(failed_at, returned_at),
            # A client that began to ask just before the fault may be hit by it.
            wait_s=ledger.longest_wait(failed_at - 1, returned_at),
            delayed=ledger.delayed(failed_at - 1, returned_at),
            return_silence_s=ledger.silence(returned_at, end),
            return_wait_s=ledger.longest_wait(returned_at, end - 1),
            clients=ledger.clients,
            duplicates=len(ledger.duplicates()),
            moved=len(ledger.moved()),
            failed_renewals=len(ledger.failed_renewals()),
            longest_renewal_s=ledger.longest_renewal(),
        )


@dataclass(slots=True)
class Results:
    """All trials, by system and scenario."""

    trials: dict[tuple[str, str], list[Trial]] = field(default_factory=dict)
    leases_per_s: dict[str, float] = field(default_factory=dict)


def measure(options: Options, say: Say) -> Results:
    """Every system through every scenario, each trial with a network of its own."""
    results = Results()
    for key in options.systems:
        system = SYSTEMS[key]()
        runs = {"ours": options.runs, "kea": options.kea_runs}.get(key, options.peer_runs)
        for scenario in options.scenarios:
            for _ in range(runs):
                trial = _trial(system, scenario)
                results.trials.setdefault((system.name, scenario), []).append(trial)
                say(f"  {system.name:<38} {scenario:<8} {trial}")
        results.leases_per_s[system.name] = _carried(system, say)
    return results


def _trial(system: DhcpSystem, scenario: str) -> Trial:
    crowd = ("--new", NEW_PER_S, "--renewing", RENEWING, "--renew-every", RENEW_EVERY_S, "--seconds", TRIAL_MAX_S)
    with _running(system) as lab, crowded(lab, *crowd) as clients:
        favour(lab)
        time.sleep(BEFORE_S)
        failed_at = time.monotonic()
        _fail(system, lab, scenario)
        time.sleep(max(0.0, failed_at + system.watch_s[scenario] - time.monotonic()))
        returned_at = time.monotonic()
        _return(system, lab, scenario)
        favour(lab)
        time.sleep(system.return_s)
        ledger = clients.stop()
    return Trial.of(ledger, failed_at, returned_at)


@contextmanager
def _running(system: DhcpSystem) -> Iterator[Lab]:
    with system.make_lab() as lab:
        for node in lab.topology.node_names:
            system.start(lab, node)
        system.wait_ready(lab)
        favour(lab)
        yield lab


def _fail(system: DhcpSystem, lab: Lab, scenario: str) -> None:
    if scenario == "kill":
        system.kill(lab)
    elif scenario == "death":
        lab.power_off("fw1")
    elif scenario == "planned":
        system.plan(lab)
    else:
        lab.pull("fw1", "sync")


def _return(system: DhcpSystem, lab: Lab, scenario: str) -> None:
    if scenario == "death":
        lab.power_on("fw1")
        system.start(lab, "fw1")
    elif scenario == "sync cut":
        lab.plug("fw1", "sync")
    else:
        system.restore(lab, scenario)


# --- leases per second ---------------------------------------------------------------------------------------------


def _carried(system: DhcpSystem, say: Say) -> float:
    """The most leases a second that the pair gave: rates grow until it gives less than before."""
    best = 0.0
    with _running(system) as lab:
        for rate in RATES:
            given, dropped = _perfdhcp(lab, rate)
            say(f"  {system.name:<38} perfdhcp {rate}/s: {given:.0f} leases/s, {100 * dropped:.1f} % dropped")
            if given < best:
                break
            best = given
    return best


def _perfdhcp(lab: Lab, rate: int) -> tuple[float, float]:
    argv = ("perfdhcp", "-4", "-l", "eth0", "-r", str(rate), "-R", str(RATE_CLIENTS), "-p", str(RATE_S))
    done = subprocess.run(
        lab.argv("client", argv), capture_output=True, text=True, timeout=RATE_MAX_S + RATE_S, check=False
    )
    # Status 3 says no more than that some exchanges were not completed.
    if done.returncode not in (0, 3):
        raise RuntimeError(f"perfdhcp: {(done.stderr or done.stdout)[-300:]}")
    rates = [float(found) for found in re.findall(r"^Rate: ([\d.]+)", done.stdout, re.MULTILINE)]
    dropped = [float(found) for found in re.findall(r"^drops ratio: ([\d.]+) %", done.stdout, re.MULTILINE)]
    return rates[0], max(dropped) / 100


# --- tables --------------------------------------------------------------------------------------------------------


def table(results: Results) -> str:
    """As Markdown."""
    names = list(dict.fromkeys(name for name, _ in results.trials))
    scenarios = [each for each in SCENARIOS if any((name, each) in results.trials for name in names)]
    lines = ["| system | " + " | ".join(scenarios) + " | leases/s |", "|---" * (len(scenarios) + 2) + "|"]
    for name in names:
        cells = [_cell(results.trials.get((name, scenario), [])) for scenario in scenarios]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {results.leases_per_s.get(name, 0):.0f} |")
    lines += ["", "| system | " + " | ".join(f"return after {each}" for each in scenarios) + " |"]
    lines.append("|---" * (len(scenarios) + 1) + "|")
    for name in names:
        cells = [_return_cell(results.trials.get((name, scenario), [])) for scenario in scenarios]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "| system | trials | clients | duplicates | moved | renewals failed | longest renewal |",
        "|---" * 7 + "|",
    ]
    for name in names:
        lines.append(_sums(name, [each for (of, _), trials in results.trials.items() if of == name for each in trials]))
    return "\n".join([*lines, "", *_ratios(results, names, scenarios)])


def _middle(values: list[float]) -> float:
    return statistics.median(values)


def _cell(trials: list[Trial]) -> str:
    if not trials:
        return "-"
    return (
        f"{_middle([t.silence_s for t in trials]):.2f}; {_middle([t.wait_s for t in trials]):.2f}"
        f" / {max(t.wait_s for t in trials):.2f}; {_middle([t.delayed for t in trials]):.0f} (n={len(trials)})"
    )


def _return_cell(trials: list[Trial]) -> str:
    if not trials:
        return "-"
    waits = [t.return_wait_s for t in trials]
    return f"{_middle([t.return_silence_s for t in trials]):.2f}; {_middle(waits):.2f} / {max(waits):.2f}"


def _sums(name: str, trials: list[Trial]) -> str:
    clients, duplicates = sum(t.clients for t in trials), sum(t.duplicates for t in trials)
    moved, failed = sum(t.moved for t in trials), sum(t.failed_renewals for t in trials)
    longest = max(t.longest_renewal_s for t in trials)
    return f"| {name} | {len(trials)} | {clients:,} | {duplicates} | {moved} | {failed} | {longest:.1f} s |"


def _ratios(results: Results, names: list[str], scenarios: list[str]) -> list[str]:
    """How much longer clients of others wait, where ours wait at all."""
    ours = SYSTEMS["ours"].name
    lines = []
    for name in names:
        for scenario in scenarios:
            mine, theirs = results.trials.get((ours, scenario)), results.trials.get((name, scenario))
            if mine and theirs and name != ours:
                wait, other = _middle([t.wait_s for t in mine]), _middle([t.wait_s for t in theirs])
                lines.append(f"- {scenario}: {name}: {other / max(wait, 0.001):.1f} times our longest wait")
    return lines
