"""Whoever is MASTER: clients keep their addresses, and never two get the same."""

from __future__ import annotations

import time

import pytest

from appliance.lab import Lab
from tests.netns.dhcp import clients
from tests.netns.dhcp.clients import DMZ_VIP, NODES, VIP

pytestmark = [pytest.mark.netns]


def test_a_switchover_keeps_the_address_and_the_renewal_is_answered_by_the_new_master(cluster: Lab) -> None:
    with clients.holder(cluster, 11) as client:
        (bound,) = client.events()
        clients.switchover(cluster, "fw1", "fw2")
        renewed = client.renew()
        assert (renewed["event"], renewed["address"], renewed["server"]) == ("renew", bound["address"], VIP)
        assert clients.leases(cluster, "fw2")[bound["address"]]["granted_by"] == "fw1"
        clients.switchover(cluster, "fw2", "fw1")
        assert client.renew()["address"] == bound["address"]


def test_every_served_interface_moves_with_its_address(cluster: Lab) -> None:
    for interface in ("lan", "dmz"):
        for node, state in (("fw1", "serving"), ("fw2", "standby")):
            clients.wait_state(cluster, node, state, interface=interface)
    lan, dmz = clients.udhcpc(cluster, number=61), clients.udhcpc(cluster, number=62, machine="dmzhost")
    assert lan is not None
    assert dmz is not None
    assert (lan["server"], dmz["server"], dmz["router"]) == (VIP, DMZ_VIP, DMZ_VIP)
    clients.wait_until(
        lambda: {lan["address"], dmz["address"]} <= clients.leases(cluster, "fw2").keys(), "fw2 has both leases"
    )
    clients.switchover(cluster, "fw1", "fw2")
    clients.wait_state(cluster, "fw2", "serving", interface="dmz")
    assert clients.udhcpc(cluster, number=61) == lan
    assert clients.udhcpc(cluster, number=62, machine="dmzhost") == dmz
    strangers = [clients.udhcpc(cluster, number=63, machine=machine) for machine in ("client", "dmzhost")]
    granted = clients.leases(cluster, "fw2")
    assert [granted[each["address"]]["granted_by"] for each in strangers if each] == ["fw2", "fw2"]
    clients.switchover(cluster, "fw2", "fw1")


def test_the_death_of_the_master_loses_no_lease(cluster: Lab) -> None:
    before = {number: clients.udhcpc(cluster, number=number) for number in (21, 22, 23)}
    cluster.power_off("fw1")
    try:
        clients.wait_state(cluster, "fw2", "serving")
        begun = time.monotonic()
        stranger = clients.udhcpc(cluster, number=24)
        assert stranger is not None
        assert time.monotonic() - begun < 5, "and nobody waits for the dead node for long"
        after = {number: clients.udhcpc(cluster, number=number) for number in (21, 22, 23)}
        for number, lease in before.items():
            assert lease is not None
            assert after[number] is not None
            assert after[number]["address"] == lease["address"]  # type: ignore[index]
    finally:
        cluster.power_on("fw1")
    cluster.wait_settled("fw1", deadline_s=60)
    clients.wait_synchronized(cluster, 60)
    assert stranger["address"] in clients.leases(cluster, "fw1"), "what was granted meanwhile is here, too"
    fresh = clients.udhcpc(cluster, number=25)
    assert fresh is not None
    assert fresh["address"] not in {lease["address"] for lease in (*before.values(), stranger) if lease}


def test_kea_killed_is_back_with_all_leases(cluster: Lab) -> None:
    got = clients.udhcpc(cluster, number=31)
    assert got is not None
    cluster.kill("fw1", "kea-dhcp4")
    again = clients.udhcpc(cluster, number=31)
    assert again is not None
    assert again["address"] == got["address"]
    clients.wait_state(cluster, "fw1", "serving")


def test_with_the_sync_cable_cut_the_master_goes_on_alone(cluster: Lab) -> None:
    cluster.pull("fw2", "sync")
    clients.wait_until(lambda: clients.pool(cluster, "fw1")["replication"] == "unreachable", "the cut is noticed", 15)
    got = clients.udhcpc(cluster, number=41)
    assert got is not None
    assert clients.pool(cluster, "fw1")["my_state"] == "serving"
    assert clients.pool(cluster, "fw2")["my_state"] == "standby"
    assert got["address"] not in clients.leases(cluster, "fw2")
    cluster.plug("fw2", "sync")
    clients.wait_synchronized(cluster)
    assert got["address"] in clients.leases(cluster, "fw2")


def test_leases_survive_a_restart_of_both_nodes(cluster: Lab) -> None:
    got = clients.udhcpc(cluster, name="keeper", number=51)
    assert got is not None
    for node in NODES:
        cluster.stop(node)
    for node in NODES:
        cluster.start(node)
    cluster.wait_settled("fw1", deadline_s=60)
    clients.wait_synchronized(cluster, 60)
    for node in NODES:
        assert clients.leases(cluster, node)[got["address"]]["hostname"] == "keeper"
    again = clients.udhcpc(cluster, name="keeper", number=51)
    assert again is not None
    assert again["address"] == got["address"]
