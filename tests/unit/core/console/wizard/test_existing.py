"""A configuration gives the answers that would lead to it."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from appliance.console.wizard.existing import defaults_of, left_out
from tests.meta.source import ROOT
from tests.unit.core.console.wizard.people import BUNDLED_LANS, DEVICES, MULTIWAN, tables, told

OWN_BUNDLE = {name: value for name, value in BUNDLED_LANS.items() if not name.endswith("other_device")} | {
    "same_devices": "yes",
    "network.lan.bundle": "lacp",
}
EXAMPLE: dict[str, Any] = tomllib.loads((ROOT / "appliance.toml").read_text())


@pytest.mark.parametrize(
    "answers",
    [DEVICES | {"network.lan.vhid": "99"}, MULTIWAN | {"password": "secret"}, OWN_BUNDLE],
    ids=["example", "multiwan", "bundle"],
)
@pytest.mark.parametrize("ordinal", [0, 1])
def test_running_it_again_changes_nothing(answers: dict[str, str], ordinal: int) -> None:
    before = tables(answers)[ordinal]
    assert tables({}, defaults_of(before))[ordinal] == before


def test_the_example_is_its_own_default() -> None:
    found = defaults_of(EXAMPLE)
    assert found["network.wan.ipv4"] == "198.51.100.200/24"
    assert found["network.lan.ipv4"] == "192.168.1.0/24"
    assert found["network.sync.ipv4"] == "172.16.1.0/24"
    assert found["password"] == "change-me-please"
    assert told({}, found).networks[0].devices == ("wan0", "wan0")


def test_own_addresses_are_kept_where_they_are_not_those_of_the_plan() -> None:
    text = (ROOT / "appliance.toml").read_text().replace('"192.168.1.2/24"', '"192.168.1.77/24"')
    assert defaults_of(tomllib.loads(text))["network.lan.ipv4"] == "192.168.1.1/24 192.168.1.77 192.168.1.3"
    other = text.replace('role = "primary"', 'role = "secondary"').replace('name = "fw1"', 'name = "fw2"')
    assert defaults_of(tomllib.loads(other))["network.lan.ipv4"] == "192.168.1.1/24 192.168.1.2 192.168.1.77"


@pytest.mark.parametrize(
    "tables_",
    [
        {},
        {"node": 3, "interfaces": {"wan": 4}},
        {"interfaces": {"wan": {"device": 4, "addresses": ["x"], "routes": {}}}, "carp": {"vip": [3, {}]}},
        {"interfaces": {"wan": {"device": "lagg0"}}, "lagg": {"lagg0": {"members": ["a", 4]}}},
        {"interfaces": {"wan": {"device": "a/b"}}, "carp": {"vip": [{"interface": "wan", "vhid": True}]}},
        {"interfaces": {"sync": {"addresses": ["10.0.0.1/32"]}}, "gateways": {"gateway": {"a": 3}}},
    ],
)
def test_what_is_not_understood_gives_no_default(tables_: dict[str, Any]) -> None:
    assert "network.wan.device" not in defaults_of(tables_)


def test_what_the_new_files_do_not_have_is_named() -> None:
    assert left_out(EXAMPLE, EXAMPLE) == []
    rules = {"firewall": EXAMPLE["firewall"] | {"rule": EXAMPLE["firewall"]["rule"] * 3, "alias": {"a": {}}}}
    assert left_out(rules | {"users": {}}, EXAMPLE | {"users": {}}) == ["2 of firewall.rule", "firewall.alias"]
    assert left_out({"users": {"eve": {}}}, {}) == ["[users]"]
