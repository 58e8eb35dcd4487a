"""From a commit on the primary until it is active, confirmed and compared on the secondary, by the size of the file."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from appliance.lab import Lab, Topology, netns
from appliance.lab.config import node_toml
from appliance.lab.lab import unique_name
from appliance.lab.pairing import pair_all
from tests.netns.sync.clusters import settings

SIZES = {"20 kB": 90, "1 MB": 4_600, "10 MB": 46_000}
"""Firewall rules of some 220 bytes."""
TARGETS_S = {"20 kB": 0.05, "1 MB": 0.5, "10 MB": 2.0}
ARRIVE_S = 180.0
POLL_S = 0.02
"""Each poll is answered by the node that pushes, which costs it some milliseconds."""
APART_S = 1.5
"""Between commits: those that follow each other quickly travel together."""
Say = Callable[[str], None]


@dataclass(slots=True)
class Results:
    """Seconds of each commit."""

    commit_s: dict[str, list[float]] = field(default_factory=dict)
    """`config reload` on the primary, which never waits for a peer."""
    arrive_s: dict[str, list[float]] = field(default_factory=dict)
    """From its end until the primary has read back that the secondary has it."""
    push_s: dict[str, list[float]] = field(default_factory=dict)
    """By the sender's own account: the last push."""
    cpu_s: dict[str, list[float]] = field(default_factory=dict)
    """Processor time of all processes of both nodes, from the commit on: what the wall clock says of a busy machine is
    little."""
    role_changes: int = 0


def _rules(count: int, turn: int) -> str:
    """Only the first rule differs from turn to turn."""
    return "".join(_rule(n, turn if n == 0 else 0) for n in range(count))


def _rule(number: int, turn: int) -> str:
    return f"""
[[firewall.rule]]
interface = "lan"
action = "pass"
protocol = "tcp"
source = "10.{number >> 8 & 255}.{number & 255}.0/24"
destination_port = {1024 + number % 60_000}
description = "rule number {number} of turn {turn}, as long as operators write them to remember what it is for"
"""


def _measure(lab: Lab, size: str, turn: int, results: Results) -> None:
    whole = node_toml(lab.topology, "fw1", settings(lab.topology, extra=_rules(SIZES[size], turn))["fw1"])
    lab.config_path("fw1").write_text(whole)
    time.sleep(APART_S)
    cpu_s = _cpu_s(lab)
    begun = time.monotonic()
    revision = lab.request("fw1", "config", "reload")["revision"]
    committed = time.monotonic()
    deadline = committed + ARRIVE_S
    while True:
        shown = lab.request("fw1", "show", "sync")
        if shown["state"] == "in-sync" and shown["generation"] == revision:
            break
        if time.monotonic() > deadline:
            raise TimeoutError(f"{size}: {shown['error'] or 'not in sync'}")
        time.sleep(POLL_S)
    if turn:  # the first of a size brings all of its rules
        peers = shown["peers"]
        assert isinstance(peers, list)
        results.commit_s.setdefault(size, []).append(committed - begun)
        results.arrive_s.setdefault(size, []).append(time.monotonic() - committed)
        results.push_s.setdefault(size, []).append(float(peers[0]["last_push_ms"] or 0) / 1000)
        results.cpu_s.setdefault(size, []).append(_cpu_s(lab) - cpu_s)


def _cpu_s(lab: Lab) -> float:
    """Seconds that the processes of all nodes have used so far, with those that have ended (fields 14 to 17)."""
    ticks = 0
    for node in lab.topology.node_names:
        for pid in netns.pids(lab.topology.namespace(node)):
            with suppress(OSError):
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def run(runs: int, sizes: tuple[str, ...], say: Say) -> Results:
    """All sizes in one cluster; CARP must not notice."""
    results = Results()
    topology = Topology(name=unique_name("y"))
    with Lab(topology, settings=settings(topology)) as lab:
        lab.wait_settled("fw1")
        pair_all(lab)
        before = _roles(lab)
        for size in sizes:
            for turn in range(runs + 1):
                _measure(lab, size, turn, results)
            say(f"  {size}: commit {_median(results.commit_s[size])} s, then {_median(results.arrive_s[size])} s")
        results.role_changes = sum(one != two for one, two in zip(before, _roles(lab), strict=True))
    return results


def _roles(lab: Lab) -> list[str]:
    found = []
    for node in lab.topology.node_names:
        vips = lab.request(node, "show", "carp")["vips"]
        assert isinstance(vips, list)
        found += [str(vip["since"]) for vip in vips]
    return found


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.3f}"


def table(results: Results) -> str:
    """As Markdown."""
    lines = [
        "| configuration | commit on the primary | then until read back on the secondary | push alone "
        "| processor time, both nodes | target |",
        "|---|---|---|---|---|---|",
    ]
    for size, arrived in results.arrive_s.items():
        lines.append(
            f"| {size} (n={len(arrived)}) | {_median(results.commit_s[size])} s | **{_median(arrived)}** s "
            f"| {_median(results.push_s[size])} s | {_median(results.cpu_s[size])} s | {TARGETS_S[size]} s |"
        )
    return "\n".join([*lines, "", f"Roles of CARP that changed meanwhile: {results.role_changes}."])
