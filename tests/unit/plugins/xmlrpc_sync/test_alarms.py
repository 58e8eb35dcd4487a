"""Alarms about peers clear themselves and are not repeated."""

from __future__ import annotations

import pytest

from appliance.events import Alarm, Event, Health
from appliance_xmlrpc_sync.alarms import Alarms
from appliance_xmlrpc_sync.causes import Cause, Failure

FW2 = "172.16.1.3"


@pytest.fixture
def said() -> list[Alarm]:
    return []


@pytest.fixture
def alarms(said: list[Alarm]) -> Alarms:
    def publish(event: Event) -> None:
        assert isinstance(event, Alarm)
        said.append(event)

    return Alarms(publish)


def failure(cause: Cause, what: str = "no") -> Failure:
    return Failure(cause=cause, what=what, fix="do")


def test_a_peer_that_lags_behind_is_a_warning_and_a_circle_a_failure(alarms: Alarms, said: list[Alarm]) -> None:
    alarms.failed(FW2, "fw2", failure(Cause.VALIDATION))
    alarms.failed(FW2, "fw2", failure(Cause.LOOP))
    assert [(each.key, each.health) for each in said] == [
        ("sync/172.16.1.3/failing", Health.WARN),
        ("sync/172.16.1.3/failing", Health.FAIL),
    ]
    assert said[0].what == "the configuration is not synchronized to fw2: no"
    assert said[0].fix == "do"


def test_the_same_is_said_once_and_cleared_once(alarms: Alarms, said: list[Alarm]) -> None:
    for _ in range(3):
        alarms.failed(FW2, "fw2", failure(Cause.REFUSED))
    for _ in range(3):
        alarms.clear(f"{FW2}/failing")
    assert [each.active for each in said] == [True, False]


@pytest.mark.parametrize(
    ("skew", "health", "what"),
    [
        (5.2, Health.WARN, "the clock of fw2 is 5 s ahead of this node's"),
        (-29.4, Health.WARN, "the clock of fw2 is 29 s behind this node's"),
        (34.0, Health.FAIL, "the clock of fw2 is 30 s ahead of this node's"),
        (-86_404.0, Health.FAIL, "the clock of fw2 is 86400 s behind this node's"),
    ],
)
def test_clocks_that_differ(alarms: Alarms, said: list[Alarm], skew: float, health: Health, what: str) -> None:
    alarms.skew(FW2, "fw2", skew)
    (alarm,) = said
    assert (alarm.health, alarm.what) == (health, what)
    assert "NTP" in alarm.fix


def test_clocks_that_agree_clear_it(alarms: Alarms, said: list[Alarm]) -> None:
    alarms.skew(FW2, "fw2", 4.9)
    alarms.skew(FW2, "fw2", None)
    assert said == []
    alarms.skew(FW2, "fw2", 6.0)
    alarms.skew(FW2, "fw2", -1.0)
    assert [each.active for each in said] == [True, False]


def test_a_peer_that_is_gone_from_the_configuration_has_no_alarms(alarms: Alarms, said: list[Alarm]) -> None:
    alarms.failed(FW2, "fw2", failure(Cause.REFUSED))
    alarms.failed("172.16.1.4", "fw3", failure(Cause.REFUSED))
    alarms.skew(FW2, "fw2", 60.0)
    alarms.keep(["172.16.1.4"])
    assert [each.key for each in said if not each.active] == ["sync/172.16.1.3/failing", "sync/172.16.1.3/skew"]
