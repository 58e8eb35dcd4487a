"""Faults of the network as data."""

from __future__ import annotations

import json

import pytest

from appliance.errors import UsageError
from appliance.lab import faults
from appliance.lab.topology import Topology

TOPOLOGY = Topology(name="x")


def texts(steps: tuple[faults.Step, ...]) -> list[str]:
    return [f"{step.role}: {step.text}" for step in steps]


def test_a_pulled_cable_is_a_switch_port_that_is_down() -> None:
    fault = faults.pull(TOPOLOGY, "fw1", "wan")
    assert fault.name == "pull fw1 wan"
    assert texts(fault.apply) == ["wansw: link set fw1 down"]
    assert texts(fault.undo) == ["wansw: link set fw1 up", "wansw: link show dev fw1"]


def test_pulling_the_direct_cable_takes_the_link_of_both_nodes() -> None:
    fault = faults.pull(TOPOLOGY, "fw2", "sync")
    assert texts(fault.apply) == ["synccable: link set fw1 down", "synccable: link set fw2 down"]


def test_at_the_nodes_end_the_interface_is_set_down_and_the_peer_loses_its_link_too() -> None:
    fault = faults.pull(TOPOLOGY, "fw1", "sync", "node")
    assert texts(fault.apply) == ["fw1: link set sync0 down", "synccable: link set fw2 down"]


def test_a_blocked_port_keeps_the_link() -> None:
    fault = faults.pull(TOPOLOGY, "fw1", "lan", "blocked")
    assert {step.tool for step in fault.apply} == {"bridge"}


def test_one_way_loss_is_one_table_at_the_port() -> None:
    fault = faults.lose(TOPOLOGY, "fw1", "lan", "to", percent=30, match="ip protocol 112")
    (step,) = fault.apply
    assert step.role == "lansw"
    assert 'type filter hook egress device "fw1"' in step.text
    assert "ip protocol 112 numgen random mod 100 < 30 counter drop" in step.text
    assert "ingress" not in step.text
    assert texts(fault.undo) == ["lansw: delete table netdev lab_fw1_to\n"]


@pytest.mark.parametrize("percent", [0, 101])
def test_impossible_percentages_are_refused(percent: int) -> None:
    with pytest.raises(UsageError, match="percent"):
        faults.lose(TOPOLOGY, "fw1", "lan", percent=percent)


def test_a_cut_switch_has_no_port_left() -> None:
    fault = faults.cut_switch(Topology(second_switch=True), "lansw2")
    assert [step.text for step in fault.apply] == ["link set fw2 down", "link set client down", "link set trunk down"]


def test_there_is_no_trunk_with_one_switch() -> None:
    with pytest.raises(UsageError, match="one switch"):
        faults.cut_trunk(TOPOLOGY, "lan")


def test_another_machine_needs_a_prefix_length_and_a_network_with_room() -> None:
    with pytest.raises(UsageError, match="prefix length"):
        faults.duplicate(TOPOLOGY, "lan", "192.168.1.1")
    with pytest.raises(UsageError, match="no room"):
        faults.duplicate(TOPOLOGY, "sync", "172.16.1.9/24")


def test_unknown_switches_are_refused() -> None:
    with pytest.raises(UsageError, match="no switch 'fw1'"):
        faults.flood(TOPOLOGY, "fw1")


@pytest.mark.parametrize(
    "fault",
    [
        faults.pull(TOPOLOGY, "fw1", "wan", "node"),
        faults.lose(TOPOLOGY, "fw1", "lan", "both"),
        faults.duplicate(TOPOLOGY, "lan", "192.168.1.1/24"),
        faults.flood(TOPOLOGY, "lansw"),
        faults.loop(TOPOLOGY, "fw2", "wan"),
    ],
    ids=lambda fault: fault.name,
)
def test_faults_survive_being_written_to_a_file(fault: faults.Fault) -> None:
    assert faults.fault_from_json(json.loads(json.dumps(fault.to_json()))) == fault


def test_neighbouring_steps_of_one_namespace_share_a_process() -> None:
    groups = faults.grouped(faults.duplicate(TOPOLOGY, "lan", "192.168.1.1/24").apply)
    assert [(tool, role, len(lines)) for tool, role, lines in groups] == [
        ("ip", "", 2),
        ("ip", "lansw", 2),
        ("ip", "rogue", 2),
    ]
