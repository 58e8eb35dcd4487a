"""Two nodes that cannot hear each other, and what happens when they can again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address

import pytest

from appliance.lab import Lab, faults
from appliance.lab.waiting import is_all, wait_until
from tests.netns.carp.scenes import ALL_VIPS, SWITCH, VIPS, VIRTUAL_MAC, held, one_master
from tests.netns.carp.wires import Frame, Wire, tapped
from tests.netns.carp.words import carp, neighbour, pings, undisturbed, vip

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.fixture
def split(cluster: Lab) -> Iterator[list[str]]:
    """Nothing passes between the nodes on any network, and nobody loses a carrier; the names of the faults."""
    names = []
    for network in ("lan", "wan", "sync"):
        names.append(cluster.pull("fw2", network, "blocked").name)
    cluster.wait_for(lambda seen: all(is_all(seen.get(node), "MASTER") for node in ("fw1", "fw2")), "both are master")
    yield names
    cluster.undo_all()
    one_master(cluster)


def heal(lab: Lab, names: list[str]) -> None:
    for name in names:
        lab.undo(name)
    names.clear()


def test_a_healed_split_has_one_master_which_announces_every_address_again(cluster: Lab, split: list[str]) -> None:
    assert held(cluster, "fw1") == held(cluster, "fw2") == ALL_VIPS, "as the protocol has it"
    assert pings(cluster, "client", VIPS["lan"][0]), "the client does not notice"
    before = {each["name"]: each["counters"]["transitions"] for each in carp(cluster, "fw1")["vips"]}
    with ExitStack() as stack:
        # What fw1 says reaches fw2's cable, and everybody else's.
        wires = {network: stack.enter_context(tapped(cluster, switch, "fw1")) for network, switch in SWITCH.items()}
        heal(cluster, split)
        one_master(cluster)
        for network, wire in wires.items():
            for each in VIPS[network]:
                wire.wait(lambda frame, each=each: announces(frame, each), f"an announcement of {each}")  # type: ignore[misc]
            assert_order(wire, network)
    after = {each["name"]: each["counters"]["transitions"] for each in carp(cluster, "fw1")["vips"]}
    assert after == before, "the better master never moved"
    for node in ("fw1", "fw2"):
        assert carp(cluster, node)["demotion"] == 0
    assert pings(cluster, "client", VIPS["lan"][0])
    assert neighbour(cluster, "client", VIPS["lan"][0]) == VIRTUAL_MAC["lan"]


def announces(frame: Frame, wanted: str) -> bool:
    """A gratuitous ARP request or an unsolicited neighbour advertisement of fw1 for this address."""
    if frame.outgoing or frame.source_mac not in VIRTUAL_MAC.values():
        return False
    address = ip_address(wanted).packed
    if frame.ethertype == 0x0806:
        return frame.raw[28:32] == frame.raw[38:42] == address
    return (
        frame.family == 6
        and frame.protocol == 58
        and frame.payload[0] == 136
        and not frame.payload[4] & 0x40
        and frame.payload[8:24] == address
    )


def assert_order(wire: Wire, network: str) -> None:
    """The last that carries the virtual MAC on this network is what fw1 said: the switches know where it is."""
    frames = [frame for frame in wire.listen() if frame.source_mac == VIRTUAL_MAC[network]]
    assert not frames[-1].outgoing, "outgoing at the switch port of fw1 is what others said"


def test_heartbeats_of_one_family_alone_keep_the_roles(cluster: Lab) -> None:
    """IPv4 multicast is lost on every network; what IPv6 says is proof enough that the master lives."""
    with undisturbed(cluster), ExitStack() as stack:
        for network in ("lan", "wan", "sync"):
            loss = faults.lose(cluster.topology, "fw2", network, "to", match="ip protocol 112")
            stack.enter_context(cluster.during(loss))
        sent = vip(cluster, "fw1")["counters"]["sent"]
        wait_until(lambda: vip(cluster, "fw1")["counters"]["sent"] >= sent + 10, "more than the dead interval")
