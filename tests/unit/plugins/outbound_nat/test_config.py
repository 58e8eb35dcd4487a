"""The tables: defaults, and what they refuse by themselves."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from appliance_outbound_nat.config import OneToOneTable, OutboundNatConfig, PortForwardTable, RuleTable


def test_an_empty_table_is_automatic() -> None:
    table = OutboundNatConfig()
    assert (table.mode, table.reflection, table.rule, table.one_to_one, table.port_forward) == (
        "automatic",
        False,
        [],
        [],
        [],
    )


def test_the_shortest_rule_translates_everything_of_an_interface() -> None:
    rule = RuleTable.model_validate({"interface": "wan", "translation": "vip:wan"})
    assert {rule.source, rule.source_port, rule.destination, rule.destination_port, rule.protocol, rule.port} == {"any"}
    assert {rule.static_port, rule.randomize_ports, rule.disabled, rule.nosync} == {False}


def test_a_forward_is_passed_by_the_filter_and_an_entry_follows_the_table_s_reflection() -> None:
    forward = PortForwardTable.model_validate(
        {"interface": "wan", "destination": "vip:wan", "port": 80, "target": "192.168.1.10"}
    )
    pair = OneToOneTable.model_validate({"interface": "wan", "external": "vip:wan", "internal": "192.168.1.10"})
    assert (forward.filter, forward.protocol, forward.target_port) == ("pass", "tcp", None)
    assert (forward.reflection, pair.reflection) == (None, None)


@pytest.mark.parametrize(
    "values",
    [
        {"interface": "WAN"},
        {"translation": ""},
        {"protocol": "ospf"},
        {"protocol": 256},
        {"source_port": 0},
        {"source_port": 65536},
        {"id": "Not This"},
        {"source": "x" * 101},
        {"static_port": "yes"},
        {"colour": "blue"},
    ],
)
def test_a_rule_with_a_wrong_value_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        RuleTable.model_validate({"interface": "wan", "translation": "vip:wan"} | values)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValidationError):
        OutboundNatConfig.model_validate({"mode": "off"})
