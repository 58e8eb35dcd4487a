"""The lagg service on a kernel with bonding, judged by `ip` and by pings."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from appliance.events import Alarm
from appliance.testing import LabNode, Netlab
from appliance.testing.node import RunningNode
from appliance.testing.waiting import eventually
from appliance_lagg.events import ActiveMemberChanged, MemberDown, MemberUp, PartnerChanged
from tests.guest.lagg.scene import (
    SOON_S,
    bond,
    far_bond,
    members,
    pinged,
    power,
    shown,
    two_cables,
    two_switches,
    with_service,
)

pytestmark = pytest.mark.netns

BOTH = ["eth0", "eth1"]
FAILOVER = {"members": BOTH, "protocol": "failover"}
KERNEL_MODES = {
    "lacp": "802.3ad",
    "loadbalance": "balance-xor",
    "roundrobin": "balance-rr",
    "failover": "active-backup",
    "none": "active-backup",
}


def is_active(node: RunningNode, member: str) -> bool:
    """Whether this member carries the traffic, as far as has been told."""
    return node.retained(ActiveMemberChanged)[-1].member == member


def test_every_protocol_carries_traffic_and_keeps_the_device_when_it_changes(netlab: Netlab) -> None:
    fw, far = two_cables(netlab)

    async def body(node: RunningNode) -> None:
        await trio.to_thread.run_sync(far_bond, far, "failover")
        first = bond(fw)
        fw.run("ip", "addr", "add", "10.0.0.1/24", "dev", "lagg0")
        fw.run("ip", "link", "add", "link", "lagg0", "name", "lagg0.7", "type", "vlan", "id", "7")
        for protocol in ("lacp", "loadbalance", "roundrobin", "failover"):
            await trio.to_thread.run_sync(far_bond, far, protocol)
            rate = {"rate": "fast"} if protocol == "lacp" else {}
            await node.reload({"lagg0": {"members": BOTH, "protocol": protocol, **rate}})
            made = bond(fw)
            assert made["options"]["mode"] == KERNEL_MODES[protocol]
            assert (made["ifindex"], made["address"], members(fw)) == (first["ifindex"], first["address"], set(BOTH))
            assert shown(fw, "link", "show", "lagg0.7")[0]["ifindex"] > first["ifindex"], "what is on top stays"
            if protocol == "lacp":
                await eventually(lambda: bool(node.retained(PartnerChanged)), within_s=SOON_S)
                await eventually(lambda: "distributing" in str(shown(fw, "link", "show", "eth1")), within_s=SOON_S)
                await judge_lacp(node, fw, far)
            await trio.to_thread.run_sync(fw.run, "ping", "-c1", "-i0.2", "-w15", "10.0.0.9")
        await node.reload({"lagg0": {"members": BOTH, "protocol": "none"}})
        assert members(fw) == set()
        assert (node.log("change_refused"), node.log("drift_repaired")) == ([], [])

    with_service(fw, FAILOVER, body)
    assert bond(fw)["ifalias"] == "appliance lagg", "it stays when the service ends"


async def judge_lacp(node: RunningNode, fw: LabNode, far: LabNode) -> None:
    """What is shown about an aggregation whose partner answers."""
    (partner,) = node.retained(PartnerChanged)
    assert partner.partner == shown(far, "link", "show", "bond0")[0]["address"]
    answer = await node.command("show lagg")
    (lagg,) = answer["laggs"]
    assert lagg["partner"]["mac"] == partner.partner
    for member in lagg["members"]:
        assert {"activity", "timeout", "synchronization"} <= set(member["lacp"]["actor"])
        assert member["lacp"]["churn"]["actor"] in ("none", "monitoring")
        assert member["speed"] == 10000
    assert (await node.check("lagg-partner")).what == "every partner answers, and no port is out of step"
    # A change of the rate takes the bond down, and it comes back.
    await node.reload({"lagg0": {"members": BOTH, "protocol": "lacp", "rate": "slow", "hash": "l2"}})
    outages = len(node.log("taken_down_for_a_moment"))
    assert outages == 2, "for the protocol, and for the rate"
    await node.reload({"lagg0": {"members": BOTH, "protocol": "lacp", "rate": "slow", "hash": "l3"}})
    assert bond(fw)["options"]["xmit_hash_policy"] == "layer2+3"
    assert (len(node.log("taken_down_for_a_moment")), node.log("change_refused")) == (outages, [])


def test_members_come_and_go_under_traffic_and_a_dead_switch_costs_one_carrier_event(netlab: Netlab) -> None:
    fw, client = netlab.node("fw"), netlab.node("client")
    first, second = two_switches(netlab, fw)
    netlab.connect(client, second, "eth0", ["10.0.0.9/24"])

    async def body(node: RunningNode) -> None:
        fw.run("ip", "link", "set", "eth1", "down")  # up and free, it would answer for addresses of lagg0
        fw.run("ip", "addr", "add", "10.0.0.1/24", "dev", "lagg0")
        index = bond(fw)["ifindex"]
        await trio.to_thread.run_sync(client.run, "ping", "-c2", "-i0.2", "-W5", "10.0.0.1")
        steps = (
            (BOTH, 0, "one more"),
            (["eth0"], 0, "without the one that waits"),
            (BOTH, 0, "one more again"),
            (["eth1", "eth0"], 5, "another primary"),
            (["eth0"], 5, "without the active one"),
            (["eth1", "eth0"], 5, "with it again, as primary"),
            (BOTH, 5, "the first one is primary"),
        )
        for wanted, allowed, what in steps:
            with pinged(client, "10.0.0.1") as counts:
                await node.reload({"lagg0": {"members": wanted, "protocol": "failover"}})
                assert members(fw) == set(wanted)
                await eventually(partial(is_active, node, wanted[0]), within_s=SOON_S)
                await trio.sleep(0.2)
            sent, lost = counts
            assert lost <= allowed, f"{what}: {lost} of {sent} pings were lost"
        assert (bond(fw)["ifindex"], len(node.log("taken_down_for_a_moment"))) == (index, 0)
        await eventually(lambda: bond(fw)["options"].get("active_slave") == "eth0", within_s=SOON_S)

        with pinged(client, "10.0.0.1") as counts:
            power(first, "down")
            await eventually(lambda: node.retained(ActiveMemberChanged)[-1].member == "eth1", within_s=SOON_S)
            await trio.sleep(0.5)
        assert node.log("drift_repaired") == []
        sent, lost = counts
        assert lost * 0.02 <= 1.0, f"{lost} of {sent} pings were lost when a switch died"
        assert [(each.member, each.reason) for each in node.events(MemberDown)][-1] == ("eth0", "down")
        assert [alarm.key for alarm in node.retained(Alarm) if alarm.active] == ["lagg/lagg0/degraded"]
        (lagg,) = (await node.command("show lagg lagg0"))["laggs"]
        assert [each["state"] for each in lagg["members"]] == ["down", "active"]
        assert lagg["members"][0]["flaps"] == 1
        power(first, "up")
        await eventually(lambda: node.retained(ActiveMemberChanged)[-1].member == "eth0", within_s=SOON_S)
        await eventually(lambda: not [alarm for alarm in node.retained(Alarm) if alarm.active], within_s=SOON_S)

    with_service(fw, {"members": ["eth0"], "protocol": "failover"}, body)


def test_drift_is_repaired_and_foreign_bonds_are_left_alone(netlab: Netlab) -> None:
    fw, _far = two_cables(netlab)
    fw.run("ip", "link", "add", "mine", "type", "bond")
    fw.run("ip", "link", "add", "old", "type", "bond")
    fw.run("ip", "link", "set", "old", "alias", "appliance lagg")

    async def body(node: RunningNode) -> None:
        assert {each["ifname"] for each in shown(fw, "link", "show", "type", "bond")} == {"mine", "lagg0"}
        await eventually(lambda: len(node.events(MemberUp)) == 2, within_s=SOON_S)
        fw.run("ip", "link", "set", "eth1", "nomaster")
        await eventually(lambda: members(fw) == set(BOTH), within_s=SOON_S)
        await eventually(lambda: len(node.events(MemberUp)) == 3, within_s=SOON_S)
        assert [each.reason for each in node.events(MemberDown)] == ["out"]
        # Set down by hand: that is meant.
        fw.run("ip", "link", "set", "lagg0", "down")
        await trio.sleep(0.5)
        assert "UP" not in bond(fw)["flags"]
        await node.reload({})
        assert {each["ifname"] for each in shown(fw, "link", "show", "type", "bond")} == {"mine"}

    with_service(fw, FAILOVER, body)


def test_mtu_goes_to_members_and_to_vlans_on_top(netlab: Netlab) -> None:
    fw, _far = two_cables(netlab)

    async def body(node: RunningNode) -> None:
        fw.run("ip", "link", "add", "link", "lagg0", "name", "lagg0.7", "type", "vlan", "id", "7")
        for mtu in (9000, 1400):
            await node.reload({"lagg0": {**FAILOVER, "mtu": mtu}})
            found = {each["ifname"]: each["mtu"] for each in shown(fw, "link", "show")}
            assert {found[name] for name in ("lagg0", "lagg0.7", *BOTH)} == {mtu}

    with_service(fw, FAILOVER, body)


def test_all_members_gone_is_a_link_lost(netlab: Netlab) -> None:
    fw, far = two_cables(netlab)

    async def body(node: RunningNode) -> None:
        await eventually(lambda: "LOWER_UP" in bond(fw)["flags"], within_s=SOON_S)
        for device in BOTH:
            far.run("ip", "link", "set", device, "down")
        await eventually(lambda: "NO-CARRIER" in bond(fw)["flags"], within_s=SOON_S)
        await eventually(
            lambda: "lagg/lagg0/down" in {a.key for a in node.retained(Alarm) if a.active}, within_s=SOON_S
        )
        assert (await node.check("lagg-members")).what == "lagg0: no member has a link"

    with_service(fw, FAILOVER, body)
