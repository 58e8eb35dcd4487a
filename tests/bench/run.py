"""``make bench``: measures this project beside its peers, in the same run, and prints tables.

    run.py [--runs 20] [--fast-runs 20] [--peer-runs 5] [--at-once 1]
           [--only failover|small|scale|endurance|rules|states|takeover|dhcp]
           [--load idle|busy] [--write docs/benchmarks.md]
    run.py --only states [--quick] [--runs 3] [--seconds 6] [--states 100000] [--part cost …] [--system ours …]
    run.py --only rules [--quick] [--runs 3] [--states 1000 10000 50000] [--part load …] [--system ours …]
    run.py --only dhcp [--quick] [--runs 3] [--peer-runs 3] [--part death …] [--system ours …]
    run.py --only takeover [--quick] [--runs 20] [--states 0 …] [--part death …] [--system ours …] [--interval 1]

Nothing here gates the tests. Numbers depend on the machine; ratios between systems of one run mean more.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import platform
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

import dhcp
import dhcp_systems
import endurance
import failover
import rules
import rules_forward
import rules_tables
import small
import states
import statestables
import sync
import takeover
from failover import Gaps, measure
from systems import Appliance, System, require_tools, rivals

ONLY = ("sync", "failover", "small", "scale", "endurance", "rules", "states", "takeover", "dhcp")
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


def say(text: str) -> None:
    """Progress, at once."""
    print(text, flush=True)


def run_failover(runs: int, fast_runs: int, peer_runs: int, at_once: int, loads: tuple[str, ...]) -> list[Gaps]:
    """Every system, idle and with all cores busy (`loads`); `at_once` labs side by side."""
    plan: list[tuple[System, tuple[str, ...], int]] = []
    for profile, count in (("book", runs), ("fast", fast_runs)):
        plan.append((Appliance(profile), failover.SCENARIOS, count))
        plan.append((Appliance(profile, sync_cable=False), ("death",), count))
    plan += [(rival, failover.SCENARIOS, peer_runs) for rival in rivals()]
    found: list[Gaps] = []
    for load in loads:
        with failover.busy_cores(load), ThreadPoolExecutor(at_once) as pool:
            jobs = [pool.submit(measure, system, scenarios, count, load, say) for system, scenarios, count in plan]
            found += [gaps for job in jobs for gaps in job.result()]
    return found


def failover_table(found: list[Gaps]) -> str:
    """Markdown: one row per system and load, median / p95 / max per scenario."""
    rows = ["| system | load | " + " | ".join(failover.SCENARIOS) + " |", "|---" * (2 + len(failover.SCENARIOS)) + "|"]
    for system, load in dict.fromkeys((each.system, each.load) for each in found):
        cells = []
        for scenario in failover.SCENARIOS:
            gaps = next((g for g in found if (g.system, g.load, g.scenario) == (system, load, scenario)), None)
            cells.append(_cell(gaps))
        rows.append(f"| {system} | {load} | " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n\n" + "\n".join(_ratios(found))


def _cell(gaps: Gaps | None) -> str:
    if gaps is None or not gaps.values_ms:
        return "-"
    return (
        " / ".join("never" if math.isinf(v) else f"{v:.0f}" for v in (gaps.median(), gaps.p95(), gaps.worst()))
        + f" (n={len(gaps.values_ms)})"
    )


def _ratios(found: list[Gaps]) -> list[str]:
    """How much shorter our gap is than each peer's, where ours is more than nothing."""
    lines = []
    ours = {(g.scenario, g.load): g for g in found if g.system == Appliance("book").name}
    for gaps in found:
        mine = ours.get((gaps.scenario, gaps.load))
        if mine is None or gaps.system.startswith("appliance") or not gaps.values_ms or not mine.values_ms:
            continue
        if gaps.median() < 1 and mine.median() < 1:
            continue  # nobody lost anything
        ratio = gaps.median() / max(mine.median(), 1.0)
        text = "never recovered" if math.isinf(ratio) else f"{ratio:.1f} times ours"
        lines.append(f"- {gaps.scenario}, {gaps.load}: {gaps.system}: {text}")
    return lines


def small_table() -> str:
    """Bus, command line, idle node."""
    rate = sorted(small.bus_rate() for _ in range(5))[2]
    idle, start = small.idle_node(), small.start_cpu_s()
    cpu, memory = idle["cpu"], idle["memory"]
    assert isinstance(cpu, dict)
    assert isinstance(memory, dict)
    parts = ", ".join(f"{name} {value:.1f} %" for name, value in cpu.items())
    sizes = ", ".join(f"{name} {value:.0f} MB" for name, value in memory.items())
    return "\n".join([
        "| what | value |", "|---|---|",
        f"| bus, 6 subscribers, bursts of 32 | {rate:,.0f} events/s, every one delivered 6 times (median of 5) |",
        f"| `appliance show carp` | median {idle['cli_median_ms']:.0f} ms, max {idle['cli_max_ms']:.0f} ms |",
        f"| start of a node until it is MASTER, CPU | {sum(start.values()):.2f} s |",
        f"| idle master, CPU of one core | {sum(cpu.values()):.1f} % ({parts}) |",
        f"| idle master, memory (PSS) | {sum(memory.values()):.0f} MB ({sizes}) |",
    ])  # fmt: skip


def scale_table() -> str:
    """255 VHIDs on four interfaces."""
    found = small.scale()
    cpu, jitter = found["cpu"], found["jitter_ms"]
    assert isinstance(cpu, dict)
    assert isinstance(jitter, dict)
    rows = ["| 255 VHIDs x 4 interfaces, 1 s | master | backup |", "|---|---|---|"]
    for name in ("heartbeat", "guard", "main"):
        rows.append(f"| {name}, CPU of one core | {cpu['fw1'].get(name, 0):.1f} % | {cpu['fw2'].get(name, 0):.1f} % |")
    if jitter:
        rows.append(
            f"| advert interval off by, median / p99 / max | {jitter['median']:.2f} / {jitter['p99']:.2f} / "
            f"{jitter['max']:.2f} ms | |"
        )
    return "\n".join(rows)


def endurance_text(minutes: float) -> str:
    """Fast timers on a busy machine."""
    found = endurance.false_takeovers(minutes)
    return (
        f"`fast` profile, sync cable cut, an endless loop on every core, {found['minutes']:g} minutes: "
        f"{found['transitions']:.0f} transitions, {found['late_timer']:.0f} timers that fired too late to count, "
        f"{found['sent']:.0f} adverts."
    )


def states_text(options: argparse.Namespace) -> str:
    """What replicating states costs."""
    base = states.QUICK if options.quick else states.Options()
    wanted = {"runs": options.runs, "seconds": options.seconds, "bulk": options.states and options.states[0],
              "parts": options.part, "systems": options.system}  # fmt: skip
    return statestables.text(states.measure(_changed(base, wanted), say))


def takeover_text(options: argparse.Namespace) -> str:
    """Who lives through a takeover."""
    base = takeover.QUICK if options.quick else takeover.Options()
    wanted = {"runs": options.runs, "sizes": options.states, "scenarios": options.part, "systems": options.system,
              "peer_runs": options.peer_runs or options.runs, "interval_s": options.interval,
              "ordinary": options.ordinary}  # fmt: skip
    return takeover.table(takeover.measure(_changed(base, wanted), say))


def dhcp_text(options: argparse.Namespace) -> str:
    """How long DHCP clients wait when a server fails."""
    dhcp_systems.require_servers()
    base = dhcp.QUICK if options.quick else dhcp.Options()
    wanted = {"runs": options.runs, "peer_runs": options.peer_runs, "scenarios": options.part,
              "systems": options.system}  # fmt: skip
    return dhcp.table(dhcp.measure(_changed(base, wanted), say))


def rules_text(options: argparse.Namespace) -> str:
    """What many rules cost."""
    base = rules.QUICK if options.quick else rules.Options()
    wanted = {"runs": options.runs, "sizes": options.states, "parts": options.part, "systems": options.system}
    return rules_tables.text(rules.measure(_changed(base, wanted), say))


Chosen = TypeVar("Chosen", dhcp.Options, rules.Options, states.Options, takeover.Options)


def _changed(base: Chosen, wanted: dict[str, Any]) -> Chosen:
    given: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in wanted.items() if v is not None
    }
    parts = rules.PARTS if isinstance(base, rules.Options) else states.PARTS
    scenarios = dhcp.SCENARIOS if isinstance(base, dhcp.Options) else takeover.SCENARIOS
    systems = tuple(dhcp_systems.SYSTEMS) if isinstance(base, dhcp.Options) else base.systems
    for name, allowed in (("parts", parts), ("scenarios", scenarios)):
        if unknown := set(given.get(name, ())) - set(allowed):
            raise SystemExit(f"--part {', '.join(sorted(unknown))} does not exist: {', '.join(allowed)}")
    if unknown := set(given.get("systems", ())) - set(systems):
        raise SystemExit(f"--system {', '.join(sorted(unknown))} does not exist: {', '.join(systems)}")
    return dataclasses.replace(base, **given)


def main() -> None:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description="Benchmarks against real peers.")
    parser.add_argument("--runs", type=int, help="20; states, rules: 3")
    parser.add_argument("--fast-runs", type=int, default=20)
    parser.add_argument("--peer-runs", type=int, help="5; takeover: as --runs")
    parser.add_argument("--at-once", type=int, default=1, help="labs side by side: quicker, and noisier")
    parser.add_argument("--only", choices=ONLY)
    parser.add_argument("--load", choices=failover.LOADS, help="only the failovers of an idle or of a busy machine")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long false takeovers are counted")
    parser.add_argument("--quick", action="store_true", help="states, takeover: about a minute per system; rules: one")
    parser.add_argument("--seconds", type=float, help="states: how long each load lasts")
    parser.add_argument("--states", type=int, nargs="+", help="size of the bulk; sizes of the table; numbers of rules")
    parser.add_argument(
        "--part", nargs="+", help=", ".join((*states.PARTS, *takeover.SCENARIOS, *dhcp.SCENARIOS, *rules.PARTS))
    )
    parser.add_argument(
        "--system",
        nargs="+",
        help=", ".join((*states.MODES, *takeover.SYSTEMS, *dhcp_systems.SYSTEMS, *rules_forward.SYSTEMS)),
    )
    parser.add_argument("--interval", type=float, help="takeover: seconds between keepalived's adverts")
    parser.add_argument("--ordinary", action="store_true", help="takeover: a firewall that is not strict")
    parser.add_argument("--write", type=Path)
    options = parser.parse_args()
    require_tools()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))  # so that labs are taken down
    start = time.monotonic()
    sections = []
    if options.only in (None, "small"):
        sections.append("### Small things\n\n" + small_table())
    if options.only in (None, "scale"):
        sections.append("### Many virtual hosts\n\n" + scale_table())
    if options.only in (None, "endurance"):
        sections.append("### False takeovers\n\n" + endurance_text(options.minutes))
    if options.only in (None, "failover"):
        loads = (options.load,) if options.load else failover.LOADS
        found = run_failover(options.runs or 20, options.fast_runs, options.peer_runs or 5, options.at_once, loads)
        sections.append("### Gap in milliseconds: median / p95 / max\n\n" + failover_table(found))
    if options.only in (None, "rules"):
        sections.append("### Rules\n\n" + rules_text(options))
    if options.only in (None, "sync"):
        sizes = ("20 kB",) if options.quick else tuple(sync.SIZES)
        sections.append("### Configuration synchronization\n\n" + sync.table(sync.run(options.runs or 3, sizes, say)))
    if options.only in (None, "states"):
        sections.append("### States\n\n" + states_text(options))
    if options.only == "dhcp":
        sections.append("### DHCP\n\n" + dhcp_text(options))
    if options.only == "takeover":  # it takes hours: only when it is asked for
        sections.append("### Connections that live through a takeover\n\n" + takeover_text(options))
    head = (
        f"Measured {datetime.now(UTC):%Y-%m-%d} on {os.cpu_count()} cores, Linux {platform.release()}, "
        f"Python {platform.python_version()}, in {(time.monotonic() - start) / 60:.0f} minutes."
    )
    text = "\n\n".join([head, *sections])
    say("\n" + text)
    if options.write:
        page = options.write.read_text()
        before, _, rest = page.partition(BEGIN)
        _, _, after = rest.partition(END)
        options.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    main()
