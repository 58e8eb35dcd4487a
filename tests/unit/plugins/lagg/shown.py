"""Answers of the service, for commands and checks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from appliance_lagg import report
from appliance_lagg.kernel import Churn
from appliance_lagg.lldp import Neighbour
from appliance_lagg.settings import Settings
from appliance_lagg.states import state_of
from tests.unit.plugins.lagg.configured import wanted
from tests.unit.plugins.lagg.kernel_facts import ETH0, ETH1, bonding, member

SWITCH_A, SWITCH_B = Neighbour("02::aa", "1", 120, "sw-a"), Neighbour("02::bb", "1", 120)


def lacp(
    *,
    partner: str = "02:00:00:00:00:99",
    aggregators: tuple[int, int] = (1, 1),
    speeds: tuple[tuple[int | None, str], ...] = ((1000, "full"), (1000, "full")),
    switches: tuple[Neighbour | None, ...] = (SWITCH_A, SWITCH_B),
    churn: Churn = Churn("none", "none", 0),  # noqa: B008 - a frozen value
) -> dict[str, Any]:
    """An aggregation with LACP and two members."""
    lagg = wanted("lacp")
    actual = bonding(
        member(ETH0, "eth0", aggregator=aggregators[0]),
        member(ETH1, "eth1", aggregator=aggregators[1], mac="02:00:00:00:00:02"),
        partner=partner,
    )
    facts = report.Facts(
        churn={"eth0": churn, "eth1": Churn("none", "none", 0)},
        speed=dict(zip(lagg.members, speeds, strict=True)),
        neighbours=dict(zip(lagg.members, switches, strict=True)),
    )
    return report.document(Settings(laggs=(lagg,)), actual, facts, [])


def broken() -> dict[str, Any]:
    """A failover aggregation that has lost one of its members, and one that does not exist."""
    lagg, other = wanted(), replace(wanted("none", members=[]), name="lagg1")
    actual = bonding(member(ETH0, "eth0", has_link=False), member(ETH1, "eth1"), active=ETH1)
    settings = Settings(laggs=(lagg, other))
    found = report.troubles(lagg, state_of(lagg, actual), actual)
    return report.document(settings, actual, report.Facts(), found)
