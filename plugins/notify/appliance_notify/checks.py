"""What `appliance doctor` looks at for the targets, with its remedy."""

from __future__ import annotations

from appliance.events import Health
from appliance.plugin import Check, Finding, Probe, ask_if_running
from appliance_notify.events import GetNotify
from appliance_notify.vocabulary import FAILING


async def reached(probe: Probe) -> Finding:
    """A target that is not reached is noticed before somebody relies on it."""
    rows = await ask_if_running(probe, GetNotify(), within_s=1)
    if rows is None:
        return Finding(
            health=Health.WARN,
            what="the notify service does not answer",
            why="nobody is told what happens on this node",
            fix="See 'appliance show services' for the error.",
        )
    failing = [row for row in rows if row["failures"] >= FAILING]
    if failing:
        first = failing[0]
        return Finding(
            health=Health.WARN,
            what=f"not reached: {', '.join(row['name'] for row in failing)}",
            why=first["last_error"],
            fix=f"Correct it, then 'appliance notify test {first['name']}'.",
        )
    return Finding(health=Health.OK, what=f"{len(rows)} targets, none of which fails")


CHECKS = (Check(name="notify-targets", help="Who should be notified is reached.", run=reached),)
