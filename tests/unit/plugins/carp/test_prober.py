"""Dead node or dead cable: what is asked, and which answers lead to which verdict. In virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, ip_address

import pytest
import trio
import trio.testing

from appliance.net import frames
from appliance_carp import reception
from appliance_carp.prober import ROUND_S, ROUNDS, examine, suspects
from appliance_carp.vocabulary import State
from tests.unit.plugins.carp.fakes import LAN, PEER, VIPS, WAN, Peer, Rig

MakeRig = Callable[..., Rig]
PEER_MAC = bytes.fromhex("020000000103")


def examined(make_rig: MakeRig, prepare: Callable[[Rig], None]) -> Rig:
    """A BACKUP of fw2 that was prepared and has then looked for its peer."""

    async def main() -> Rig:
        await trio.sleep(100)  # the fakes' own default: nothing happens at zero
        rig = make_rig(now=trio.current_time()).plugged()
        follow(rig, Peer())
        prepare(rig)
        await trio.sleep(0.5)
        await examine(rig.station)
        return rig

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def follow(rig: Rig, peer: Peer) -> None:
    rig.take("lan", peer.hello(state=State.MASTER), peer.advert(LAN))
    rig.take("wan", peer.advert(WAN))


def answering(rig: Rig, *interfaces: str) -> None:
    """The peer's kernel answers ARP on these networks."""
    for name in interfaces:
        port, arp = rig.station.ports[name], rig.sockets(name)[2]

        def answer(frame: bytes, port=port) -> None:  # type: ignore[no-untyped-def]
            asked = frames.parse_arp(frame)
            assert asked is not None
            reply = frames.gratuitous_arp(PEER_MAC, asked.target_ip)
            reception.take_arp(rig.station, port, reply, trio.current_time())

        arp.answer = answer


def asked(rig: Rig, interface: str) -> list[str]:
    found = [frames.parse_arp(frame) for frame in rig.sockets(interface)[2].sent]
    return [str(each.target_ip) for each in found if each is not None]


def verdict(rig: Rig) -> str:
    (said,) = [name for _, name, _ in rig.ctx.log.lines if name.startswith("carp_probe")]
    return said.removeprefix("carp_probe_")


def test_a_peer_that_answers_nowhere_is_dead_and_is_followed_at_once(make_rig: MakeRig) -> None:
    rig = examined(make_rig, lambda rig: None)
    assert verdict(rig) == "dead"
    assert rig.states() == {State.MASTER}
    assert rig.machine.report(LAN).reason == "fw2 is dead: sync link lost, no answer on any network"
    assert [fact.alive for fact in rig.station.herald.facts.values()] == [False]
    assert [view.alive for view in rig.station.herald.peers.views()] == [False]


def test_an_answer_on_any_one_network_means_alive(make_rig: MakeRig) -> None:
    for interface in ("lan", "wan"):
        rig = examined(make_rig, lambda rig, interface=interface: answering(rig, interface))
        assert verdict(rig) == "alive"
        assert rig.states() == {State.BACKUP}
        assert [view.alive for view in rig.station.herald.peers.views()] == [True]


def test_every_network_is_asked_in_every_round_with_our_own_address(make_rig: MakeRig) -> None:
    rig = examined(make_rig, lambda rig: None)
    assert asked(rig, "lan")[:ROUNDS] == [f"192.168.1.{PEER}"] * ROUNDS
    assert asked(rig, "wan")[:ROUNDS] == [f"198.51.100.{PEER}"] * ROUNDS
    first = frames.parse_arp(rig.sockets("lan")[2].sent[0])
    assert first is not None
    assert (str(first.sender_ip), frames.mac_text(first.sender_mac)) == ("192.168.1.2", rig.station.ports["lan"].mac)


def test_a_verdict_takes_some_milliseconds(make_rig: MakeRig) -> None:
    rig = examined(make_rig, lambda rig: None)
    since = rig.machine.report(LAN).since
    assert since - 100.5 == pytest.approx(ROUNDS * ROUND_S)


def test_where_nobody_can_be_asked_there_is_no_verdict(make_rig: MakeRig) -> None:
    def cut_off(rig: Rig) -> None:
        rig.station.ports["lan"].up = False
        rig.station.ports["wan"].learn_addresses([])

    rig = examined(make_rig, cut_off)
    assert verdict(rig) == "impossible"
    assert rig.states() == {State.BACKUP}


def test_a_network_without_link_is_no_witness_but_the_others_are(make_rig: MakeRig) -> None:
    def half(rig: Rig) -> None:
        rig.station.ports["lan"].up = False
        answering(rig, "wan")

    assert verdict(examined(make_rig, half)) == "alive"


def test_an_old_answer_counts_for_nothing(make_rig: MakeRig) -> None:
    def before(rig: Rig) -> None:
        rig.station.answered = {f"192.168.1.{PEER}": trio.current_time()}

    assert verdict(examined(make_rig, before)) == "dead"


def test_an_advert_in_the_meantime_means_alive_too(make_rig: MakeRig) -> None:
    def speaks_late(rig: Rig) -> None:
        peer = Peer()
        peer.hosts[LAN].stamper.heard(rig.station.hosts[LAN].stamper.sequence + 10)

        def speak(frame: bytes) -> None:
            rig.now = trio.current_time()
            rig.take("lan", peer.advert())

        rig.sockets("lan")[2].answer = speak

    rig = examined(make_rig, speaks_late)
    assert rig.states() == {State.BACKUP}
    assert [view.alive for view in rig.station.herald.peers.views()] == [True]


def test_a_master_suspects_nobody(rig: Rig) -> None:
    rig.take("lan", Peer().hello())
    rig.master()
    assert suspects(rig.station) == {}


def test_a_peer_without_hellos_is_asked_where_its_adverts_come_from(rig: Rig) -> None:
    rig.take("lan", Peer().advert())
    assert suspects(rig.station) == {f"192.168.1.{PEER}": {"lan": {IPv4Address(f"192.168.1.{PEER}")}}}


def test_only_ipv4_addresses_on_networks_of_ours_are_asked(rig: Rig) -> None:
    peer = Peer()
    sources = {"lan": (peer.source("lan"), "fe80::3"), "dmz": ("10.0.0.3",), "sync": ("172.16.1.3",)}
    rig.take("lan", peer.hello(sources=sources), peer.advert())
    assert suspects(rig.station) == {"fw2": {"lan": {ip_address(peer.source("lan"))}, "wan": set()}}


def test_only_the_hosts_of_the_dead_node_move(make_rig: MakeRig) -> None:
    async def main() -> Rig:
        await trio.sleep(100)
        rig = make_rig(now=trio.current_time()).plugged()
        two, three = Peer(), Peer(*(replace(each, advskew=10) for each in VIPS), name="fw3", number=4)
        rig.take("lan", two.hello(state=State.MASTER), three.hello(state=State.MASTER), two.advert(LAN))
        rig.take("wan", three.advert(WAN))

        def answer(frame: bytes) -> None:
            reply = frames.gratuitous_arp(PEER_MAC, IPv4Address(three.source("wan")))
            reception.take_arp(rig.station, rig.station.ports["wan"], reply, trio.current_time())

        rig.sockets("wan")[2].answer = answer
        await trio.sleep(0.5)
        await examine(rig.station)
        return rig

    rig = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [fact.alive for name, fact in sorted(rig.station.herald.facts.items())] == [False, True]
    assert rig.state(WAN) is State.BACKUP
