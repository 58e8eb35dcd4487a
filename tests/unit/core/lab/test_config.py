"""The `appliance.toml` of every node."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from appliance.lab.config import NodeSettings, Vip, literal, node_toml
from appliance.lab.topology import Topology


def parsed(node: str, settings: NodeSettings | None = None, topology: Topology | None = None) -> dict[str, Any]:
    return tomllib.loads(node_toml(topology or Topology(nodes=3), node, settings))


def test_the_first_node_is_the_primary_and_preferred() -> None:
    config = parsed("fw1")
    assert config["node"] == {"name": "fw1", "role": "primary"}
    assert [vip["advskew"] for vip in config["carp"]["vip"]] == [0, 0]


def test_the_others_follow_a_hundred_apart() -> None:
    assert {vip["advskew"] for vip in parsed("fw2")["carp"]["vip"]} == {100}
    third = parsed("fw3")
    assert {vip["advskew"] for vip in third["carp"]["vip"]} == {200}
    assert third["node"]["role"] == "secondary"
    assert third["interfaces"]["lan"]["addresses"] == ["192.168.1.4/24", "2001:db8:1::4/64"]


def test_the_way_out_is_the_wans_gateway() -> None:
    assert [route["via"] for route in parsed("fw2")["interfaces"]["wan"]["routes"]] == [
        "198.51.100.1",
        "2001:db8:ffff::1",
    ]
    assert "routes" not in parsed("fw2")["interfaces"]["lan"]


def test_the_virtual_hosts_are_those_of_the_example() -> None:
    lan, wan = parsed("fw1")["carp"]["vip"]
    assert (lan["name"], lan["vhid"], lan["addresses"]) == ("lan", 1, ["192.168.1.1/24", "2001:db8:1::1/64"])
    assert (wan["name"], wan["vhid"]) == ("wan", 200)
    assert wan["addresses"] == ["198.51.100.200/24", "2001:db8:ffff::200/64"]


def test_more_networks_bring_more_virtual_hosts() -> None:
    config = parsed("fw1", topology=Topology(second_wan=True, dmz=True, ipv6=False))
    assert [vip["name"] for vip in config["carp"]["vip"]] == ["lan", "wan", "wan2", "wan2nat", "dmz"]
    assert config["interfaces"]["wan2"] == {"device": "wan1", "addresses": ["203.0.113.12/24"]}
    assert not [a for vip in config["carp"]["vip"] for a in vip["addresses"] if ":" in a]


def test_a_test_can_want_something_else() -> None:
    extra = Vip(name="more", interface="lan", vhid=7, addresses=("192.168.1.7/24",), aliases=("192.168.1.8/24",))
    settings = NodeSettings(
        profile="fast",
        preempt=False,
        password='a "quoted" one',
        sync_interface=None,
        carp={"preempt_delay": 2.5, "preempt": True},
        extra_vips=(extra,),
        extra="[extra]\nanswer = 42",
    )
    config = parsed("fw2", settings)
    carp = config["carp"]
    assert (carp["profile"], carp["password"], carp["preempt_delay"]) == ("fast", 'a "quoted" one', 2.5)
    assert carp["preempt"] is True, "keys of `carp` win"
    assert "sync_interface" not in carp
    assert carp["vip"][-1]["aliases"] == ["192.168.1.8/24"]
    assert config["extra"] == {"answer": 42}


def test_a_whole_file_can_be_replaced() -> None:
    assert node_toml(Topology(), "fw1", NodeSettings(text="# nothing\n")) == "# nothing\n"


def test_no_vips_leave_an_empty_table() -> None:
    assert "vip" not in parsed("fw1", NodeSettings(vips=()))["carp"]


@pytest.mark.parametrize("value", [True, 3, 0.5, 'quo"te \\ äöü\n', ["a", "b"], []])
def test_literals_are_read_back_as_written(value: object) -> None:
    assert tomllib.loads(f"key = {literal(value)}")["key"] == value


def test_what_toml_does_not_know_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        literal(object())


def test_states_are_replicated_when_a_test_asks_for_it() -> None:
    assert "pfsync" not in parsed("fw1")
    found = parsed("fw2", NodeSettings(pfsync={"peers": ["172.16.1.2"], "defer": True}), Topology(name="one"))
    assert found["pfsync"] == {
        "interface": "sync",
        "key_file": "/run/appliance-lab/one/pfsync.key",
        "peers": ["172.16.1.2"],
        "defer": True,
    }


def test_plain_states_need_no_key_and_a_test_can_name_its_own() -> None:
    assert parsed("fw1", NodeSettings(pfsync={"plain": True}))["pfsync"] == {"interface": "sync", "plain": True}
    own = parsed("fw1", NodeSettings(pfsync={"key_file": "/tmp/other"}))["pfsync"]
    assert own == {"interface": "sync", "key_file": "/tmp/other"}


def test_a_node_can_be_the_example_s_firewall() -> None:
    found = parsed("fw1", NodeSettings(firewall=True), Topology(name="one", ipv6=False))
    assert found["firewall"]["nodes"] == ["172.16.1.2", "172.16.1.3"]
    assert [rule["source"] for rule in found["firewall"]["rule"]] == ["net:lan"]
    assert found["outbound_nat"] == {"mode": "automatic"}
    assert found["gateways"]["gateway"]["wan_gw"] == {"interface": "wan", "address": "198.51.100.1"}
    assert "firewall" not in parsed("fw1", NodeSettings())


def test_the_first_node_sends_its_configuration_to_all_others() -> None:
    three = Topology(name="one", nodes=3)
    assert parsed("fw1", NodeSettings(xmlrpc_sync=True), three)["xmlrpc_sync"] == {
        "interface": "sync",
        "peers": ["172.16.1.3", "172.16.1.4"],
    }
    assert parsed("fw3", NodeSettings(xmlrpc_sync=True), three)["xmlrpc_sync"] == {"interface": "sync"}
