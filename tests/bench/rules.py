"""What many rules cost: to load them, to send packets through them, to replace them under load, to commit a change.

Peers are rulesets for nft as people write them by hand, loaded into the same kernel in the same run: one linear rule
for each rule of the configuration, the least that an alias needs, and a reload that flushes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import rules_commit
import rules_forward
import rules_load
import rules_net
import rules_reload
from rules_texts import SHAPES, Shape

Say = Callable[[str], None]
WARM_UP = 10
PARTS = ("load", "forward", "reload", "commit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much is measured."""

    runs: int = 3
    parts: tuple[str, ...] = PARTS
    systems: tuple[str, ...] = tuple(rules_forward.SYSTEMS)
    """Of the part that forwards packets."""
    sizes: tuple[int, ...] = (1_000, 10_000, 50_000)
    """Rules that are loaded."""
    entries: int = 50_000
    """Networks of the alias."""
    linear: int = 10_000
    """Linear rules that packets go through; a tenth of them too."""
    flows: int = 100_000
    pairs: int = 3_000
    reloads: int = 20
    reloaded: int = 10_000
    """Rules that are reloaded under load."""
    commits: int = 10
    committed: tuple[int, ...] = (1_000, 5_000)
    """Rules of the node that is changed."""


QUICK = Options(
    runs=1,
    sizes=(1_000,),
    entries=5_000,
    linear=1_000,
    flows=20_000,
    pairs=500,
    reloads=5,
    reloaded=1_000,
    commits=3,
    committed=(1_000,),
)


@dataclass(slots=True)
class Results:
    """Everything that was measured."""

    options: Options
    loads: dict[tuple[Shape, int], list[rules_load.Load]] = field(default_factory=dict)
    forwarding: dict[str, list[rules_forward.Forwarding]] = field(default_factory=dict)
    reloading: dict[str, list[rules_reload.Reloading]] = field(default_factory=dict)
    commits: list[rules_commit.Commits] = field(default_factory=list)


def measure(options: Options, say: Say) -> Results:
    """All parts; within one, everything in every run, so that a disturbance hits all of it."""
    found = Results(options=options)
    with rules_net.network() as net:
        if "load" in options.parts:
            _loads(net, found, say)
        if "forward" in options.parts:
            _forwarding(net, found, say)
        if "reload" in options.parts:
            _reloading(net, found, say)
    if "commit" in options.parts:
        for count in options.committed:
            found.commits.append(rules_commit.measure(count, options.commits))
            say(f"  commit: {found.commits[-1]}")
    return found


def _loads(net: rules_net.Net, found: Results, say: Say) -> None:
    rules_load.measure(net, SHAPES[0], WARM_UP)  # the plugins are imported
    for _ in range(found.options.runs):
        for shape in SHAPES:
            for count in found.options.sizes:
                load = rules_load.measure(net, shape, count)
                found.loads.setdefault((shape, count), []).append(load)
                say(f"  {shape:<7} {count:>6}: {load}")


def _forwarding(net: rules_net.Net, found: Results, say: Say) -> None:
    options = found.options
    texts = {name: rules_forward.SYSTEMS[name].text(options.entries, options.linear) for name in options.systems}
    for _ in range(options.runs):
        for name, text in texts.items():
            entries = rules_forward.SYSTEMS[name].entries(options.entries, options.linear)
            one = rules_forward.measure(net, text, entries, options.flows, options.pairs)
            found.forwarding.setdefault(name, []).append(one)
            say(f"  {name:<13} {one}")


def _reloading(net: rules_net.Net, found: Results, say: Say) -> None:
    options = found.options
    for _ in range(options.runs):
        for name, (_, make) in rules_reload.SYSTEMS.items():
            steps = make(net, options.reloaded, options.entries)
            one = rules_reload.measure(net, steps, options.reloads, options.entries)
            found.reloading.setdefault(name, []).append(one)
            say(f"  {name:<13} {one}")
