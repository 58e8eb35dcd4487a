"""The table and what it becomes for the service."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from pydantic import ValidationError

from appliance.config import ProvidesGateways
from appliance_gateways.config import GatewaysConfig, GatewayTable, settings_of
from appliance_gateways.groups import Group, Member
from appliance_gateways.monitor import Limits
from appliance_gateways.numbers import numbers
from appliance_gateways.settings import Target
from tests.unit.plugins.gateways.samples import EXAMPLE, TWO, WAN_GW, Network, config_of


def gateway(**values: Any) -> GatewayTable:
    return GatewayTable.model_validate({**WAN_GW, **values})


def refusal(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        gateway(**values)
    return str(caught.value.errors()[0]["msg"])


def test_it_offers_gateways_and_their_chains_to_other_tables() -> None:
    table = GatewaysConfig.model_validate(EXAMPLE)
    assert isinstance(table, ProvidesGateways)
    wan = table.gateways()["wan_gw"]
    assert (wan.interface, wan.addresses, wan.mark) == (
        "wan",
        (ip_address("198.51.100.1"),),
        numbers(EXAMPLE["gateway"])["wan_gw"],
    )
    assert table.policies() == {
        "wan_gw": "gw_to_wan_gw", "wan2_gw": "gw_to_wan2_gw", "six": "gw_to_six", "balanced": "gw_to_balanced",
    }  # fmt: skip


def test_defaults_are_the_usual_ones() -> None:
    assert gateway().limits == Limits()
    assert gateway().monitored == ip_address("198.51.100.1")


def test_a_monitor_address_replaces_the_gateway_and_monitoring_can_be_off() -> None:
    assert gateway(monitor="192.0.2.1").monitored == ip_address("192.0.2.1")
    assert gateway(monitoring=False).monitored is None


def test_a_gateway_needs_an_address() -> None:
    assert refusal(address=None) == 'Value error, a gateway needs address = "…", address6 = "…", or both'


@pytest.mark.parametrize(
    "values",
    [
        {"weight": 31}, {"weight": 0}, {"demote": 241}, {"loss_down": 0}, {"loss_down": 101}, {"probe_interval": 0},
        {"interface": "WAN"}, {"address": "2001:db8::1"}, {"monitor": "example.org"}, {"unknown": 1},
    ],
)  # fmt: skip
def test_values_out_of_range_are_refused(values: dict[str, Any]) -> None:
    assert refusal(**values)


@pytest.mark.parametrize("name", ["WAN", "1wan", "wan-gw", "a" * 32, ""])
def test_names_have_to_fit_into_the_ruleset(name: str) -> None:
    with pytest.raises(ValidationError):
        GatewaysConfig.model_validate({"gateway": {name: WAN_GW}})


def test_a_member_has_the_weight_of_its_gateway_unless_it_says_otherwise() -> None:
    table = GatewaysConfig.model_validate(
        {
            "gateway": {"a": {**WAN_GW, "weight": 5}, "b": WAN_GW},
            "group": {"g": {"members": [{"gateway": "a"}, {"gateway": "b", "tier": 2, "weight": 7}, {"gateway": "x"}]}},
        }
    )
    members = (Member(gateway="a", weight=5), Member(gateway="b", tier=2, weight=7))
    assert table.groups() == (Group(name="g", members=members),), "what does not exist is left out"


def test_a_group_carries_what_all_its_members_carry() -> None:
    dual = {**WAN_GW, "address6": "2001:db8:ffff::1"}
    table = GatewaysConfig.model_validate(
        {
            "gateway": {"dual": dual, "four": WAN_GW},
            "group": {
                "both": {"members": [{"gateway": "dual"}]},
                "mixed": {"members": [{"gateway": "dual"}, {"gateway": "four"}]},
                "none": {},
            },
        }
    )
    assert [table.families(name) for name in ("dual", "four", "both", "mixed", "none")] == [
        {4, 6},
        {4},
        {4, 6},
        {4},
        set(),
    ]


def target(values: dict[str, Any], network: Network | None = None) -> Target | None:
    (made,) = settings_of(config_of({"gateway": {"g": values}}, network)).gateways
    return made.target


def test_probes_leave_from_the_address_next_to_the_gateway() -> None:
    network = Network(addresses={"wan": ["10.9.9.9/24", "198.51.100.201/24", "198.51.100.202/24"]})
    assert target({**WAN_GW, "monitor": "192.0.2.1"}, network) == Target(
        address=ip_address("192.0.2.1"), source=ip_address("198.51.100.201")
    )


def test_from_the_virtual_address_when_there_is_no_other() -> None:
    network = Network(
        addresses={"lan": [], "wan": []}, virtual={"lan": ["192.168.1.1/24"], "wan": ["198.51.100.200/24"]}
    )
    assert target(dict(WAN_GW), network) == Target(
        address=ip_address("198.51.100.1"), source=ip_address("198.51.100.200"), vhid=2
    )


def test_from_nowhere_when_there_is_none_at_all() -> None:
    assert target(dict(WAN_GW), Network(addresses={"wan": []})) == Target(
        address=ip_address("198.51.100.1"), source=None
    )
    assert target({**WAN_GW, "monitoring": False}) is None


def test_settings_know_devices_groups_and_defaults() -> None:
    made = settings_of(config_of({**EXAMPLE, "kill_states": True}))
    assert [(each.name, each.device) for each in made.gateways] == [
        ("wan_gw", "wan0"),
        ("wan2_gw", "wan20"),
        ("six", "wan0"),
    ]
    assert (made.default(4), made.default(6), made.kill_states) == ("balanced", "six", True)
    assert settings_of(config_of()) == settings_of(config_of())


def test_without_interfaces_there_is_nothing_to_do() -> None:
    assert settings_of(config_of({"gateway": TWO}, bare=True)).gateways == ()
