"""One peer: what its headers do to both streams, and what is sent to it when."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from appliance_pfsync.native.header import ACK_WANTED, INNER, OUTER, Kind, Malformed
from appliance_pfsync.native.peer import CREDIT, ROOM_MAX, Peer
from appliance_pfsync.native.receiving import Frame
from appliance_pfsync.native.session import Session


def peers() -> tuple[Peer, Peer]:
    """Both ends of one plain session."""
    a, b = (1, b"a" * 16), (2, b"b" * 16)
    return _peer("b", a, b), _peer("a", b, a)


def _peer(name: str, own: tuple[int, bytes], other: tuple[int, bytes]) -> Peer:
    session = Session(own=own, peer=other, version=1, features=0, keyring=None)
    return Peer(
        name=name,
        boot=other[0],
        address=name,
        session=session,
        serial=3,
        window=300,
        timeout_s=60.0,
        counters=Counter(),
    )


def carry(
    source: Peer, target: Peer, now: float, *, loss: float = 0.0, draw: random.Random | None = None
) -> list[Frame]:
    frames = []
    for datagram in source.drain(now):
        if draw is not None and draw.random() < loss:
            continue
        _, _, _, _, session_id, counter = OUTER.unpack_from(datagram)
        frames += target.take(datagram, session_id, counter, now)
    return frames


def test_what_one_end_sends_the_other_takes_and_acknowledges() -> None:
    there, here = peers()
    there.send(Kind.CLEAR, b"payload", 4, ACK_WANTED)
    (frame,) = carry(there, here, 1.0)
    assert (frame.kind, frame.records, frame.number, frame.inner[INNER.size :]) == (Kind.CLEAR, 4, 1, b"payload")
    here.delivered(frame, 1.0, to_kernel=False)
    assert here.deadline(3.5) == 1.0
    assert carry(here, there, 1.0) == []
    assert there.out.ahead == 0
    assert list(there.drain(1.0)) == list(here.drain(1.0)) == []


def test_a_bad_network_delays_and_changes_nothing() -> None:
    there, here = peers()
    draw, now, arrived = random.Random(1), 0.0, list[int]()
    for number in range(2000):
        now += 0.001
        if number < 500:
            there.send(Kind.CLEAR, number.to_bytes(2, "big"))
        for frame in carry(there, here, now, loss=0.3, draw=draw):
            here.delivered(frame, now, to_kernel=False)
            arrived.append(int.from_bytes(frame.inner[INNER.size :], "big"))
        carry(here, there, now, loss=0.3, draw=draw)
    assert arrived == list(range(500))
    assert there.out.ahead == 0


def test_bulk_records_have_room_until_the_kernel_is_too_far_behind() -> None:
    there, here = peers()
    assert there.room() == ROOM_MAX
    for _ in range(CREDIT - 5):
        there.send(Kind.CLEAR)
    assert there.room() == 5
    for frame in carry(there, here, 1.0):
        here.delivered(frame, 1.0, to_kernel=True)
    carry(here, there, 1.1)
    assert there.room() == 5
    here.injected(here.base + CREDIT - 5, 1.2)
    carry(here, there, 1.2)
    assert there.room() == ROOM_MAX


def test_a_token_of_another_session_confirms_nothing() -> None:
    there, here = peers()
    there.send(Kind.CLEAR)
    (frame,) = carry(there, here, 1.0)
    here.delivered(frame, 1.0, to_kernel=True)
    here.injected(frame.number, 1.0)
    here.injected((9 << 64) + frame.number, 1.0)
    assert here.inn.report(1.0)[1] == 1


def test_a_silent_peer_is_sent_nothing_and_finds_the_gap_when_it_returns() -> None:
    there, here = peers()
    there.fall_silent()
    there.send(Kind.CLEAR)
    assert list(there.drain(9.0)) == []
    assert there.room() == 0
    there.return_(10.0)
    (gap,) = carry(there, here, 10.0)
    assert (gap.kind, gap.records) == (0, 1)


@pytest.mark.parametrize("values", [(0, 0, 0), (5, 6, 0), (5, 0, 7)])
def test_headers_that_contradict_themselves_are_refused(values: tuple[int, int, int]) -> None:
    there, here = peers()
    number, behind, pending = values
    datagram = there.session.seal(INNER.pack(Kind.ACK, 0, 0, number, 0, behind, pending, 0, 0))
    _, _, _, _, session_id, counter = OUTER.unpack_from(datagram)
    with pytest.raises(Malformed):
        here.take(datagram, session_id, counter, 1.0)
    assert here.inn.expected == 1
