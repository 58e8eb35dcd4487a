"""What the doctor finds, and what it recommends."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from appliance.events import Health
from appliance.plugin import Finding, NoProvider
from appliance_lagg import checks
from appliance_lagg.kernel import Churn
from tests.unit.plugins.lagg.shown import SWITCH_A, broken, lacp


class Answers:
    """A check's probe whose service answers with a document, or is absent."""

    def __init__(self, answer: dict[str, Any] | None) -> None:
        self._answer = answer

    async def call(self, request: object) -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        if self._answer is None:
            raise NoProvider
        return self._answer


def found(name: str, answer: dict[str, Any] | None) -> Finding:
    check = {each.name: each for each in checks.CHECKS}[name]
    probe: Any = Answers(answer)

    async def run() -> Finding:
        return await check.run(probe)

    return trio.run(run)


@pytest.mark.parametrize("check", [each.name for each in checks.CHECKS])
def test_all_is_well_or_the_service_does_not_run(check: str) -> None:
    assert found(check, lacp()).health is Health.OK
    assert found(check, None).what == "the lagg service does not run"


def test_a_member_without_a_link_is_found() -> None:
    assert found("lagg-members", broken()).what == "lagg0 runs on eth1 alone: eth0 has no link"


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (lacp(partner="00:00:00:00:00:00"), "nobody answers LACP at lagg0"),
        (lacp(aggregators=(1, 2)), "eth1 of lagg0 leads to another partner than the ports in use"),
        (lacp(churn=Churn("none", "churned", 3)), "eth0 of lagg0 does not get in step with its partner"),
    ],
)
def test_a_partner_without_lacp_is_found(answer: dict[str, Any], what: str) -> None:
    finding = found("lagg-partner", answer)
    assert (finding.health, finding.what) == (Health.FAIL, what)


def test_one_switch_for_both_members_is_found() -> None:
    finding = found("lagg-switches", lacp(switches=(SWITCH_A, SWITCH_A)))
    assert (finding.health, finding.what) == (Health.WARN, "all members of lagg0 go to one switch, sw-a")
    silent = found("lagg-switches", lacp(switches=(SWITCH_A, None)))
    assert (silent.health, silent.what.split(":")[0]) == (Health.OK, "not known for lagg0")


def test_unlike_speeds_are_found() -> None:
    finding = found("lagg-speed", lacp(speeds=((1000, "full"), (100, "full"))))
    assert finding.what == "members of lagg0 differ: eth0 1000 Mbit/s, eth1 100 Mbit/s"
    assert found("lagg-speed", lacp(speeds=((100, "half"), (100, "half")))).what == "half duplex at eth0, eth1 of lagg0"
    assert found("lagg-speed", lacp(speeds=((1000, "full"), (None, "")))).health is Health.OK
