"""What is measured between the nodes: which frames are sent for it, and what the answers are taken for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import trio
import trio.testing

from appliance.net import frames
from appliance_carp import hello, reception
from appliance_carp.events import GetReach
from appliance_carp.reach import ROUND_S, ROUNDS, Reach
from appliance_carp.vocabulary import State
from tests.unit.plugins.carp.fakes import CARDS, LAN, PEER, VIPS, WAN, Peer, Rig, framed

MakeRig = Callable[..., Rig]
PEER_MAC = "02:00:00:00:01:03"


def measured(
    make_rig: MakeRig, prepare: Callable[[Rig, Peer], None], **settings: Any
) -> tuple[Rig, dict[str, dict[str, Any]], float]:
    """The rows by interface of a BACKUP whose peer is MASTER, and how long it took."""

    async def main() -> tuple[Rig, dict[str, dict[str, Any]], float]:
        await trio.sleep(100)
        rig = make_rig(now=trio.current_time(), **settings).plugged()
        peer = Peer()
        rig.take("lan", peer.hello(state=State.MASTER), peer.advert(LAN))
        rig.take("wan", peer.advert(WAN))
        prepare(rig, peer)
        begun = trio.current_time()
        rows = await Reach(rig.station).answer(GetReach())
        return rig, {row["interface"]: row for row in rows}, trio.current_time() - begun

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def greet(rig: Rig, peer: Peer) -> None:
    """The same hello on every network, as nodes send it."""
    (payload,) = hello.encode(peer.next_hello(State.MASTER), peer.key)
    for interface in ("lan", "wan", "sync"):
        rig.take(interface, framed(payload, peer.source(interface)))


def answer(rig: Rig, *interfaces: str, virtual: bool = True) -> None:
    """The peer's kernel answers ARP on these networks: at its own MAC, and perhaps at the virtual one."""
    for name in interfaces:
        port = next(port for port in rig.station.all_ports() if port.name == name)

        def reply(frame: bytes, port: Any = port) -> None:
            asked = frames.parse_arp(frame)
            assert asked is not None
            is_virtual = frame[:6] != frames.BROADCAST_MAC
            if virtual or not is_virtual:
                mac = frame[:6] if is_virtual else frames.mac_bytes(PEER_MAC)
                reception.take_arp(rig.station, port, frames.gratuitous_arp(mac, asked.target_ip), trio.current_time())

        rig.sockets(name)[2].answer = reply


def healthy(rig: Rig, peer: Peer) -> None:
    greet(rig, peer)
    answer(rig, "lan", "wan", "sync")


def test_between_healthy_nodes_everything_arrives_and_it_is_known_at_once(make_rig: MakeRig) -> None:
    rig, rows, took_s = measured(make_rig, healthy)
    assert set(rows) == {"lan", "wan", "sync"}
    for interface, vhids in (("lan", [1]), ("wan", [2]), ("sync", [])):
        row = rows[interface]
        assert (row["peer"], row["alive"], row["arp"], row["hello"]) == ("fw2", True, True, True)
        assert (row["master"], row["unheard"], row["deaf"], row["both"]) == (vhids, [], [], [])
    assert abs(took_s - ROUND_S) < 1e-6
    assert rig.states() == {State.BACKUP}


def test_the_virtual_mac_is_asked_by_itself_for_the_virtual_address(make_rig: MakeRig) -> None:
    rig, _, _ = measured(make_rig, healthy)
    sent = [frame for frame in rig.sockets("lan")[2].sent if frame[:6] == frames.mac_bytes("00:00:5e:00:01:01")]
    asked = frames.parse_arp(sent[0])
    assert asked is not None
    assert (str(asked.sender_ip), str(asked.target_ip)) == ("192.168.1.2", "192.168.1.1")
    assert frames.mac_text(asked.sender_mac) == CARDS["lan0"]


def test_a_mac_that_does_not_answer_is_asked_for_a_while_and_told(make_rig: MakeRig) -> None:
    def prepare(rig: Rig, peer: Peer) -> None:
        greet(rig, peer)
        answer(rig, "lan", "wan", "sync", virtual=False)

    rig, rows, took_s = measured(make_rig, prepare)
    assert (rows["lan"]["arp"], rows["lan"]["deaf"]) == (True, [1])
    assert abs(took_s - ROUNDS * ROUND_S) < 1e-6
    assert len(rig.sockets("lan")[2].sent) == 2 * ROUNDS


def test_a_network_on_which_no_hello_came_is_told(make_rig: MakeRig) -> None:
    _, rows, _ = measured(make_rig, lambda rig, peer: answer(rig, "lan"))
    assert (rows["lan"]["hello"], rows["lan"]["arp"], rows["wan"]["arp"]) == (False, True, False)
    _, rows, _ = measured(make_rig, lambda rig, peer: answer(rig, "lan"), hello="sync")
    assert (rows["lan"]["hello"], rows["sync"]["hello"]) == (None, False)


def test_adverts_that_have_stopped_are_told_and_those_that_are_not_believed_apart(make_rig: MakeRig) -> None:
    def silence(rig: Rig, peer: Peer) -> None:
        healthy(rig, peer)
        rig.station.hosts[LAN].seen.clear()
        rig.station.hosts[WAN].seen.clear()
        stranger = Peer(*(replace(each, password="other") for each in VIPS))
        rig.take("wan", stranger.advert(WAN))

    _, rows, _ = measured(make_rig, silence)
    assert (rows["lan"]["unheard"], rows["lan"]["refused"]) == ([1], [])
    assert (rows["wan"]["unheard"], rows["wan"]["refused"]) == ([], [2])


def test_two_masters_are_told(make_rig: MakeRig) -> None:
    def split(rig: Rig, peer: Peer) -> None:
        rig.master()
        rig.take("lan", peer.hello(state=State.MASTER))

    _, rows, _ = measured(make_rig, split)
    assert (rows["lan"]["both"], rows["wan"]["both"]) == ([1], [2])


def test_where_the_other_node_has_no_link_nothing_is_asked(make_rig: MakeRig) -> None:
    _, rows, _ = measured(make_rig, lambda rig, peer: rig.take("lan", peer.hello(state=State.INIT)))
    assert set(rows) == {"sync"}


def test_the_probe_for_a_dead_node_goes_before(make_rig: MakeRig) -> None:
    def interrupted(rig: Rig, peer: Peer) -> None:
        healthy(rig, peer)
        socket = rig.sockets("wan")[2]

        def other_book(frame: bytes) -> None:
            rig.station.answered = {f"192.168.1.{PEER}": -1.0}

        socket.answer = other_book

    rig, rows, _ = measured(make_rig, interrupted)
    assert rows["lan"]["arp"] is None
    assert set(rig.station.answered) == {f"192.168.1.{PEER}"}
