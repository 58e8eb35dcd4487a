"""Two nodes that were configured differently: both become MASTER, as the protocol has it, and both say why."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from appliance.lab import Lab, NodeSettings, Topology, Vip
from appliance.lab.config import node_toml
from appliance.lab.lab import unique_name
from appliance.lab.waiting import JsonObject, states, wait_until
from tests.netns.carp.conftest import SETTLE_S
from tests.netns.carp.words import alarms, counter, events, undisturbed, wait_alarm

pytestmark = [pytest.mark.netns, pytest.mark.slow]

LAN = Vip(name="lan", interface="lan", vhid=1, addresses=("192.168.1.1/24",))
WAN = Vip(name="wan", interface="wan", vhid=200, addresses=("198.51.100.200/24",))
RIGHT = Vip(name="right", interface="lan", vhid=7, addresses=("192.168.1.7/24",))
OTHER = {"fw1": "fw2", "fw2": "fw1"}
SOURCES = {
    "lan": {"fw1": "192.168.1.2", "fw2": "192.168.1.3"},
    "wan": {"fw1": "198.51.100.201", "fw2": "198.51.100.202"},
}


def settings(lan: Vip = LAN, wan: Vip = WAN, password: str = "lab-secret") -> NodeSettings:
    return NodeSettings(vips=(lan, wan, RIGHT), password=password)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """fw2 has another password for the LAN's VHID and an address too many in the WAN's; VHID 7 is right."""
    wrong = settings(replace(LAN, password="misspelt"), replace(WAN, aliases=("198.51.100.77/24",)))
    topology = Topology(name=unique_name("c"), ipv6=False)
    with Lab(topology, settings={"fw1": settings(), "fw2": wrong}) as built:
        built.wait_for(both_are_master, "both are MASTER of what differs", SETTLE_S)
        yield built


def both_are_master(seen: Mapping[str, JsonObject]) -> bool:
    return {node: states(seen.get(node)) for node in OTHER} == {
        "fw1": {"lan": "MASTER", "wan": "MASTER", "right": "MASTER"},
        "fw2": {"lan": "MASTER", "wan": "MASTER", "right": "BACKUP"},
    }


def configure(lab: Lab, node: str, wanted: NodeSettings) -> None:
    lab.config_path(node).write_text(node_toml(lab.topology, node, wanted))
    lab.request(node, "config", "reload")


@pytest.mark.parametrize("node", ["fw1", "fw2"])
def test_another_password_is_named_on_both_nodes_with_its_source(lab: Lab, node: str) -> None:
    source = SOURCES["lan"][OTHER[node]]
    said = wait_alarm(lab, node, f"carp/lan/1/password-differs/{source}")
    assert said["health"] == "fail"
    assert said["what"] == f"VHID 1 on lan has another password on {source} than here; both nodes are MASTER"
    assert "same password" in said["fix"]
    assert counter(lab, node, "bad_auth", "lan") > 0


@pytest.mark.parametrize("node", ["fw1", "fw2"])
def test_another_address_list_is_named_on_both_nodes_with_its_source(lab: Lab, node: str) -> None:
    source = SOURCES["wan"][OTHER[node]]
    said = wait_alarm(lab, node, f"carp/wan/200/addresses-differ/{source}")
    assert said["health"] == "fail"
    assert said["what"] == f"VHID 200 on wan has other addresses on {source} than here; both nodes are MASTER"
    assert "same addresses" in said["fix"]
    assert counter(lab, node, "bad_auth", "wan") > 0


def test_what_is_right_beside_it_has_one_master_and_no_alarm(lab: Lab) -> None:
    with undisturbed(lab):
        before = counter(lab, "fw2", "received", "right")
        lab.wait_for(lambda seen: counter(lab, "fw2", "received", "right") > before + 1, "two adverts of VHID 7")
        assert both_are_master(lab.view())
    for node in OTHER:
        assert counter(lab, node, "bad_auth", "right") == 0
        assert not [key for key in alarms(lab, node) if key.startswith("carp/lan/7/")]


def test_correcting_the_file_heals_to_one_master_that_never_let_go(lab: Lab) -> None:
    moved = len(events(lab, "fw1", "RoleChanged"))
    configure(lab, "fw2", settings())
    lab.wait_settled("fw1", deadline_s=10.0)
    assert len(events(lab, "fw1", "RoleChanged")) == moved, "fw1 was right, and stays where it is"


def test_a_wholly_different_password_is_named_although_the_nodes_cannot_talk(lab: Lab) -> None:
    # It also signs the hellos: the cause can only be guessed, and the remedy names both possibilities.
    stranger = settings(password="from another site")
    # A node that knew fw1 would go on with what both had, and wait: this one comes from another site.
    lab.stop("fw2")
    shutil.rmtree(lab.state_dir("fw2") / "carp")
    lab.config_path("fw2").write_text(node_toml(lab.topology, "fw2", stranger))
    lab.start("fw2")
    lab.wait_for(lambda seen: set(states(seen.get("fw2")).values()) == {"MASTER"}, "fw2 is MASTER of all", SETTLE_S)
    for node in OTHER:
        assert set(states(lab.view()[node]).values()) == {"MASTER"}
        for interface, vhid in (("lan", 1), ("lan", 7), ("wan", 200)):
            source = SOURCES[interface][OTHER[node]]
            said = wait_alarm(lab, node, f"carp/{interface}/{vhid}/bad-auth/{source}")
            assert source in said["what"]
            assert "password" in said["fix"]
            assert "address list" in said["fix"]
    wait_until(
        lambda: not [key for key in alarms(lab, "fw1") if "differ" in key], "what was corrected is forgotten", 12
    )
