"""The virtual MAC's data path: where addresses are, who answers for them, and that a BACKUP is deaf and mute."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from appliance.lab import Lab, netns
from appliance.lab.measure import ProbeResult
from appliance.lab.waiting import wait_until
from tests.netns.carp.scenes import (
    ALL_VIPS,
    CONFIRM_S,
    OWN,
    OWN_MAC,
    SERVER,
    VIPS,
    VIRTUAL_MAC,
    answers,
    answers_of,
    appliance,
    closed,
    datagram,
    heartbeat_pid,
    held,
    igmp_query,
    knobs,
    links,
    mld_query,
    one_master,
    question,
    said,
    wait_empty,
    wait_moved,
    who_is_there,
    without_loss,
)
from tests.netns.carp.wires import Frame, Wire, tapped
from tests.netns.carp.words import Row, events, heartbeat, last_seq, neighbour, undisturbed

pytestmark = [pytest.mark.netns, pytest.mark.slow]

FLOOD = 20
"""Frames thrown at a BACKUP."""


@pytest.fixture(params=[4, 6])
def family(request: pytest.FixtureRequest) -> int:
    return int(request.param)


# ----------------------------------------------------------------------------------- addresses and who answers


def test_the_virtual_addresses_are_on_the_master_only_as_host_addresses(cluster: Lab) -> None:
    assert held(cluster, "fw1") == ALL_VIPS
    wait_empty(cluster, "fw2")
    for name, row in links(cluster, "fw1").items():
        for info in row.get("addr_info", []) if ".v" in name else []:
            assert info["prefixlen"] == (32 if info["family"] == "inet" else 128), "no second connected route"
    for node in ("fw1", "fw2"):
        for network, vmac in VIRTUAL_MAC.items():
            vhid = int(vmac[-2:], 16)
            assert links(cluster, node)[f"{network}0.v{vhid}"]["address"] == vmac


def test_only_the_virtual_mac_answers_for_a_virtual_address_and_only_the_card_for_its_own(
    cluster: Lab, family: int
) -> None:
    which = 0 if family == 4 else 1
    with tapped(cluster, "client", "eth0") as wire:
        assert answers(cluster, wire, VIPS["lan"][which]) == [VIRTUAL_MAC["lan"]]
        assert answers(cluster, wire, OWN["fw1"][which]) == [OWN_MAC["fw1"]]
        assert answers(cluster, wire, OWN["fw2"][which]) == [OWN_MAC["fw2"]]


def test_a_backup_that_is_asked_at_its_own_cable_does_not_answer(cluster: Lab, family: int) -> None:
    vip = VIPS["lan"][0 if family == 4 else 1]
    assert answers_of(cluster, "fw1", vip) == [VIRTUAL_MAC["lan"]]
    assert answers_of(cluster, "fw2", vip) == []


def test_a_node_that_sends_from_a_virtual_address_does_not_teach_its_own_mac(cluster: Lab) -> None:
    """The kernel's question for an unknown neighbour would carry the address of the packet and the card's MAC."""
    cluster.exec("client", "ping", "-c", "1", "-W", "1", VIPS["lan"][0])
    with tapped(cluster, "client", "eth0") as wire:
        cluster.exec("fw1", "ping", "-c", "1", "-W", "0.1", "-I", VIPS["lan"][0], "192.168.1.77", check=False)
        asked = wire.wait(
            lambda frame: frame.ethertype == 0x0806 and frame.raw[38:42] == bytes((192, 168, 1, 77)), "its question"
        )
    assert asked.source_mac == OWN_MAC["fw1"]
    assert asked.raw[28:32] == bytes((192, 168, 1, 2)), "it says who really asks"
    assert neighbour(cluster, "client", VIPS["lan"][0]) == VIRTUAL_MAC["lan"]


# ------------------------------------------------------------------------------------------ over role changes


@pytest.fixture
def learned(cluster: Lab) -> Iterator[None]:
    """What the client learns about its neighbours is watched, and must be right for the virtual addresses."""
    said: list[str] = []
    monitor = cluster.popen("client", "ip", "-ts", "monitor", "neigh", stderr=subprocess.DEVNULL)
    try:
        yield
        # A change of ours ends the waiting: everything before it has been printed.
        cluster.exec("client", "ip", "neigh", "replace", "192.168.1.250", "lladdr", "02:00:00:00:00:01", "dev", "eth0")
        assert monitor.stdout is not None
        for line in monitor.stdout:
            if line.startswith("192.168.1.250") or " 192.168.1.250 " in line:
                break
            said.append(line)
        for vip in VIPS["lan"]:
            macs = {line.split(" lladdr ")[1].split()[0] for line in said if f" {vip} " in line and " lladdr " in line}
            assert macs <= {VIRTUAL_MAC["lan"]}, said
    finally:
        monitor.kill()
        monitor.wait()
        assert monitor.stdout is not None
        monitor.stdout.close()
        cluster.exec("client", "ip", "neigh", "del", "192.168.1.250", "dev", "eth0", check=False)


@pytest.mark.usefixtures("learned")
def test_the_neighbour_entries_of_the_client_never_change(cluster: Lab) -> None:
    for address in (*VIPS["lan"], *OWN["fw1"], *OWN["fw2"]):
        cluster.exec("client", "ping", "-c", "1", "-W", "2", address)
    try:
        with cluster.probe("udp", seconds=60) as four, cluster.probe("udp", seconds=60, family=6) as six:
            four.wait_flowing()
            six.wait_flowing()
            said(cluster, "fw1", "ha", "switchover")
            wait_moved(cluster, "fw2", "fw1")
            said(cluster, "fw1", "ha", "enable")
            one_master(cluster)
            cluster.pull("fw1", "lan")
            wait_moved(cluster, "fw2", "fw1", states=("BACKUP", "INIT"))
            cluster.plug("fw1", "lan")
            one_master(cluster)
            assert four.stop().survived
            assert six.stop().survived
    finally:
        said(cluster, "fw1", "ha", "enable")
    wanted = dict.fromkeys(VIPS["lan"], VIRTUAL_MAC["lan"])
    wanted |= {own: OWN_MAC[node] for node in OWN for own in OWN[node]}
    assert {address: neighbour(cluster, "client", address) for address in wanted} == wanted


def test_a_virtual_ipv6_address_is_usable_at_once(cluster: Lab) -> None:
    """No duplicate address detection: it would cost a second, and after a split brain it would never end."""
    with tapped(cluster, "lansw", "fw2") as lan, tapped(cluster, "wansw", "fw2") as wan:
        try:
            said(cluster, "fw1", "ha", "switchover")
            shown = links(cluster, "fw2")
            wait_moved(cluster, "fw2", "fw1")
        finally:
            said(cluster, "fw1", "ha", "enable")
        one_master(cluster)
        heard = [*lan.listen(), *wan.listen()]
    found = [
        info for name, row in shown.items() if ".v" in name for info in row["addr_info"] if info["family"] == "inet6"
    ]
    assert {info["local"] for info in found} == {vips[1] for vips in VIPS.values()}
    assert not [info for info in found if info.get("tentative") or info.get("dadfailed")]
    asked = [frame for frame in heard if frame.protocol == 58 and frame.source == "::" and frame.payload[0] == 135]
    assert asked == [], "nobody asks whether the address is free"


def test_a_planned_handover_loses_no_ipv6_packet_either(cluster: Lab) -> None:
    def attempt() -> ProbeResult:
        one_master(cluster)
        with cluster.probe("udp", seconds=60, family=6) as probe:
            probe.wait_flowing()
            said(cluster, "fw1", "ha", "switchover")
            wait_moved(cluster, "fw2", "fw1")
            said(cluster, "fw1", "ha", "enable")
            one_master(cluster)
            return probe.stop()

    without_loss(attempt)


# ------------------------------------------------------------------------------------------------- deaf


class Flood:
    """Frames to the virtual MAC at one node's LAN cable, and a look at what comes out at its WAN cable."""

    def __init__(self, lan: Wire, wan: Wire, node: str) -> None:
        self._lan, self._wan, self._node = lan, wan, node
        self._rounds = 0

    def forwarded(self, family: int) -> int:
        """How many of `FLOOD` frames the node forwards. One for its own MAC goes the same way and comes last."""
        self._rounds += 1
        mark, end = f"flood {self._rounds}".encode(), f"end {self._rounds}".encode()
        self._lan.send(*[datagram(VIRTUAL_MAC["lan"], mark, family=family)] * FLOOD)
        self._lan.send(datagram(OWN_MAC[self._node], end, family=family))
        self._wan.wait(lambda frame: _carries(frame, end), "the last frame", deadline_s=CONFIRM_S)
        return len([frame for frame in self._wan.listen() if _carries(frame, mark)])


def _carries(frame: Frame, mark: bytes) -> bool:
    return not frame.outgoing and frame.protocol == 17 and frame.payload[8:] == mark


@pytest.fixture
def flood(cluster: Lab) -> Iterator[Flood]:
    # The node's way to the server is known, so that nothing waits for an answer.
    for server in SERVER:
        cluster.exec("fw2", "ping", "-c", "1", "-W", "2", server)
    with tapped(cluster, "lansw", "fw2") as lan, tapped(cluster, "wansw", "fw2") as wan:
        yield Flood(lan, wan, "fw2")


def test_the_master_forwards_what_is_sent_to_the_virtual_mac(cluster: Lab, family: int) -> None:
    for server in SERVER:
        cluster.exec("fw1", "ping", "-c", "1", "-W", "2", server)
    with tapped(cluster, "lansw", "fw1") as lan, tapped(cluster, "wansw", "fw1") as wan:
        assert Flood(lan, wan, "fw1").forwarded(family) == FLOOD


def test_a_backup_forwards_nothing_that_a_switch_floods_to_it(cluster: Lab, flood: Flood, family: int) -> None:
    assert flood.forwarded(family) == 0


def test_a_backup_takes_nothing_in_that_is_sent_to_the_virtual_mac(cluster: Lab) -> None:
    with tapped(cluster, "lansw", "fw2") as wire:
        ping = datagram(VIRTUAL_MAC["lan"], b"for the node itself")
        wire.send(ping[:30] + bytes((192, 168, 1, 3)) + ping[34:])
        assert answers(cluster, wire, VIPS["lan"][0], ("fw2",)) == []
        assert not [frame for frame in wire.listen() if not frame.outgoing and frame.protocol == 1], "no ICMP error"


def test_somebody_elses_sysctl_writes_are_undone_and_meanwhile_the_drop_rule_holds(cluster: Lab, flood: Flood) -> None:
    """Writing these two resets every device of the machine, with the heartbeat process unable to do anything."""
    devices = [f"{network}0.v{int(vmac[-2:], 16)}" for network, vmac in VIRTUAL_MAC.items()]
    assert [knobs(cluster, "fw2", device) for device in devices] == [("0", "1")] * 2
    assert closed(cluster, "fw2") == set(devices)
    pid = heartbeat_pid(cluster, "fw2")
    with undisturbed(cluster):
        os.kill(pid, signal.SIGSTOP)
        try:
            sysctls = {"net/ipv4/ip_forward": "0", "net/ipv6/conf/all/disable_ipv6": "0"}
            netns.write_sysctls(cluster.topology.namespace("fw2"), sysctls)
            netns.write_sysctls(cluster.topology.namespace("fw2"), {"net/ipv4/ip_forward": "1"})
            assert [knobs(cluster, "fw2", device) for device in devices] == [("1", "0")] * 2, (
                "the kernel has opened both"
            )
            assert [flood.forwarded(4), flood.forwarded(6)] == [0, 0]
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(
            lambda: [knobs(cluster, "fw2", device) for device in devices] == [("0", "1")] * 2, "the gate is repaired"
        )
        assert [flood.forwarded(4), flood.forwarded(6)] == [0, 0]


def test_a_master_survives_the_same_sysctl_writes(cluster: Lab) -> None:
    namespace = cluster.topology.namespace("fw1")
    with undisturbed(cluster):
        for value in ("1", "0"):
            netns.write_sysctls(namespace, {"net/ipv6/conf/all/disable_ipv6": value})
        netns.write_sysctls(namespace, {"net/ipv4/ip_forward": "0"})
        netns.write_sysctls(namespace, {"net/ipv4/ip_forward": "1"})
        wait_until(lambda: held(cluster, "fw1") == ALL_VIPS, "the virtual IPv6 addresses are back", 5)
        wait_until(lambda: len(answers_of(cluster, "fw1", VIPS["lan"][1])) == 1, "and answer")


def test_a_virtual_address_that_was_removed_by_hand_comes_back(cluster: Lab) -> None:
    with undisturbed(cluster):
        cluster.exec("fw1", "ip", "address", "flush", "dev", "lan0.v1")
        wait_until(lambda: held(cluster, "fw1") == ALL_VIPS, "both are back", CONFIRM_S)
        assert answers_of(cluster, "fw1", VIPS["lan"][0]) == [VIRTUAL_MAC["lan"]]


def test_a_flushed_ruleset_is_noticed_and_the_drop_rule_comes_back(cluster: Lab, flood: Flood) -> None:
    """What ``systemctl reload nftables`` does on Debian: its file begins with ``flush ruleset``."""
    with undisturbed(cluster):
        before = closed(cluster, "fw2")
        for node in ("fw1", "fw2"):
            cluster.exec(node, "nft", "flush", "ruleset")
        assert flood.forwarded(4) == 0, "the other locks hold in between"
        wait_until(lambda: "deaf" in cluster.exec("fw2", "nft", "list", "ruleset").stdout, "the rule is back", 5)
        assert closed(cluster, "fw2") == before
        wait_until(lambda: "deaf" in cluster.exec("fw1", "nft", "list", "ruleset").stdout, "on the master as well", 5)
        assert closed(cluster, "fw1") == frozenset()


def test_a_flushed_ruleset_stops_no_handover(cluster: Lab) -> None:
    restarts = [heartbeat(cluster, node)["restarts"] for node in ("fw1", "fw2")]
    for node in ("fw1", "fw2"):
        cluster.exec(node, "nft", "flush", "ruleset")
    try:
        assert appliance(cluster, "fw1", "ha", "switchover").returncode == 0
        wait_moved(cluster, "fw2", "fw1")
        assert held(cluster, "fw2") == ALL_VIPS
        wait_until(lambda: not held(cluster, "fw1"), "fw1 has given all up", CONFIRM_S)
        assert [heartbeat(cluster, node)["restarts"] for node in ("fw1", "fw2")] == restarts
    finally:
        said(cluster, "fw1", "ha", "enable")
    one_master(cluster)


# ------------------------------------------------------------------------------------------------- mute


def test_a_backup_never_speaks_with_the_virtual_mac(cluster: Lab) -> None:
    """Over a whole cycle: provoked as BACKUP, MASTER for a while, provoked as BACKUP again."""
    before = last_seq(cluster, "fw2")
    with tapped(cluster, "lansw", "fw2") as lan, tapped(cluster, "wansw", "fw2") as wan:
        wires = {"lan": lan, "wan": wan}
        provoke(cluster)
        assert spoken(lan, "lan") == spoken(wan, "wan") == []
        try:
            said(cluster, "fw1", "ha", "switchover")
            wait_moved(cluster, "fw2", "fw1")
            for network, wire in wires.items():
                wire.wait(lambda frame, mine=VIRTUAL_MAC[network]: frame.source_mac == mine, "fw2 as master")  # type: ignore[misc]
        finally:
            said(cluster, "fw1", "ha", "enable")
        one_master(cluster)
        provoke(cluster)
        changes = events(cluster, "fw2", "RoleChanged", after=before)
        for network, wire in wires.items():
            assert spoken(wire, network)[0].is_advert
            [gave_up] = [row["wall"] for row in changes if is_change(row, network, "BACKUP")]
            assert [frame for frame in spoken(wire, network) if frame.at > gave_up] == []


def is_change(row: Row, network: str, role: str) -> bool:
    return (row["event"]["interface"], row["event"]["role"]) == (network, role)


def provoke(lab: Lab) -> None:
    """Everything that makes a host speak which believes an address or a group to be its own."""
    with tapped(lab, "lansw", "fw2") as wire:
        wire.send(igmp_query(), mld_query(), who_is_there())
        wire.send(*(question(vip) for vip in VIPS["lan"]))
        wire.send(datagram(VIRTUAL_MAC["lan"], b"provocation"), datagram(VIRTUAL_MAC["lan"], b"provocation", family=6))
        # The card's own groups are reported by the same kernel, after the same random delay.
        wire.wait(is_mld_report, "the card's report", deadline_s=CONFIRM_S)
        assert answers(lab, wire, VIPS["lan"][0], ("fw2",)) == []


def is_mld_report(frame: Frame) -> bool:
    """ICMPv6 type 131 or 143 behind a hop-by-hop option of 8 bytes."""
    return frame.family == 6 and not frame.outgoing and frame.ip[6] == 0 and frame.ip[48] in (131, 143)


def spoken(wire: Wire, network: str) -> list[Frame]:
    return [frame for frame in wire.listen() if frame.source_mac == VIRTUAL_MAC[network] and not frame.outgoing]
