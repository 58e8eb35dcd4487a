"""What every drill looks at, before and after: the answers of a node, judged until they are right or patience ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from appliance.errors import ApplianceError
from appliance.lab.live_checks import CHECKS, JsonObject, Judge, Situation
from appliance.lab.report import Outcome, Say

POLL_S = 0.05
CALM_S = 30.0
"""After a drill: for gateways to be seen up again, leases and states to arrive."""
Ask = Callable[..., JsonObject]
"""One question to a node, in words; raises `ApplianceError`."""


def look(ask: Ask, before: Situation, when: str, *, patience_s: float, say: Say) -> list[Outcome]:
    """Status, replication, synchronization, DHCP.

    Args:
        ask: The node.
        before: Who was MASTER before the drill, and has to be.
        when: ``before`` or ``after``.
        patience_s: How long something may be wrong.
        say: Takes a line about what was seen.
    """
    outcomes = []
    for name, words, judge in CHECKS:
        outcome = Outcome(name=f"{name}-{when}", title=f"{name} {when}", looked_at=True)
        try:
            wrong, told = _judged(ask, judge, words, before, patience_s)
        except ApplianceError as error:  # no such plugin, or no table for it: one that is down fails the doctor
            outcome.result, outcome.why = "skipped", error.message.splitlines()[0]
        else:
            outcome.result, outcome.why = "failed" if wrong else "passed", wrong or told
        say(f"{outcome.title}: {outcome.why}")
        outcomes.append(outcome)
    return outcomes


def all_is_well(outcomes: list[Outcome]) -> bool:
    """Whether nothing was wrong."""
    return all(each.result != "failed" for each in outcomes)


def _judged(ask: Ask, judge: Judge, words: tuple[str, ...], before: Situation, patience_s: float) -> tuple[str, str]:
    deadline = time.monotonic() + patience_s
    while True:
        wrong, told = judge(ask(*words), before)
        if not wrong or time.monotonic() > deadline:
            return wrong, told
        time.sleep(POLL_S)
