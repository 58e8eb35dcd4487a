"""Both files are accepted by every bundled plugin, and differ where two nodes have to."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest

from appliance.console.wizard import askers
from appliance.console.wizard.document import NEEDED, pairing_address, plan_rows
from appliance.console.wizard.plan import make_plan
from tests.meta.source import ROOT
from tests.unit.core.console.wizard.people import BUNDLED_LANS, DEVICES, MULTIWAN, check, tables, texts, told


@pytest.mark.parametrize("answers", [DEVICES, MULTIWAN, BUNDLED_LANS], ids=["example", "multiwan", "bundle"])
def test_both_files_pass_check_with_all_bundled_plugins(answers: dict[str, str]) -> None:
    for text in texts(answers):
        assert check(text) == ()


def test_both_files_pass_check_without_the_plugins_that_a_cluster_does_not_need() -> None:
    needed = frozenset(NEEDED)
    for text in texts(DEVICES, needed):
        assert check(text) == ()
        assert set(tomllib.loads(text)) == {"node", "interfaces", "pfsync", "xmlrpc_sync", "carp"}


def test_the_example_has_the_addresses_of_the_documents() -> None:
    example = tomllib.loads((ROOT / "appliance.toml").read_text())
    mine, _ = tables(DEVICES)
    assert mine["interfaces"] == example["interfaces"]
    assert mine["node"] == example["node"]
    assert mine["gateways"] == example["gateways"]
    assert mine["xmlrpc_sync"] == example["xmlrpc_sync"]
    assert mine["dhcp_failover"] == example["dhcp_failover"]
    assert mine["carp"]["vip"] == example["carp"]["vip"]


def test_bundles_and_vlans_are_those_of_each_node() -> None:
    one, other = tables(BUNDLED_LANS)
    assert one["lagg"] == {"lagg0": {"members": ["eth0", "eth1"], "protocol": "failover"}}
    assert other["lagg"] == {"lagg0": {"members": ["eth8", "eth9"], "protocol": "failover"}}
    assert one["interfaces"]["lan"]["vlan"] == {"parent": "lagg0", "id": 10}
    assert one["interfaces"]["dmz"]["vlan"] == {"parent": "lagg0", "id": 20}
    assert one["interfaces"]["sync"]["vlan"] == {"parent": "eth2", "id": 5}
    assert other["interfaces"]["lan"]["vlan"] == {"parent": "eth7", "id": 10}
    assert other["interfaces"]["sync"]["device"] == "lagg0"
    assert {vip["name"]: vip["vhid"] for vip in one["carp"]["vip"]} == {"wan": 200, "lan": 1, "dmz": 77}


def test_the_two_differ_where_two_nodes_have_to() -> None:
    one, other = (dict(flat(each)) for each in tables(DEVICES))
    differs = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    assert differs == {
        "node.name",
        "node.role",
        "interfaces.wan.addresses",
        "interfaces.lan.addresses",
        "interfaces.sync.addresses",
        "xmlrpc_sync.peers",
        "dhcp_failover.interface.lan.failover_peer",
        "carp.vip.0.advskew",
        "carp.vip.1.advskew",
    }


def flat(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Keys of nested tables and lists of tables."""
    if isinstance(value, dict):
        return [pair for key, each in value.items() for pair in flat(each, f"{prefix}.{key}".lstrip("."))]
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return flat({str(number): each for number, each in enumerate(value)}, prefix)
    return [(prefix, value)]


def test_several_wans_have_one_default_route_and_other_devices_are_kept() -> None:
    one, other = tables(MULTIWAN)
    assert "routes" not in one["interfaces"]["wan2"]
    assert set(one["gateways"]["gateway"]) == {"wan_gw", "wan2_gw"}
    assert (one["interfaces"]["wan"]["device"], other["interfaces"]["wan"]["device"]) == ("wan0", "eth0")
    assert one["interfaces"]["wan2"]["addresses"] == ["203.0.113.12/24"]
    assert set(one["dhcp_failover"]["interface"]) == {"lan"}


def test_a_password_is_generated_once_for_both() -> None:
    one, other = tables(MULTIWAN)
    assert one["carp"]["password"] == other["carp"]["password"]
    assert len(one["carp"]["password"]) == 16
    assert one["carp"]["password"] != tables(MULTIWAN)[0]["carp"]["password"]


def test_the_plan_for_people_has_a_row_for_each_family() -> None:
    plan = make_plan(told(DEVICES))
    rows = list(plan_rows(plan))
    assert [row["network"] for row in rows] == ["wan", "wan", "lan", "lan", "sync"]
    assert rows[-1] == {
        "network": "sync", "device": "sync0", "virtual": None, "fw1": "172.16.1.2/24", "fw2": "172.16.1.3/24",
        "vhid": None, "router": None,
    }  # fmt: skip
    assert pairing_address(plan) == "172.16.1.3"


def test_the_answers_of_the_document_make_files_that_pass_check() -> None:
    text = (ROOT / "docs" / "operators.md").read_text()
    (block,) = re.findall(r"^```toml\n(.*?)^```", text, re.M | re.S)
    answers = dict(askers.flat(tomllib.loads(block), ""))
    assert [check(each) for each in texts(answers)] == [(), ()]
