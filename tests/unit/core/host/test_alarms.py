"""Alarms about plugins say what is true now: raised once, changed when they change, withdrawn when it is over."""

from __future__ import annotations

from appliance.bus import EventBus
from appliance.config import Config
from appliance.config.model import NodeTable, PluginsTable
from appliance.events import Alarm, Demotion, Event
from appliance.host.alarms import PluginAlarms, why_it_does_not_run
from appliance.host.discovery import Found
from appliance.host.plugins import Plugins
from appliance.plugin import Service, hookimpl


class Moody:
    """Fails in a hook while `bad` is set."""

    api = (1, 0)
    bad = True

    @hookimpl
    def appliance_services(self) -> list[Service]:
        if self.bad:
            raise RuntimeError("bad mood")
        return []


def config(*required: str) -> Config:
    return Config({}, node=NodeTable(name="fw1"), plugins=PluginsTable(required=list(required)))


class World:
    def __init__(self) -> None:
        self.moody = Moody()
        self.bus = EventBus(clock=lambda: 0.0)
        self.plugins = Plugins([Found(name="moody", distribution="moody-dist", factory=lambda: self.moody)])
        self.alarms = PluginAlarms(self.bus, self.plugins)

    def said(self) -> list[Event]:
        return [envelope.event for envelope in self.bus.trace]


def test_nothing_wrong_says_nothing() -> None:
    world = World()
    world.alarms.update(config("moody"))
    assert world.said() == []


def test_a_failing_hook_is_an_alarm_until_it_works_again() -> None:
    world = World()
    node = config().identity()
    world.plugins.services(config(), node)
    world.alarms.update(config())
    world.alarms.update(config())  # not repeated
    (alarm,) = world.said()
    assert isinstance(alarm, Alarm)
    assert alarm.key == "plugin/moody/appliance_services"
    assert "moody of moody-dist failed in appliance_services: raised RuntimeError: bad mood" in alarm.what
    world.moody.bad = False
    world.plugins.services(config(), node)
    world.alarms.update(config())
    assert [event.active for event in world.said() if isinstance(event, Alarm)] == [True, False]


def test_a_missing_required_plugin_demotes_until_it_is_not_required_any_more() -> None:
    world = World()
    world.alarms.update(config("zeta"))
    world.alarms.update(config())
    weights = [event.weight for event in world.said() if isinstance(event, Demotion)]
    assert weights == [240, 0]
    assert world.bus.retained(Demotion)[-1].event == Demotion(reason="required-plugin:zeta", weight=0)


def test_a_plugin_that_runs_has_no_reason_not_to() -> None:
    (entry,) = World().plugins.entries
    assert why_it_does_not_run(entry) is None
    assert why_it_does_not_run(None) == "is not installed"
