"""The parts of a laboratory and their names."""

from __future__ import annotations

import pytest

from appliance.errors import UsageError
from appliance.lab.topology import LAN, SYNC, WAN, Topology


def test_the_default_is_the_example_cluster() -> None:
    topology = Topology()
    assert topology.machines == ("client", "server", "fw1", "fw2")
    assert topology.switches == ("wansw", "lansw", "synccable")
    assert LAN.addresses(2, ipv6=True) == ("192.168.1.3/24", "2001:db8:1::3/64")
    assert WAN.addresses(1, ipv6=True) == ("198.51.100.201/24", "2001:db8:ffff::201/64")
    assert SYNC.addresses(3, ipv6=True) == ("172.16.1.4/24",)


def test_a_third_node_makes_the_sync_network_a_switch() -> None:
    assert Topology(nodes=3).switches == ("wansw", "lansw", "syncsw")
    assert not Topology(nodes=3).is_direct(SYNC)


def test_a_second_switch_separates_the_first_node_from_everybody_else() -> None:
    topology = Topology(second_switch=True)
    assert [(cable.member, cable.switch) for cable in topology.cables if cable.network is LAN] == [
        ("fw1", "lansw"),
        ("fw2", "lansw2"),
        ("client", "lansw2"),
    ]


@pytest.mark.parametrize("nodes", [1, 2, 3])
def test_indexes_and_macs_are_unique_in_every_namespace(nodes: int) -> None:
    topology = Topology(nodes=nodes, second_wan=True, dmz=True, second_switch=True)
    ends = [(cable.member, cable.index) for cable in topology.cables]
    ends += [(cable.switch, cable.port_index) for cable in topology.cables]
    assert len(set(ends)) == len(ends)
    macs = [mac for cable in topology.cables for mac in (cable.device_mac, cable.port_mac)]
    assert len(set(macs)) == len(macs)


def test_both_ends_of_a_nodes_cable_have_one_index_like_a_real_card() -> None:
    topology = Topology()
    equal = {cable.member for cable in topology.cables if cable.index == cable.port_index}
    assert equal == {"fw1", "fw2"}


def test_a_network_is_found_by_logical_name_and_by_device() -> None:
    topology = Topology(second_wan=True)
    assert topology.network("wan1") is topology.network("wan2")
    with pytest.raises(UsageError, match="no network 'dmz'"):
        topology.network("dmz")


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "x" * 25, "-a"])
def test_names_that_would_not_fit_into_files_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        Topology(name=name)


def test_four_nodes_are_refused() -> None:
    with pytest.raises(UsageError, match="4 nodes"):
        Topology(nodes=4)


def test_unknown_machines_are_refused_with_those_that_exist() -> None:
    topology = Topology()
    with pytest.raises(UsageError) as refused:
        topology.cable("fw3", "lan")
    assert "fw1, fw2" in refused.value.hint
    with pytest.raises(UsageError, match="not a node"):
        topology.ordinal("client")
    with pytest.raises(UsageError, match="has no 'nothing'"):
        topology.role("nothing")
