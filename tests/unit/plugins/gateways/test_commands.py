"""``show gateways`` for people, and its errors."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import ApplianceError, UsageError
from appliance.plugin import NoProvider
from appliance_gateways.commands import render, show_gateways
from appliance_gateways.config import settings_of
from appliance_gateways.monitor import Reading, Status
from appliance_gateways.report import Seen, document
from tests.unit.plugins.gateways.samples import config_of


def shown(*, second: Status = Status.ONLINE, reason: str = "", demoting: bool = False) -> dict[str, Any]:
    good = Reading(status=Status.ONLINE, loss=0.0, latency_ms=1.5, deviation_ms=0.2)
    every = {
        "wan_gw": Seen(reading=good, reason="", error="", since=0.0, is_demoting=False),
        "wan2_gw": Seen(reading=Reading(status=second), reason=reason, error="", since=0.0, is_demoting=demoting),
        "six": Seen(reading=Reading(), reason="not monitored", error="", since=0.0, is_demoting=False),
    }
    return document(settings_of(config_of()), every, {4: "wan_gw"}, {})


class Answers:
    """A command's context whose service answers, is absent, or is silent."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def call(self, request: object) -> Any:
        await trio.lowlevel.checkpoint()
        if self._answer is None:
            raise NoProvider
        if self._answer == "never":
            await trio.sleep_forever()
        return self._answer


def asked(answer: Any, name: str | None = None) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        return await show_gateways(Answers(answer), name=name)  # type: ignore[arg-type]

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_people_see_gateways_groups_and_defaults() -> None:
    lines = render(asked(shown(second=Status.DOWN, reason="no link on wan20", demoting=True))).splitlines()
    since, rtt = "1970-01-01T00:00:00Z", ("1.5", "ms", "(deviation", "0.2)")
    assert [line.split() for line in lines[:4]] == [
        ["NAME", "INTERFACE", "ADDRESS", "MONITOR", "STATUS", "LOSS", "RTT", "SINCE", "GROUPS"],
        ["wan_gw", "wan", *["198.51.100.1"] * 2, "online", "0.0", "%", *rtt, since, "balanced"],
        ["wan2_gw", "wan2", *["203.0.113.1"] * 2, "down", "-", "-", since, "balanced"],
        ["six", "wan", *["2001:db8:ffff::1"] * 2, "unknown", "-", "-", since, "-"],
    ]
    assert len({line.index(word) for line, word in zip(lines, ("STATUS", "online", "down"), strict=False)}) == 1
    assert lines[4:] == [
        "",
        "wan2_gw: no link on wan20",
        "six: not monitored",
        "wan2_gw demotes this node",
        "",
        "group balanced: tier 1, by connection, trigger down",
        "  wan_gw   tier 1  weight 1  64 of 64 slots",
        "  wan2_gw  tier 1  weight 1  not usable",
        "",
        "default IPv4: balanced, now through wan_gw",
        "default IPv6: six, now through no gateway",
    ]


def test_nothing_configured_and_problems_are_said() -> None:
    nothing: dict[str, Any] = {"gateways": [], "groups": [], "defaults": [], "problems": []}
    assert render(nothing) == "no gateways are configured"
    assert render({**nothing, "problems": [{"what": "it is broken", "fix": "mend it"}]}) == "it is broken\n  mend it"


def test_a_group_without_a_live_member_is_in_capitals() -> None:
    data = shown()
    data["groups"][0]["tier"] = None
    assert "group balanced: NO LIVE MEMBER, by connection" in render(data)


def test_one_of_them_can_be_asked_for() -> None:
    with pytest.raises(UsageError):
        asked(shown(), "dsl")
    only = asked(shown(), "balanced")
    assert (only["gateways"], [each["name"] for each in only["groups"]]) == ([], ["balanced"])
    only = asked(shown(), "wan_gw")
    assert ([each["name"] for each in only["gateways"]], only["groups"]) == (["wan_gw"], [])


@pytest.mark.parametrize(
    ("answer", "name", "message", "hint"),
    [
        (shown(), "dsl", "there is no gateway or group 'dsl'", "Configured are: wan_gw, wan2_gw, six, balanced."),
        (None, None, "the service of [gateways] is not running on this node", "without the table [gateways] there"),
        ("never", None, "the service of [gateways] did not answer within 2 s", "the log of the node"),
    ],
)
def test_what_went_wrong_comes_with_a_hint(answer: Any, name: str | None, message: str, hint: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        asked(answer, name)
    assert caught.value.message == message
    assert hint in caught.value.hint
