"""The protocol as the service sees it: the contract of its calls, and that no datagram can hurt it."""

from __future__ import annotations

import random
from typing import Any

import pytest

from appliance_pfsync.flow import FLOW4, Op
from appliance_pfsync.native.effects import (
    AuditWanted,
    BulkDone,
    BulkWanted,
    Cleared,
    FlowsInjected,
    FlowsReceived,
    PeerDown,
    PeerRefused,
    PeerUp,
)
from appliance_pfsync.native.header import INNER, OUTER, Kind
from appliance_pfsync.native.peering import Peering, PeeringSettings
from appliance_pfsync.settings import PfsyncSettings
from tests.unit.plugins.pfsync.native.parties import KEYS, Pair, records


@pytest.fixture
def pair() -> Pair:
    return Pair()


def everything(peering: Peering) -> Any:
    """What a datagram that is not valid must leave as it is."""
    peer = peering._circle.peers["a"]
    return (
        peer.inn.expected,
        peer.inn.nack_at,
        peer.out.acked,
        peer.out.confirmed,
        peer.heard_at,
        peer.session,
        peer.address,
        peer.losses,
        peering.deadline(),
    )


def test_it_is_silent_before_time_begins_and_then_says_hello() -> None:
    node = Peering(PeeringSettings(), node="a", keyring=None, random_bytes=random.Random(1).randbytes)
    assert node.deadline() < 0
    assert node.outgoing() == []
    assert node.tick(50.0) == []
    assert [destination for destination, _ in node.outgoing()] == [""]
    assert node.deadline() == 51.0


def test_a_tick_leaves_nothing_due() -> None:
    pair = Pair()
    draw = random.Random(2)
    for _ in range(300):
        pair.now += draw.choice([0.001, 0.01, 0.3, 4.0])
        node = draw.choice([pair.a, pair.b])
        node.offer(records(*range(draw.randrange(60))), pair.now, ack_wanted=draw.random() < 0.3)
        if draw.random() < 0.7:
            node.outgoing()
        pair.take(node, node.tick(pair.now))
        node.outgoing()
        assert node.deadline() > pair.now


def test_small_offers_are_delivered_as_one_and_confirmed_by_the_last_ticket(pair: Pair) -> None:
    first = pair.a.offer(records(1, 2), pair.now)
    second = pair.a.offer(records(3), pair.now, ack_wanted=True)
    empty = pair.a.offer(records(), pair.now, ack_wanted=True)
    pair.exchange()
    (received,) = pair.effects["b"]
    assert isinstance(received, FlowsReceived)
    assert received.flows.tobytes() == records(1, 2, 3).tobytes()
    assert not received.flows.flags.writeable
    assert not received.bulk
    assert pair.effects["a"] == [FlowsInjected("b", second)]
    assert first < second < empty


def test_both_families_arrive(pair: Pair) -> None:
    pair.a.offer(records(1), pair.now)
    pair.a.offer(records(2, six=True), pair.now)
    pair.exchange()
    assert [effect.flows.dtype.itemsize for effect in pair.effects["b"]] == [60, 108]


def test_records_before_a_clear_come_before_it(pair: Pair) -> None:
    pair.a.offer(records(1), pair.now)
    pair.a.clear(pair.now)
    pair.a.offer(records(2), pair.now)
    pair.exchange()
    kinds = [type(effect) for effect in pair.effects["b"]]
    assert kinds == [FlowsReceived, Cleared, FlowsReceived]


def test_a_bulk_update_has_a_beginning_records_and_an_end(pair: Pair) -> None:
    pair.b.request_bulk(pair.now)
    pair.take(pair.b, pair.b.tick(pair.now))
    for _, datagram in pair.b.outgoing():
        pair.effects["a"] += pair.a.receive(datagram, "b", pair.now)
    assert pair.effects["a"] == [BulkWanted("b")]
    assert pair.a.bulk_targets == ("b",)
    room = pair.a.room_for_bulk("b")
    assert 22 <= room <= 32 * 22
    pair.a.offer_bulk("b", records(*range(100)), pair.now)
    pair.a.offer(records(7, op=Op.DELETE), pair.now)
    pair.a.offer_bulk("b", records(7, 100), pair.now)
    pair.a.end_bulk("b", pair.now)
    assert pair.a.room_for_bulk("b") == 0
    pair.exchange()
    *flows, done = pair.effects["b"]
    assert sum(len(each.flows) for each in flows if each.bulk) == 101  # 7 has ended since it was read
    assert done == BulkDone("a", 101, pytest.approx(0.0))


def test_calls_about_unknown_peers_are_ignored(pair: Pair) -> None:
    pair.a.injected("x", 5, pair.now)
    pair.a.injected("b", 5, pair.now)
    pair.a.offer_bulk("x", records(1), pair.now)
    pair.a.offer_bulk("b", records(1), pair.now)
    pair.a.end_bulk("b", pair.now)
    pair.a.offer_repair("x", records(1), pair.now)
    assert pair.a.room_for_bulk("b") == pair.a.room_for_bulk("x") == 0
    assert pair.a.outgoing() == []


def test_a_request_for_an_audit_makes_the_smaller_name_take_a_snapshot(pair: Pair) -> None:
    pair.b.request_audit(pair.now)
    pair.exchange()
    pair.now += 1.0
    pair.tick()
    assert AuditWanted() in pair.effects["a"]
    assert AuditWanted() not in pair.effects["b"]


def test_secrets_given_or_taken_away_end_the_sessions(pair: Pair) -> None:
    pair.a.set_keyring(None, pair.now)
    assert pair.a.deadline() <= pair.now
    pair.tick()
    assert pair.effects["a"] == [PeerDown("b", "b")]
    pair.b.set_keyring(None, pair.now)
    for _ in range(10):
        pair.now += 0.1
        pair.tick()
    assert any(isinstance(effect, PeerUp) for effect in pair.effects["a"])
    assert [peer.secured for peer in pair.a.peers] == [False]


def test_the_report_tells_what_the_peer_said(pair: Pair) -> None:
    pair.b.states = 77
    pair.now += 1.0
    pair.tick()
    (report,) = pair.a.peers
    assert (report.name, report.address, report.alive, report.secured) == ("b", "b", True, True)
    assert (report.states, report.bulk, report.losses, report.version) == (77, "done", 0, 1)


def test_the_size_of_datagrams_follows_the_mtu_and_is_never_exceeded() -> None:
    settings = PfsyncSettings(node="a", interface="s", device="s", family=6, mtu=1400)
    assert PeeringSettings.of(settings).payload_max == 1360
    pair = Pair()
    for six in (False, True):
        pair.a.offer(records(*range(200), six=six), pair.now)
    sizes = [len(datagram) for _, datagram in pair.a.outgoing()]
    assert max(sizes) <= pair.a.settings.payload_max
    assert sorted(sizes)[len(sizes) // 2] > pair.a.settings.payload_max - FLOW4.itemsize


# --- hostile datagrams ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("datagram", "counter"),
    [
        (b"", "malformed"),
        (b"\x05\x00" + bytes(30), "badver"),
        (b"\x06\x00" + bytes(30), "badver"),
        (b"\x4e\x03" + bytes(30), "malformed"),
        (b"\x4e\x02" + bytes(60), "badkey"),
        (bytes(10_000), "oversized"),
    ],
)
def test_what_is_not_ours_is_counted(pair: Pair, datagram: bytes, counter: str) -> None:
    assert pair.a.receive(datagram, "x", pair.now) == []
    assert pair.a.counters[counter] == 1


def test_a_hello_of_another_format_is_refused_unless_a_peer_is_there(pair: Pair) -> None:
    hello = b"\x4e\x01\x02" + bytes(60)
    why = "its hello has format 2, that of this node 1"
    assert pair.a.receive(hello, "x", pair.now) == [PeerRefused("x", "x", why)]
    assert pair.a.receive(hello, "b", pair.now) == []
    assert pair.a.counters["refused"] == 2


@pytest.mark.parametrize("secured", [True, False])
def test_recordings_truncations_and_forgeries_change_nothing(secured: bool) -> None:
    pair = Pair(KEYS if secured else None)
    draw = random.Random(4)
    recorded = []
    for number in range(5):
        pair.now += 1.0
        pair.a.offer(records(*range(number * 30, number * 30 + 40)), pair.now)
        for node in (pair.a, pair.b):
            pair.take(node, node.tick(pair.now))
        recorded += [datagram for _, datagram in pair.a.outgoing()]
        for datagram in recorded[-4:]:
            pair.take(pair.b, pair.b.receive(datagram, "a", pair.now))
        pair.exchange()
    before, counted = everything(pair.b), sum(pair.b.counters.values())
    attacks = recorded.copy()
    for datagram in recorded:
        attacks += [datagram[: draw.randrange(len(datagram))] for _ in range(20)]
        for _ in range(60):
            at = draw.randrange(3, len(datagram))
            attacks.append(datagram[:at] + bytes((datagram[at] ^ 1 << draw.randrange(8),)) + datagram[at + 1 :])
    if not secured:  # a hello without codes can be changed by anybody: that is what "plain" means
        attacks = [attack for attack in attacks if attack[1:2] != b"\x01"]
    for attack in attacks:
        assert pair.b.receive(attack, "evil", pair.now) == []
    assert everything(pair.b) == before
    assert sum(pair.b.counters.values()) == counted + len(attacks)
    pair.a.offer(records(9999), pair.now)
    pair.effects["b"].clear()
    pair.exchange()
    assert len(pair.effects["b"]) == 1


def test_noise_changes_nothing(pair: Pair) -> None:
    draw = random.Random(5)
    before = everything(pair.b)
    inbound = list(pair.b._circle.by_session)
    for _ in range(2000):
        noise = draw.randbytes(draw.randrange(300))
        head = draw.choice([b"", b"\x4e", b"\x4e\x01\x01", OUTER.pack(0x4E, 2, 1, 0, draw.choice(inbound), 2**40)])
        assert pair.b.receive(head + noise, "a", pair.now) == []
    assert everything(pair.b) == before


@pytest.mark.parametrize("seed", range(5))
def test_a_peer_gone_mad_raises_nothing_and_fills_no_memory(seed: int) -> None:
    pair, draw = Pair(), random.Random(seed)
    session = pair.a._circle.peers["b"].session
    big = [0, 1, 2, 3, 50, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
    for _ in range(1500):
        pair.now += draw.choice([0.0, 0.0001, 0.05])
        payload = draw.choice([b"", draw.randbytes(draw.randrange(200)), bytes(8), bytes(64), bytes(12)])
        inner = INNER.pack(
            draw.choice([*Kind, draw.randrange(256)]),
            draw.randrange(8),
            draw.choice([0, 1, 2, 65535]),
            min(draw.choice([*big, pair.b._circle.peers["a"].inn.expected]), 2**64 - 1),
            draw.choice(big),
            min(draw.choice(big), 2**32 - 1),
            min(draw.choice(big), 2**32 - 1),
            draw.randrange(65536),
            draw.randrange(65536),
        )
        pair.take(pair.b, pair.b.receive(session.seal(inner + payload), "a", pair.now))
        pair.take(pair.b, pair.b.tick(pair.now))
        assert len(pair.b.outgoing()) < 600
        assert isinstance(pair.b.deadline(), float)
        assert pair.b.peers
