"""How often a backup takes over although the master lives: the price of fast timers on a busy machine."""

from __future__ import annotations

import time
from typing import Any, cast

from failover import busy_cores

from appliance.lab.config import NodeSettings
from appliance.lab.lab import Lab, unique_name
from appliance.lab.topology import Topology


def false_takeovers(minutes: float = 10.0) -> dict[str, float]:
    """Fast profile, the sync cable cut, an endless loop on every core: transitions and late timers in that time."""
    with Lab(Topology(name=unique_name("b")), settings=NodeSettings(profile="fast")) as lab:
        lab.wait_settled("fw1", 60)
        lab.pull("fw1", "sync")
        with busy_cores("busy"):
            time.sleep(5)
            before = _totals(lab)
            time.sleep(minutes * 60)
            after = _totals(lab)
    return {name: after[name] - before[name] for name in after} | {"minutes": minutes}


def _totals(lab: Lab) -> dict[str, float]:
    totals = {"transitions": 0.0, "late_timer": 0.0, "sent": 0.0}
    for status in lab.view().values():
        for vip in cast("list[dict[str, Any]]", status["vips"]):
            for name in totals:
                totals[name] += vip["counters"][name]
    return totals
