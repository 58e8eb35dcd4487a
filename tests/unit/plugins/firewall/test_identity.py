"""A counter keeps its name as long as its rule does the same."""

from __future__ import annotations

from typing import Any

from appliance_firewall.config import RuleTable
from appliance_firewall.identity import counter_of_prefix, counters_of, log_prefix, safe
from tests.unit.plugins.firewall.paper import rule


def names(*rules: dict[str, Any]) -> tuple[str, ...]:
    return counters_of([RuleTable.model_validate(each) for each in rules])


def test_the_order_of_rules_does_not_matter() -> None:
    first, second = rule(source="10.0.0.1"), rule(source="10.0.0.2")
    assert names(first, second) == names(second, first)[::-1]


def test_what_people_read_about_a_rule_does_not_matter() -> None:
    changed = rule(description="web", log=True, disabled=True, nosync=True)
    assert names(rule()) == names(changed)


def test_what_a_rule_does_matters() -> None:
    variants = [
        rule(),
        rule(action="block"),
        rule(direction="out"),
        rule(interface="wan"),
        rule(interface=["lan", "wan"]),
        rule(family="ipv4"),
        rule(protocol="tcp"),
        rule(source="10.0.0.1"),
        rule(destination="10.0.0.1"),
        rule(source_port=1),
        rule(destination_port=1),
        rule(icmp_types=["echo-request"]),
        rule(schedule="office"),
        rule(gateway="wan_gw"),
    ]
    assert len(set(names(*variants))) == len(variants)


def test_one_thing_is_the_same_as_a_list_of_it() -> None:
    assert names(rule(source="10.0.0.1", destination_port=25)) == names(
        rule(source=["10.0.0.1"], destination_port=["25"])
    )


def test_equal_rules_are_numbered() -> None:
    first, second, third = names(rule(), rule(), rule())
    assert (second, third) == (f"{first}.2", f"{first}.3")


def test_an_id_is_kept_whatever_the_rule_does() -> None:
    assert names(rule(id="web")) == names(rule(id="web", action="block")) == ("fw_r_web",)


def test_a_logged_packet_tells_its_rule() -> None:
    assert log_prefix("fw_r_web", "block") == "fw_r_web:block"
    assert counter_of_prefix("fw_r_web:block ") == "fw_r_web"


def test_any_word_can_be_part_of_a_name() -> None:
    assert safe("Config-Sync 2") == "config_sync_2"
