"""Clusters of another shape: three nodes, peers across a router, interfaces with nothing but virtual addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from appliance.lab import Lab, NodeSettings, Topology, Vip, faults, netns
from appliance.lab.config import interface_table, literal, node_toml, table
from appliance.lab.lab import unique_name
from appliance.lab.topology import LAN
from appliance.lab.waiting import JsonObject, is_all, is_settled, states, wait_until
from tests.netns.carp.conftest import SETTLE_S
from tests.netns.carp.wires import Frame, tapped
from tests.netns.carp.words import alarms, counter, neighbour, pings, standing, undisturbed, vip

pytestmark = [pytest.mark.netns, pytest.mark.slow]

VIRTUAL_MAC = "00:00:5e:00:01:01"
BOUND_S = 3 + 200 / 256
"""After so long without an advert the last of three nodes takes over."""
SLACK_S = 2.0


def holders(lab: Lab, address: str) -> list[str]:
    """The nodes that have an address in their kernel."""
    powered = [node for node in lab.topology.node_names if lab.has_power(node)]
    return [node for node in powered if f" {address}/" in lab.exec(node, "ip", "-o", "addr", "show").stdout]


def wait_held_by(lab: Lab, address: str, node: str) -> None:
    """Until only this node has an address; for 20 ms after its bow-out a BACKUP still forwards (the hold time)."""
    wait_until(lambda: holders(lab, address) == [node], f"only {node} holds {address}", 1)


# --------------------------------------------------------------------------------------------- three nodes


@pytest.fixture(scope="module")
def three() -> Iterator[Lab]:
    with Lab(Topology(name=unique_name("c"), nodes=3, ipv6=False)) as lab:
        lab.wait_settled("fw1", deadline_s=SETTLE_S)
        yield lab


def test_of_three_nodes_exactly_one_is_master_and_nobody_complains(three: Lab) -> None:
    with undisturbed(three):
        before = counter(three, "fw3", "received")
        wait_until(lambda: counter(three, "fw3", "received") >= before + 3, "fw3 hears three adverts")
    wait_held_by(three, "192.168.1.1", "fw1")
    for node in three.topology.node_names:
        assert not alarms(three, node)


def test_of_three_a_planned_handover_goes_to_the_second_and_back(three: Lab) -> None:
    before = standing(three)["fw3 lan"], standing(three)["fw3 wan"]
    said = three.request("fw1", "ha", "switchover")
    assert "2 virtual hosts handed over to fw2" in str(said["result"])
    three.wait_settled("fw2", deadline_s=5.0)
    wait_held_by(three, "192.168.1.1", "fw2")
    three.request("fw1", "ha", "enable")
    three.wait_settled("fw1", deadline_s=5.0)
    assert (standing(three)["fw3 lan"], standing(three)["fw3 wan"]) == before, "fw3 knows that it is not its turn"


def test_after_the_death_of_the_master_the_better_of_the_others_takes_over(three: Lab) -> None:
    with three.probe("udp", seconds=60) as probe:
        probe.wait_flowing()
        three.power_off("fw1")
        three.wait_for(lambda seen: is_settled(seen, "fw2", ("fw3",)), "fw2 is master, fw3 is not", BOUND_S + SLACK_S)
        with undisturbed(three):
            before = counter(three, "fw3", "received")
            wait_until(lambda: counter(three, "fw3", "received") >= before + 2, "fw3 hears the new master")
        three.power_off("fw2")
        three.wait_for(lambda seen: is_all(seen.get("fw3"), "MASTER"), "fw3 is what is left", BOUND_S + SLACK_S)
        result = probe.stop()
    assert result.survived


# ------------------------------------------------------------------------------- unicast peers across a router

SERVICE = ("10.9.0.1", "2001:db8:9::1")
NEAR = {"fw1": ("192.168.1.2", "2001:db8:1::2"), "fw2": ("192.168.3.3", "2001:db8:3::3")}
GATEWAY = {"fw1": ("192.168.1.254", "2001:db8:1::fe"), "fw2": ("192.168.3.254", "2001:db8:3::fe")}
FAR = {"fw1": ("192.168.3.0/24", "2001:db8:3::/64"), "fw2": ("192.168.1.0/24", "2001:db8:1::/64")}
OTHER = {"fw1": "fw2", "fw2": "fw1"}
ROUTER_PORTS = {"fw1": ("eth1", "lansw"), "fw2": ("eth2", "lansw2")}


def unicast_toml(topology: Topology, node: str) -> str:
    """A service address that only the master has, and a peer in another network."""
    ordinal = topology.ordinal(node)
    service = Vip(
        name="lan",
        interface="lan",
        vhid=1,
        addresses=(f"{SERVICE[0]}/24", f"{SERVICE[1]}/64"),
        peers=NEAR[OTHER[node]],
    )
    text = node_toml(topology, node, NodeSettings(vips=(service,), sync_interface=None))
    near4, near6 = NEAR[node]
    own = (f"{near4}/24", f"10.9.0.{ordinal + 1}/24", f"{near6}/64", f"2001:db8:9::{ordinal + 1}/64")
    routes = [
        f"[[interfaces.lan.routes]]\nto = {literal(to)}\nvia = {literal(via)}\n"
        for to, via in zip(FAR[node], GATEWAY[node], strict=True)
    ]
    return with_lan(topology, node, text, table("interfaces.lan", {"device": "lan0", "addresses": own}), *routes)


def with_lan(topology: Topology, node: str, text: str, *wanted: str) -> str:
    """A node's file with another ``[interfaces.lan]``."""
    standard = interface_table(topology, LAN, topology.ordinal(node))
    assert text.count(standard) == 1
    return text.replace(standard, "\n".join(wanted))


def add_router(lab: Lab) -> None:
    """Replaces the trunk between the two LAN switches by a router, in the namespace that `down` knows as rogue."""
    topology = lab.topology
    lab.cause(faults.cut_trunk(topology, "lan"))
    space = topology.namespace(faults.ROGUE)
    netns.batch("ip", None, [f"netns add {space}"])
    netns.write_sysctls(space, {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"})
    for node, (device, switch) in ROUTER_PORTS.items():
        far = topology.namespace(switch)
        netns.batch("ip", None, [f"link add {device} netns {space} type veth peer name router netns {far}"])
        netns.batch("ip", topology.namespace(switch), ["link set router master sw0", "link set router up"])
        lines = [f"addr add {GATEWAY[node][0]}/24 dev {device}", f"addr add {GATEWAY[node][1]}/64 dev {device} nodad"]
        netns.batch("ip", space, [*lines, f"link set {device} up", f"link show dev {device}"])


@pytest.fixture(scope="module")
def routed() -> Iterator[Lab]:
    topology = Topology(name=unique_name("c"), second_switch=True)
    files = {node: NodeSettings(text=unicast_toml(topology, node)) for node in topology.node_names}
    with Lab(topology, settings=files) as lab:
        add_router(lab)
        lab.wait_settled("fw1", deadline_s=SETTLE_S)
        yield lab


def test_adverts_pass_a_router_and_the_roles_are_right(routed: Lab) -> None:
    with tapped(routed, faults.ROGUE, "eth2") as behind, tapped(routed, faults.ROGUE, "eth1") as before:
        for number, family in enumerate((4, 6)):

            def passed(frame: Frame, family: int = family) -> bool:
                return frame.is_advert and frame.family == family

            sent, arrived = before.wait(passed, "an advert of fw1"), behind.wait(passed, "the same behind the router")
            assert (sent.source, sent.destination) == (NEAR["fw1"][number], NEAR["fw2"][number])
            assert (sent.ttl, arrived.ttl) == (255, 254)
            assert sent.source_mac == routed.topology.cable("fw1", "lan").device_mac, "routed: the real card's"
            assert arrived.payload == sent.payload
        behind.wait(lambda frame: frame.is_advert, "two more", count=4)
        unreachable = [frame for frame in behind.listen() if frame.protocol in (1, 58) and frame.payload[0] in (1, 3)]
        assert not unreachable, "protocol 112 has a listener"
    with undisturbed(routed):
        received = counter(routed, "fw2", "received")
        wait_until(lambda: counter(routed, "fw2", "received") >= received + 4, "fw2 hears two of each family")
        assert [each["address"] for each in vip(routed, "fw2")["peers"]] == list(NEAR["fw1"])
    for address in SERVICE:
        assert holders(routed, address) == ["fw1"]
    for node in OTHER:
        assert counter(routed, node, "bad_ttl") == 0
        assert not alarms(routed, node)


def test_a_master_behind_a_router_bows_out_to_its_peer(routed: Lab) -> None:
    with tapped(routed, faults.ROGUE, "eth2") as behind:
        said = routed.request("fw1", "ha", "disable", "--force")
        assert "disabled" in str(said["result"])
        routed.wait_for(lambda seen: is_all(seen.get("fw2"), "MASTER"), "fw2 takes over", SLACK_S)
        assert [frame.family for frame in behind.listen() if frame.is_advert and frame.advert.is_bow_out][:2] == [4, 6]
    assert NEAR["fw1"][0] in vip(routed, "fw2")["reason"]
    routed.request("fw1", "ha", "enable")
    routed.wait_settled("fw1", deadline_s=SETTLE_S)


def test_the_death_of_a_master_behind_a_router_is_survived(routed: Lab) -> None:
    routed.power_off("fw1")
    routed.wait_for(lambda seen: is_all(seen.get("fw2"), "MASTER"), "fw2 takes over", BOUND_S + SLACK_S)
    assert "timed out" in vip(routed, "fw2")["reason"]
    for address in SERVICE:
        assert holders(routed, address) == ["fw2"]


# ---------------------------------------- nothing but virtual addresses, further subnets, nothing but IPv6

ALIASES = ("10.20.0.1/24", "10.30.0.1/16")
BARE_LAN = Vip(name="lan", interface="lan", vhid=1, addresses=("192.168.1.1/24",), aliases=ALIASES)
WAN6 = Vip(name="wan", interface="wan", vhid=200, addresses=("2001:db8:ffff::200/64",))


@pytest.fixture(scope="module")
def bare() -> Iterator[Lab]:
    """The LAN interfaces have no address of their own, and three virtual ones; the WAN's VHID is IPv6 only."""
    topology = Topology(name=unique_name("c"))
    files = {}
    for node in topology.node_names:
        text = node_toml(topology, node, NodeSettings(vips=(BARE_LAN, WAN6)))
        files[node] = NodeSettings(text=with_lan(topology, node, text, table("interfaces.lan", {"device": "lan0"})))
    with Lab(topology, settings=files) as lab:
        netns.batch("ip", topology.namespace("client"), ["addr add 10.20.0.100/24 dev eth0"])
        netns.batch("ip", topology.namespace("client"), ["addr add 10.30.0.100/16 dev eth0"])
        lab.wait_settled("fw1", deadline_s=SETTLE_S)
        yield lab


def reaches(lab: Lab) -> None:
    """Client and server find every virtual address at the virtual MAC."""
    for address in ("192.168.1.1", "10.20.0.1", "10.30.0.1"):
        assert pings(lab, "client", address), address
        assert neighbour(lab, "client", address) == VIRTUAL_MAC, address
    assert pings(lab, "server", "2001:db8:ffff::200")
    assert neighbour(lab, "server", "2001:db8:ffff::200") == "00:00:5e:00:01:c8"


def test_without_own_addresses_there_is_one_master_that_answers_for_every_subnet(bare: Lab) -> None:
    for node in ("fw1", "fw2"):
        own = bare.exec(node, "ip", "-o", "addr", "show", "dev", "lan0").stdout
        assert "inet " not in own
        assert "scope global" not in own
    with tapped(bare, "lansw", "fw1") as wire, undisturbed(bare):
        frame = wire.wait(lambda frame: frame.is_advert, "three adverts", count=3)
        assert (frame.source, frame.source_mac) == ("0.0.0.0", VIRTUAL_MAC)
        assert len([frame for frame in wire.listen() if frame.is_advert]) == 3, "an alias sends no advert of its own"
    assert counter(bare, "fw2", "looped") == 0
    reaches(bare)
    assert bare.exec("fw1", "ping", "-c", "1", "-W", "1", "192.168.1.100").returncode == 0
    assert "192.168.1.0/24" not in bare.exec("fw2", "ip", "route").stdout, "a backup has no way into the LAN"


def test_a_vhid_with_nothing_but_ipv6_sends_nothing_over_ipv4(bare: Lab) -> None:
    with tapped(bare, "wansw", "fw1") as wire:
        wire.wait(lambda frame: frame.is_advert, "two adverts", count=2)
        assert {frame.family for frame in wire.listen() if frame.is_advert} == {6}
    assert vip(bare, "fw2", "wan")["peers"][0]["address"].startswith("fe80::")


def test_without_own_addresses_the_roles_move_and_come_back(bare: Lab) -> None:
    bare.stop("fw1")
    bare.wait_for(lambda seen: is_all(seen.get("fw2"), "MASTER"), "fw2 takes over", SLACK_S)
    reaches(bare)
    bare.start("fw1")
    bare.wait_settled("fw1", deadline_s=SETTLE_S)
    reaches(bare)
    assert "192.168.1.0/24" not in bare.exec("fw2", "ip", "route").stdout


def test_without_own_addresses_a_silent_death_is_survived_within_the_protocols_bound(bare: Lab) -> None:
    def one_master(seen: Mapping[str, JsonObject]) -> bool:
        return states(seen.get("fw2")) == {"lan": "MASTER", "wan": "MASTER"}

    bare.pull("fw1", "sync")
    bare.power_off("fw1")
    bare.wait_for(one_master, "fw2 takes over", BOUND_S + SLACK_S)
    reaches(bare)
