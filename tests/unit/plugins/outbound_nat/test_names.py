"""Names of counters stay while rules move."""

from __future__ import annotations

from appliance_outbound_nat.config import RuleTable
from appliance_outbound_nat.names import CounterNames, content_of, elements


def rule(**values: object) -> RuleTable:
    return RuleTable.model_validate({"interface": "wan", "translation": "vip:wan"} | values)


def test_a_counter_is_named_by_the_id_or_by_what_the_rule_does() -> None:
    names = CounterNames()
    assert names.name("nat_out", rule(id="office")) == "nat_out_office"
    assert names.name("nat_out", rule()) == f"nat_out_{content_of(rule())}"


def test_what_a_rule_does_not_do_does_not_change_its_counter() -> None:
    assert content_of(rule(description="LAN to WAN", nosync=True, disabled=True, id="x")) == content_of(rule())
    assert content_of(rule(source="10.0.0.0/8")) != content_of(rule())


def test_equal_rules_are_numbered() -> None:
    names = CounterNames()
    given = [names.name("nat_out", rule()) for _ in range(3)]
    assert given == [given[0], f"{given[0]}__2", f"{given[0]}__3"]


def test_the_first_of_equal_keys_counts() -> None:
    assert elements([("a", "1"), ("b", "2"), ("a", "3")]) == ("a : 1", "b : 2")
