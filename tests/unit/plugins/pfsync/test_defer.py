"""Which packets are held back, and what lets them go."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import trio

from appliance.net import nft
from appliance.net.conntrack.entry import Entry, Tcp
from appliance_pfsync import defer
from appliance_pfsync.defer import DEFER_S, TAKE_MAX, Defer
from appliance_pfsync.filters import LocalAddresses
from appliance_pfsync.flow import UDP, Op, Status, TcpState
from tests.unit.plugins.pfsync.ctmessages import connection, record
from tests.unit.plugins.pfsync.deferred import FakeProtocol, FakeQueue, peer

CLIENT, SERVER, OWN = "10.0.0.9", "192.0.2.9", "192.0.2.1"
CLIENT6, SERVER6 = "2001:db8:1::9", "2001:db8:2::9"
LOCAL = LocalAddresses([OWN])
NOW = 1000.0


def new(source: str = CLIENT, target: str = SERVER) -> Entry:
    """A connection that begins: its entry is not confirmed."""
    return connection(source, target, status=0, timeout=120, tcp=Tcp(TcpState.SYN_SENT, 3, 0, 7, 0))


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


@pytest.fixture
def protocol() -> FakeProtocol:
    return FakeProtocol()


@pytest.fixture
def deferral(queue: FakeQueue) -> Defer:
    return Defer(queue)


def test_nothing_waits_so_nothing_happens(deferral: Defer, protocol: FakeProtocol) -> None:
    assert deferral.take(protocol, LOCAL, NOW) is False
    assert deferral.deadline() == math.inf
    assert protocol.offered == []


def test_a_new_flow_is_offered_and_its_packet_held(deferral: Defer, queue: FakeQueue, protocol: FakeProtocol) -> None:
    queue.add(new())
    assert deferral.take(protocol, LOCAL, NOW) is True
    assert [flows.tobytes() for flows in protocol.offered] == [record(new(), Op.INSERT).tobytes()]
    assert (len(deferral), deferral.deadline(), queue.accepted) == (1, NOW + DEFER_S, [])


def test_an_answer_is_an_update_of_its_flow(deferral: Defer, queue: FakeQueue, protocol: FakeProtocol) -> None:
    status = Status.CONFIRMED | Status.SEEN_REPLY
    queue.add(replace(new(), status=int(status), tcp=Tcp(TcpState.SYN_RECV, 3, 3, 7, 7)))
    deferral.take(protocol, LOCAL, NOW)
    assert [(flow["op"], flow["tcp_state"]) for flow in protocol.offered[0]] == [(Op.UPDATE, TcpState.SYN_RECV)]


def test_a_ticket_lets_go_everything_up_to_it_in_order(
    deferral: Defer, queue: FakeQueue, protocol: FakeProtocol
) -> None:
    for _ in range(3):
        queue.add(new(), new())
        deferral.take(protocol, LOCAL, NOW)
    deferral.release(0)
    assert queue.accepted == []
    deferral.release(2)
    assert queue.accepted == [1, 2, 3, 4]
    deferral.release(1)  # another peer, later
    deferral.release(3)
    assert queue.accepted == [1, 2, 3, 4, 5, 6]
    assert deferral.counters == {"held": 6, "confirmed": 6}
    assert deferral.deadline() == math.inf


def test_both_families_of_one_batch_wait_for_the_later_ticket(
    deferral: Defer, queue: FakeQueue, protocol: FakeProtocol
) -> None:
    queue.add(new(CLIENT6, SERVER6), new())
    deferral.take(protocol, LOCAL, NOW)
    assert [len(flows) for flows in protocol.offered] == [1, 1]
    deferral.release(1)
    assert queue.accepted == []
    deferral.release(2)
    assert queue.accepted == [1, 2]


def test_nothing_waits_longer_than_allowed(deferral: Defer, queue: FakeQueue, protocol: FakeProtocol) -> None:
    for now in (NOW, NOW + 0.01):
        queue.add(new())
        deferral.take(protocol, LOCAL, now)
    deferral.expire(NOW + 0.019)
    assert queue.accepted == []
    deferral.expire(deferral.deadline())
    assert (queue.accepted, deferral.deadline()) == ([1], NOW + 0.01 + DEFER_S)
    deferral.expire(deferral.deadline())
    assert (queue.accepted, len(deferral), deferral.counters["expired"]) == ([1, 2], 0, 2)


def test_more_than_the_limit_pass_at_once_and_are_counted(queue: FakeQueue, protocol: FakeProtocol) -> None:
    deferral = Defer(queue, held_max=3)
    queue.add(*[new()] * 5)
    deferral.take(protocol, LOCAL, NOW)
    assert (queue.accepted, len(deferral), deferral.counters["overflow"]) == ([4, 5], 3, 2)
    queue.add(new())
    assert deferral.take(protocol, LOCAL, NOW) is False
    assert queue.accepted == [4, 5, 6]
    deferral.release(1)
    queue.add(new())
    deferral.take(protocol, LOCAL, NOW)
    assert len(deferral) == 1


def test_a_flood_is_taken_in_parts(deferral: Defer, queue: FakeQueue, protocol: FakeProtocol) -> None:
    queue.add(*[new()] * (TAKE_MAX + 1))
    deferral.take(protocol, LOCAL, NOW)
    assert (len(deferral), len(queue.waiting)) == (TAKE_MAX, 1)


def test_what_is_not_for_peers_passes_at_once(deferral: Defer, queue: FakeQueue, protocol: FakeProtocol) -> None:
    queue.add(new(CLIENT, OWN), new(), connection(CLIENT, "224.0.0.251", UDP))
    queue.waiting += [(7, b""), (8, b"nonsense")]
    deferral.take(protocol, LOCAL, NOW)
    assert (queue.accepted, deferral.counters["passed"]) == ([1, 3, 7, 8], 4)
    assert (len(deferral), len(protocol.offered)) == (1, 1)


def test_without_a_living_peer_everything_passes_also_what_is_held(
    deferral: Defer, queue: FakeQueue, protocol: FakeProtocol
) -> None:
    queue.add(new())
    deferral.take(protocol, LOCAL, NOW)
    protocol.peers = (peer(alive=False), peer("fw3", alive=False))
    queue.add(new())
    assert deferral.take(protocol, LOCAL, NOW) is False
    assert (queue.accepted, len(protocol.offered)) == ([1, 2], 1)
    assert deferral.counters == {"held": 1, "released": 1, "alone": 1}


def test_one_living_peer_is_enough(deferral: Defer, queue: FakeQueue, protocol: FakeProtocol) -> None:
    protocol.peers = (peer(alive=False), peer("fw3"))
    queue.add(new())
    assert deferral.take(protocol, LOCAL, NOW) is True


def test_stopping_lets_go_what_is_held_and_what_nobody_has_seen(
    deferral: Defer, queue: FakeQueue, protocol: FakeProtocol
) -> None:
    queue.add(new())
    deferral.take(protocol, LOCAL, NOW)
    queue.add(*[new()] * (TAKE_MAX + 1))
    deferral.stop()
    assert (len(queue.accepted), len(deferral)) == (TAKE_MAX + 2, 0)


def test_the_chain_goes_only_after_everything_was_let_go(
    deferral: Defer, queue: FakeQueue, protocol: FakeProtocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel drops what is held when a chain goes."""
    steps: list[tuple[list[str], list[int]]] = []

    async def apply(ruleset: nft.Ruleset) -> None:
        words = [word for one in ruleset["nftables"] for word in one]  # type: ignore[attr-defined]
        steps.append((words, queue.accepted.copy()))

    monkeypatch.setattr(nft, "apply", apply)
    queue.add(new())
    deferral.take(protocol, LOCAL, NOW)
    queue.add(new())
    trio.run(defer.remove, deferral)
    assert steps == [(["add", "add", "flush"], []), (["add", "delete"], [1, 2])]
