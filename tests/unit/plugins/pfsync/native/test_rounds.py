"""One comparison between two sides that pass messages by hand."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_pfsync.native.effects import AuditDelete, AuditDone, AuditSend, Effect, Hashes
from appliance_pfsync.native.header import Kind, Malformed
from appliance_pfsync.native.memory import Memory
from appliance_pfsync.native.rounds import HEAD, ROUND_MAX, STEP, Round

NOW = 200.0


class Side:
    """A round, its memory, and what it has sent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: deque[tuple[int, bytes, int]] = deque()
        self.free = 1000
        self.memory = Memory()
        self.memory.begin(100.0)
        self.round = Round(self, 7, self.memory, payload_max=1400, start=NOW)
        self.effects: list[Effect] = []

    def send(self, kind: int, payload: bytes = b"", count: int = 0, flags: int = 0) -> None:
        self.sent.append((kind, payload, flags))

    def room(self) -> int:
        return self.free

    def ended(self, *hashes: int, at: float = 150.0) -> None:
        self.memory.note_ended(array(*hashes), at)


def array(*hashes: int) -> Hashes:
    return np.array(sorted(hashes), np.uint64)


def compare(a: Side, b: Side, full: tuple[Hashes, Hashes], settled: tuple[Hashes, Hashes | None]) -> None:
    assert settled[0] is not None
    a.round.open(full[0], settled[0], 4, 0)
    b.round.opened(4)
    b.round.answer(full[1], settled[1])
    for _ in range(2000):
        for one, other in ((a, b), (b, a)):
            one.round.send_some()
            while one.sent:
                kind, payload, flags = one.sent.popleft()
                if kind != Kind.AUDIT_OPEN:
                    argument = HEAD.unpack_from(payload)[1]
                    other.effects += other.round.take(kind, flags, argument, payload[HEAD.size :], NOW)
        if a.round.is_done and b.round.is_done:
            return
    raise AssertionError("it does not end")


def told(side: Side, kind: type) -> set[int]:
    return {one for effect in side.effects if isinstance(effect, kind) for one in effect.hashes.tolist()}


@given(*[st.sets(st.integers(0, 2**64 - 1), max_size=60)] * 3)
def test_what_one_lacks_the_other_sends(both: set[int], mine: set[int], theirs: set[int]) -> None:
    a, b = Side("b"), Side("a")
    one, other = array(*(both | mine)), array(*(both | theirs))
    compare(a, b, (one, other), (one, other))
    assert told(a, AuditSend) == set(one.tolist()) - set(other.tolist())
    assert told(b, AuditSend) == set(other.tolist()) - set(one.tolist())
    assert not told(a, AuditDelete) | told(b, AuditDelete)
    done = a.round.summary()
    assert done == AuditDone("b", len(told(a, AuditSend)), len(told(b, AuditSend)), 0, True)


def test_what_is_not_settled_takes_no_part() -> None:
    a, b = Side("b"), Side("a")
    compare(a, b, (array(1, 2), array(1, 3)), (array(1), array(1)))
    assert a.effects == b.effects == []
    a, b = Side("b"), Side("a")
    compare(a, b, (array(1, 2), array(1, 2)), (array(1, 2), array(1)))
    assert a.effects == b.effects == []


def test_what_the_other_knows_to_have_ended_is_deleted() -> None:
    a, b = Side("b"), Side("a")
    b.ended(5)
    compare(a, b, (array(1, 5), array(1)), (array(1, 5), array(1)))
    assert told(a, AuditDelete) == {5}
    assert not told(a, AuditSend)
    assert a.round.summary().deleted == 1
    assert np.isfinite(a.memory.ended_ago(array(5), NOW)).all()


def test_what_began_again_since_is_sent_and_not_deleted() -> None:
    a, b = Side("b"), Side("a")
    b.ended(5, at=150.0)
    a.memory._young[5] = 160.0 - 99.0
    compare(a, b, (array(5), array()), (array(5), array()))
    assert told(a, AuditSend) == {5}
    assert not told(a, AuditDelete)


def test_what_the_holder_may_have_forgotten_is_left_alone() -> None:
    a, b = Side("b"), Side("a")
    a.memory = a.round._memory = Memory()
    a.memory.begin(190.0)
    a.memory.is_owner = False
    b.ended(5, at=150.0)
    compare(a, b, (array(5), array()), (array(5), array()))
    assert a.effects == []


def test_whoever_carries_the_traffic_keeps_what_it_may_have_forgotten_and_sends_it() -> None:
    a, b = Side("b"), Side("a")
    a.memory = a.round._memory = Memory()
    a.memory.begin(190.0)
    b.ended(5, at=150.0)
    compare(a, b, (array(5), array()), (array(5), array()))
    assert told(a, AuditSend) == {5}
    assert not told(a, AuditDelete)


def test_a_side_without_an_earlier_snapshot_puts_it_off() -> None:
    a, b = Side("b"), Side("a")
    compare(a, b, (array(1), array(2)), (array(1), None))
    assert not a.round.summary().complete
    assert not b.round.summary().complete
    assert a.effects == b.effects == []


def test_a_round_repairs_a_bounded_number_in_bounded_steps() -> None:
    a, b = Side("b"), Side("a")
    many = np.unique(np.random.default_rng(1).integers(0, 2**64 - 1, 60_000, np.uint64))
    compare(a, b, (many, array()), (many, array()))
    assert 0 < a.round.summary().sent <= ROUND_MAX
    assert not a.round.summary().complete
    assert not b.round.summary().complete
    assert a.round.next_bucket > 0


def test_nothing_is_sent_without_room_and_not_much_at_once() -> None:
    a = Side("b")
    a.free = 0
    a.round.answer(array(), np.unique(np.random.default_rng(1).integers(0, 2**64 - 1, 9, np.uint64)))
    a.round._bits = 14
    a.round.answer(array(), array(1))
    a.round.send_some()
    assert not a.sent
    a.free = 1000
    a.round.send_some()
    assert len(a.sent) == STEP


@pytest.mark.parametrize("bits", [0, 15, 2**32 - 1])
def test_an_absurd_number_of_buckets_is_refused(bits: int) -> None:
    with pytest.raises(Malformed):
        Side("b").round.opened(bits)


@given(
    st.sampled_from([kind for kind in Kind if kind.name.startswith("AUDIT")]),
    st.integers(0, 7),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=300),
    st.booleans(),
)
def test_nonsense_raises_nothing_but_malformed(kind: Kind, flags: int, argument: int, body: bytes, mine: bool) -> None:
    side = Side("b")
    if mine:
        side.round.open(array(1, 2), array(1), 4, 0)
    else:
        side.round.opened(4)
    for _ in range(3):
        try:
            side.round.take(kind, flags, argument, body, NOW)
        except Malformed:
            return
