"""What the plugin contributes, as the host asks for it."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from appliance.errors import Problem
from appliance.plugin import Service
from appliance.testing import LogicalInterfaces, check_plugin
from appliance_firewall import clock, events, reading, service
from appliance_firewall.compile import fragment
from appliance_firewall.config import RuleTable
from appliance_firewall.plugin import Firewall
from appliance_firewall.verify_rules import verify_rule
from tests.unit.plugins.firewall.paper import config_of, rule

TABLE: dict[str, Any] = {
    "alias": {"mail": {"type": "hosts", "entries": ["192.168.2.10"]}},
    "schedule": {"office": {"days": ["mon"], "times": ["08:00-17:00"]}},
    "rule": [rule(source="net:lan"), rule(action="block", destination="mail", schedule="office")],
}


def services(**table: Any) -> list[Service]:
    return Firewall().appliance_services(config_of(**table))


def test_it_is_a_good_citizen() -> None:
    tables = {"interfaces": LogicalInterfaces.of(lan="192.168.1.2/24", wan="198.51.100.2/24")}
    check_plugin(Firewall, config=TABLE, tables=tables, start=False)  # it needs a kernel


def test_its_part_of_the_ruleset_is_compiled_from_the_whole_configuration() -> None:
    config = config_of(**TABLE)
    assert Firewall().appliance_ruleset(config) == fragment(config)


def test_all_its_hooks_together_read_each_rule_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = verify_rule

    def noticed(rule: RuleTable, *others: Any) -> list[Problem]:
        read.append(rule.action)
        return real(rule, *others)

    monkeypatch.setattr(reading, "verify_rule", noticed)
    plugin, config = Firewall(), config_of(**TABLE)
    plugin.appliance_verify(config, None)
    plugin.appliance_ruleset(config)
    plugin.appliance_services(config)
    plugin.appliance_checks(config)
    assert read == ["pass", "block"]


def test_the_log_is_always_read_and_the_clock_only_with_schedules() -> None:
    assert [each.run for each in services()] == [service.run]
    assert [each.run for each in services(**TABLE)] == [service.run, clock.run]
    settings = services(**TABLE)[1].config
    assert isinstance(settings, clock.ClockSettings)
    assert [each.name for each in settings.schedules] == ["office"]


def test_services_start_after_the_ruleset_and_do_not_need_it() -> None:
    assert {(each.needs, each.after) for each in services(**TABLE)} == {(frozenset(), frozenset({"ruleset"}))}


def test_an_unchanged_configuration_makes_equal_services() -> None:
    assert services(**TABLE) == services(**TABLE)


def test_every_event_and_request_of_its_own_is_declared() -> None:
    own = {kind for _, kind in inspect.getmembers(events, inspect.isclass) if kind.__module__ == events.__name__}
    assert own == set(Firewall().appliance_events())
