"""A commit in a node that runs: one firewall rule of many changes, `appliance config reload` applies the file."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import rules_texts
from small import TICK, node_pids

from appliance.lab import Lab
from appliance.lab.config import NodeSettings
from appliance.lab.lab import unique_name
from appliance.lab.topology import Topology

NODE = "fw1"
READY_S = 60.0
TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Commits:
    """Medians of several commits; milliseconds."""

    rules: int
    count: int
    wall_ms: float
    """From starting the command to its end."""
    wall_max_ms: float
    idle_ms: float
    """The same command when the file has not changed: what starting it costs."""
    node_ms: float
    """CPU of the node's main process."""
    nft_ms: float
    """CPU of the programs it started."""


def measure(rules: int, commits: int) -> Commits:
    """A pair of nodes with their VIPs; all commits on the master."""
    texts = [rules_texts.rule_tables(rules_texts.EQUAL, rules, changed=changed) for changed in (None, rules // 2)]
    with Lab(Topology(name=unique_name("b")), settings=NodeSettings(extra=texts[0])) as lab:
        lab.wait_settled(NODE, READY_S)
        time.sleep(2)
        path = lab.config_path(NODE)
        files = [path.read_text()]
        files.append(files[0].replace(texts[0].strip(), texts[1].strip()))
        if files[0] == files[1]:
            raise RuntimeError("the rules are not in the node's file")
        _reload(lab, path, files[1])
        pid = next(pid for pid, name in node_pids(lab, NODE).items() if name == "main")
        walls, own, children, idle = [], [], [], []
        for number in range(commits):
            before = list(_cpu_ms(pid))
            walls.append(_reload(lab, path, files[number % 2]))
            own_ms, children_ms = (now - old for now, old in zip(_cpu_ms(pid), before, strict=True))
            own.append(own_ms)
            children.append(children_ms)
            idle.append(_reload(lab, path, files[number % 2]))
    return Commits(
        rules=rules,
        count=commits,
        wall_ms=statistics.median(walls),
        wall_max_ms=max(walls),
        idle_ms=statistics.median(idle),
        node_ms=statistics.median(own),
        nft_ms=statistics.median(children),
    )


def _reload(lab: Lab, path: Path, text: str) -> float:
    path.write_text(text)
    start = time.perf_counter()
    lab.exec(NODE, "appliance", "config", "reload", timeout_s=TIMEOUT_S)
    return (time.perf_counter() - start) * 1000


def _cpu_ms(pid: int) -> Iterator[float]:
    """CPU of a process, and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    for first in (11, 13):
        yield (int(fields[first]) + int(fields[first + 1])) / TICK * 1000
