"""`[metrics]` as operators write it."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import ValidationError

from appliance.config import Config, ProvidesTraffic
from appliance.config.model import NodeTable
from appliance.testing import LogicalInterfaces
from appliance_metrics.config import MetricsConfig, settings_of
from appliance_metrics.settings import PORT

INTERFACES = LogicalInterfaces.of(lan=["192.168.1.2/24", "2001:db8:1::2/64"], mgmt="10.0.0.2/24")


def config(**table: Any) -> Config:
    model = MetricsConfig.model_validate(table)
    return Config({"interfaces": INTERFACES, "metrics": model}, node=NodeTable(name="fw1"))


def test_it_listens_on_own_addresses_of_the_chosen_interfaces() -> None:
    settings = settings_of(config(listen=["lan"]))
    assert settings.port == PORT
    assert [(place.interface, place.device, place.address) for place in settings.places] == [
        ("lan", "lan", "192.168.1.2"),
        ("lan", "lan", "2001:db8:1::2"),
    ]


@pytest.mark.parametrize(
    ("allow", "source", "expected"),
    [
        ([], "192.168.1.77", True),
        ([], "fe80::1%lan", True),
        ([], "10.0.0.77", False),
        (["10.0.0.0/24"], "10.0.0.77", True),
        (["10.0.0.0/24"], "192.168.1.77", False),
        (["10.0.0.0/24"], "2001:db8:1::77", False),
    ],
)
def test_neighbours_may_read_unless_others_are_named(allow: list[str], source: str, expected: bool) -> None:
    place = settings_of(config(listen=["lan"], allow=allow)).places[0]
    assert place.admits(source) is expected


def test_the_firewall_is_told_what_has_to_pass() -> None:
    table = config(listen=["lan", "mgmt"], port=9999, allow=["192.168.7.0/24"])[MetricsConfig]
    assert isinstance(table, ProvidesTraffic)
    found = table.own_traffic(INTERFACES.logical_interfaces())
    assert [(each.name, each.interface, each.protocol, each.port) for each in found] == [
        ("metrics", "lan", "tcp", 9999),
        ("metrics", "mgmt", "tcp", 9999),
    ]
    assert found[0].sources == (ip_network("192.168.7.0/24"),)


@pytest.mark.parametrize(
    "wrong", [{}, {"listen": []}, {"listen": ["eth0:1"]}, {"listen": ["lan"], "port": 0}, {"listen": ["lan"], "x": 1}]
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        MetricsConfig.model_validate(wrong)
