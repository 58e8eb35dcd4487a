"""Alarms are published when they change and clear themselves."""

from __future__ import annotations

from appliance.events import Alarm, Event, Health
from appliance_gateways.alarms import Alarms


def test_an_alarm_is_told_once_and_cleared_once() -> None:
    told: list[Event] = []
    alarms = Alarms(told.append)
    for _ in range(2):
        alarms.set("wan/down", "it is down", "look", health=Health.FAIL)
    for _ in range(2):
        alarms.clear("wan/down")
    assert told == [
        Alarm(key="gateways/wan/down", what="it is down", fix="look", health=Health.FAIL),
        Alarm(key="gateways/wan/down", what="it is down", fix="look", health=Health.FAIL, active=False),
    ]


def test_failures_matter_more_than_warnings() -> None:
    alarms = Alarms(lambda _event: None)
    worst = [alarms.worst]
    alarms.set("a", "a warning", "x")
    worst.append(alarms.worst)
    alarms.set("b", "a failure", "y", health=Health.FAIL)
    worst.append(alarms.worst)
    assert [alarm and alarm.what for alarm in worst] == [None, "a warning", "a failure"]
    assert alarms.troubles("a", "c") == {"a warning": "x"}


def test_alarms_of_what_is_no_longer_configured_are_cleared() -> None:
    told: list[Event] = []
    alarms = Alarms(told.append)
    alarms.set("old/down", "old", "x")
    alarms.set("kernel", "kernel", "x")
    alarms.keep({"kernel"})
    assert [(event.key, event.active) for event in told[2:] if isinstance(event, Alarm)] == [
        ("gateways/old/down", False)
    ]
