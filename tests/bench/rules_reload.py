"""Reloads while connections begin and one goes on: what is lost, what passes that must not, how long it stalls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import rules_texts
from rules_load import Compiler, any_size
from rules_net import Generator, Net

from appliance.net.ruleset import Ruleset, transaction

NEW_PER_S, STEADY_PER_S, FORBIDDEN_PER_S = 10_000, 3_000, 1_000
PAUSE_S = 0.2
SENDERS, OTHERS = 0, 1
"""Processors: the generators share one, so that nft and the receiver have the other."""
QUIET_S = 2.0
LEAD_S = 0.5
DURATION_MAX_S = 60.0
Step = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloading:
    """One run."""

    reloads: int
    took_s: float
    """Median of one reload."""
    new_per_s: float
    """Connections that began in a second."""
    new_lost: int
    steady: int
    steady_lost: int
    forbidden: int
    leaked: int
    """Packets that no rule passes and that reached the server."""
    gap_ms: float
    """How much further apart two packets of the flow that goes on came than they were sent, at most."""
    delay_ms: float
    """Longest time that one of them was on its way."""


def _versions(rules: int, entries: int) -> list[Ruleset]:
    """Two rulesets that differ in one rule of so many."""
    with any_size():
        compiler = Compiler()
        return [compiler.compile(_configuration(rules, entries, changed)).ruleset for changed in (None, rules // 2)]


def in_one(net: Net, rules: int, entries: int) -> Iterator[Step]:
    """Our reloads: one transaction from one ruleset to the other."""
    made = _versions(rules, entries)
    net.only(transaction(made[0], None).text)
    texts = [transaction(made[1], made[0]).text, transaction(made[0], made[1]).text]
    return (_step(net, [text]) for text in cycle(texts))


def in_two(net: Net, rules: int, entries: int) -> Iterator[Step]:
    """As scripts do it: everything is flushed, then the same rules are loaded."""
    made = _versions(rules, entries)
    net.only(transaction(made[0], None).text)
    texts = [transaction(each, None).text for each in reversed(made)]
    return (_step(net, ["flush ruleset\n", text]) for text in cycle(texts))


def nothing(net: Net, rules: int, entries: int) -> Iterator[Step]:
    """No reload at all: what the generators and the machine lose by themselves."""
    step = next(in_one(net, rules, entries))
    step()
    return (lambda: 0.0 for _ in cycle([None]))


SYSTEMS: dict[str, tuple[str, Callable[[Net, int, int], Iterator[Step]]]] = {
    "ours": ("ours, one transaction", in_one),
    "flush": ("`flush ruleset`, then `nft -f` of the same", in_two),
    "still": ("no reload", nothing),
}


def _configuration(rules: int, entries: int, changed: int | None) -> str:
    return rules_texts.traffic_configuration(
        entries, extra=rules_texts.rule_tables(rules_texts.EQUAL, rules, changed=changed)
    )


def _step(net: Net, texts: Sequence[str]) -> Step:
    return lambda: sum(net.load(text, OTHERS) for text in texts)


def measure(net: Net, steps: Iterator[Step], reloads: int, entries: int) -> Reloading:
    """So many reloads with all three streams going on."""
    once = next(steps)()
    seconds = min(DURATION_MAX_S, 2 * LEAD_S + reloads * (1.5 * once + PAUSE_S))
    counts = {name: int(rate * seconds) for name, rate in
              (("new", NEW_PER_S), ("steady", STEADY_PER_S), ("forbidden", FORBIDDEN_PER_S))}  # fmt: skip
    net.forget()
    before = {name: net.arrived(name) for name in ("fresh", "steady", "forbidden")}
    receiver = Generator(net.server, "receive", counts["steady"], QUIET_S, processor=OTHERS).ready()
    wanted: dict[str, tuple[str, *tuple[float, ...]]] = {
        "steady": ("steady", counts["steady"], STEADY_PER_S, rules_texts.ESTABLISHED_PORT),
        "forbidden": ("steady", counts["forbidden"], FORBIDDEN_PER_S, rules_texts.FORBIDDEN_PORT),
        "new": ("new", 0, counts["new"], entries, NEW_PER_S),
    }
    senders = {name: Generator(net.client, *arguments, processor=SENDERS) for name, arguments in wanted.items()}
    try:
        times = _reload_all(steps, reloads, time.monotonic() + seconds)
        sent = {name: each.result() for name, each in senders.items()}
        steady = receiver.result()
    finally:
        for each in (*senders.values(), receiver):
            each.stop()
    came = {name: net.arrived(name) - count for name, count in before.items()}
    net.forget()
    return Reloading(
        reloads=len(times),
        took_s=statistics.median(times),
        new_per_s=sent["new"]["sent"] / sent["new"]["seconds"],
        new_lost=int(sent["new"]["sent"]) - came["fresh"],
        steady=int(sent["steady"]["sent"]),
        steady_lost=int(sent["steady"]["sent"]) - came["steady"],
        forbidden=int(sent["forbidden"]["sent"]),
        leaked=came["forbidden"],
        gap_ms=steady["gap_ms"],
        delay_ms=steady["delay_ms"],
    )


def _reload_all(steps: Iterator[Step], reloads: int, until: float) -> list[float]:
    """Reloads one after the other, as many as there is time for while packets are sent; at least one."""
    time.sleep(LEAD_S)
    times = []
    for _ in range(reloads):
        times.append(next(steps)())
        if time.monotonic() > until - LEAD_S:
            break
        time.sleep(PAUSE_S)
    return times
