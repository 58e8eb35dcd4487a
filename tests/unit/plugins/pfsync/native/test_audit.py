"""When tables are compared, and with whom."""

from __future__ import annotations

import numpy as np
import pytest

from appliance_pfsync.native.audit import FRESH_S, PAUSE_S, ROUND_TIMEOUT_S, SOON_S, Auditor
from appliance_pfsync.native.effects import AuditDone, AuditWanted, Effect, Hashes
from appliance_pfsync.native.header import Kind, Malformed
from appliance_pfsync.native.memory import Memory
from appliance_pfsync.native.rounds import HEAD


class Party:
    """A peer that keeps what it is sent."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: list[tuple[int, bytes, int]] = []

    def send(self, kind: int, payload: bytes = b"", count: int = 0, flags: int = 0) -> None:
        self.sent.append((kind, payload, flags))

    def room(self) -> int:
        return 100

    @property
    def kinds(self) -> list[int]:
        return [kind for kind, _, _ in self.sent]


@pytest.fixture
def auditor() -> Auditor:
    return begun(30.0)


def begun(audit_s: float) -> Auditor:
    memory = Memory()
    memory.begin(100.0)
    auditor = Auditor(node="b", audit_s=audit_s, payload_max=1400, memory=memory)
    auditor.begin(100.0)
    return auditor


def hashes(count: int) -> Hashes:
    return np.arange(count, dtype=np.uint64) * np.uint64(1 << 40)


def tick(auditor: Auditor, now: float, *parties: Party) -> list[Effect]:
    return auditor.tick(parties, now)


def test_the_smaller_name_begins_with_everybody_from_one_snapshot(auditor: Auditor) -> None:
    a, c, d = Party("a"), Party("c"), Party("d")
    assert tick(auditor, 129.0, a, c, d) == []
    assert tick(auditor, 130.0, a, c, d) == [AuditWanted()]
    auditor.snapshot(hashes(5), 130.5)
    assert tick(auditor, 136.0, a, c, d) == [AuditWanted()]
    auditor.snapshot(hashes(5), 136.5)
    assert (a.kinds, c.kinds, d.kinds) == ([], [Kind.AUDIT_OPEN], [Kind.AUDIT_OPEN])


def test_the_greater_name_waits_and_answers(auditor: Auditor) -> None:
    a = Party("a")
    assert tick(auditor, 130.0, a) == []
    assert auditor.take(a, Kind.AUDIT_OPEN, 0, HEAD.pack(1, 4), 131.0) == [AuditWanted()]
    auditor.snapshot(hashes(5), 131.0)
    assert a.kinds == [Kind.AUDIT_CLOSE]
    assert auditor.take(a, Kind.AUDIT_OPEN, 0, HEAD.pack(2, 4), 140.0) == [AuditWanted()]
    auditor.snapshot(hashes(5), 140.0)
    assert a.kinds == [Kind.AUDIT_CLOSE, Kind.AUDIT_DIGEST]


def test_a_fresh_snapshot_serves_again_and_an_outstanding_one_is_not_wanted_twice(auditor: Auditor) -> None:
    a, aa = Party("a"), Party("aa")
    assert auditor.take(a, Kind.AUDIT_OPEN, 0, HEAD.pack(1, 4), 131.0) == [AuditWanted()]
    assert auditor.take(aa, Kind.AUDIT_OPEN, 0, HEAD.pack(1, 4), 131.1) == []
    auditor.snapshot(hashes(5), 131.2)
    assert a.kinds == aa.kinds == [Kind.AUDIT_CLOSE]
    effects = auditor.take(a, Kind.AUDIT_OPEN, 0, HEAD.pack(2, 4), 131.2 + FRESH_S)
    assert AuditWanted() not in effects
    assert len(a.kinds) == 2


def test_frequent_snapshots_settle_as_well(auditor: Auditor) -> None:
    a = Party("a")
    for number, now in enumerate((110.0, 112.5, 115.0, 117.5)):
        auditor.take(a, Kind.AUDIT_OPEN, 0, HEAD.pack(number, 4), now)
        auditor.snapshot(hashes(5), now)
    assert a.kinds == [Kind.AUDIT_CLOSE, Kind.AUDIT_CLOSE, Kind.AUDIT_DIGEST, Kind.AUDIT_DIGEST]


def test_a_loss_brings_it_forward_but_not_too_often(auditor: Auditor) -> None:
    c = Party("c")
    auditor.soon(105.0, twice=True)
    assert auditor.deadline() == 105.0 + SOON_S
    assert tick(auditor, 106.0, c) == [AuditWanted()]
    assert auditor.deadline() == 106.0 + PAUSE_S
    auditor.soon(107.0, twice=False)
    assert auditor.deadline() == 106.0 + PAUSE_S


def test_without_an_interval_there_are_only_those_that_are_asked_for() -> None:
    auditor, c = begun(0.0), Party("c")
    assert tick(auditor, 1e6, c) == []
    auditor.take(c, Kind.AUDIT_PLEASE, 0, b"", 1e6)
    assert tick(auditor, 1e6 + SOON_S, c) == [AuditWanted()]


def test_a_round_that_does_not_end_is_given_up(auditor: Auditor) -> None:
    a = Party("a")
    auditor.take(a, Kind.AUDIT_OPEN, 0, HEAD.pack(1, 4), 110.0)
    assert auditor.deadline() <= 110.0 + ROUND_TIMEOUT_S
    assert tick(auditor, 110.0 + ROUND_TIMEOUT_S) == [AuditDone("a", 0, 0, 0, False)]


def test_messages_of_no_round_mean_nothing_and_nonsense_ends_one(auditor: Auditor) -> None:
    a = Party("a")
    assert auditor.take(a, Kind.AUDIT_LIST, 0, HEAD.pack(9, 0), 110.0) == []
    with pytest.raises(Malformed):
        auditor.take(a, Kind.AUDIT_LIST, 0, b"short", 110.0)
    auditor.take(a, Kind.AUDIT_OPEN, 0, HEAD.pack(1, 4), 110.0)
    with pytest.raises(Malformed):
        auditor.take(a, Kind.AUDIT_LIST, 0, HEAD.pack(1, 0) + b"odd", 110.0)
    auditor.snapshot(hashes(1), 111.0)
    assert a.sent == []


def test_a_forgotten_peer_gets_no_answer(auditor: Auditor) -> None:
    a = Party("a")
    auditor.take(a, Kind.AUDIT_OPEN, 0, HEAD.pack(1, 4), 110.0)
    auditor.forget("a")
    auditor.snapshot(hashes(1), 111.0)
    assert a.sent == []
