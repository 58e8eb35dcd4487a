"""What frames mean: records with what is remembered of them, and messages."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from appliance_pfsync.flow import Op
from appliance_pfsync.native.deliver import REQUEST, Courier, pack_ages
from appliance_pfsync.native.effects import BulkWanted, Cleared, Effect, FlowsLost, FlowsReceived
from appliance_pfsync.native.header import INNER, REPAIR, Kind
from appliance_pfsync.native.peer import Peer
from appliance_pfsync.native.receiving import GAP, Frame
from tests.unit.plugins.pfsync.native.parties import Pair, records

NOW = 110.0


class Desk:
    """A courier, and the peer whose frames it gets."""

    def __init__(self, pair: Pair) -> None:
        self.peer: Peer = pair.b._circle.peers["a"]
        self.memory = pair.b._memory
        self.counters: Counter[str] = Counter()
        self.auditor = pair.b._auditor
        self.courier = Courier(self.memory, self.auditor, self.counters)

    def deliver(self, kind: int, payload: bytes = b"", count: int = 0, flags: int = 0) -> list[Effect]:
        frame = Frame(kind, flags, count, 50, bytes(INNER.size) + payload)
        return self.courier.deliver(self.peer, frame, NOW)

    def bulk(self, *numbers: int, ages: list[float], flags: int = 0) -> list[Effect]:
        flows = records(*numbers)
        return self.deliver(Kind.BULK4, flows.tobytes() + pack_ages(np.array(ages)), len(flows), flags)


@pytest.fixture
def desk() -> Desk:
    return Desk(Pair())


def test_live_records_are_passed_on_as_they_are(desk: Desk) -> None:
    flows = records(1, 2)
    (received,) = desk.deliver(Kind.LIVE4, flows.tobytes(), 2)
    assert isinstance(received, FlowsReceived)
    assert (received.peer, received.bulk, received.token) == ("a", False, desk.peer.base + 50)
    assert received.flows.tobytes() == flows.tobytes()


@pytest.mark.parametrize("kind", [Kind.LIVE4, Kind.LIVE6, Kind.BULK4, Kind.BULK6, Kind.BULK_REQUEST, Kind.BULK_END, 99])
def test_a_payload_that_is_not_what_the_kind_says_is_counted(desk: Desk, kind: int) -> None:
    assert desk.deliver(kind, bytes(61), 1) == []
    assert desk.counters["malformed"] == 1


def test_what_has_ended_since_the_peer_heard_of_it_is_not_brought_back(desk: Desk) -> None:
    desk.memory.note(records(1, 2, 3, op=Op.DELETE).tobytes(), 60, NOW - 5.0, own=False)
    (received,) = desk.bulk(1, 2, 3, 4, ages=[6.0, 4.0, np.inf, np.inf])
    assert isinstance(received, FlowsReceived)
    assert received.bulk
    assert received.flows["orig_sport"].tolist() == [2, 4]
    assert desk.counters["outlived"] == 2
    assert desk.bulk(1, ages=[np.inf]) == []


def test_a_standby_believes_a_peer_that_has_just_started_and_knows_no_age(desk: Desk) -> None:
    desk.memory.is_owner = False
    desk.memory.note(records(1, 2, op=Op.DELETE).tobytes(), 60, NOW - 5.0, own=False)
    (received,) = desk.bulk(1, 2, ages=[6.0, np.inf])
    assert isinstance(received, FlowsReceived)
    assert received.flows["orig_sport"].tolist() == [2]


def test_a_repair_is_no_part_of_a_bulk_update(desk: Desk) -> None:
    desk.peer.fetch.want(NOW)
    desk.peer.fetch.started(desk.peer.fetch.request, NOW)
    desk.bulk(1, 2, ages=[np.inf] * 2)
    desk.bulk(3, ages=[np.inf], flags=REPAIR)
    assert desk.peer.fetch.count == 2


def test_a_request_is_answered_once_and_a_new_one_again(desk: Desk) -> None:
    assert desk.deliver(Kind.BULK_REQUEST, REQUEST.pack(8)) == [BulkWanted("a")]
    assert desk.deliver(Kind.BULK_REQUEST, REQUEST.pack(8)) == []
    assert desk.deliver(Kind.BULK_REQUEST, REQUEST.pack(9)) == [BulkWanted("a")]


def test_a_gap_is_a_loss_and_asks_for_everything(desk: Desk) -> None:
    (lost,) = desk.deliver(GAP, count=12)
    assert isinstance(lost, FlowsLost)
    assert "12 datagrams" in lost.why
    assert (desk.peer.losses, desk.peer.counters["lost"], desk.peer.fetch.is_wanted) == (1, 12, True)


def test_a_peer_that_lost_events_causes_a_comparison_and_no_bulk_update(desk: Desk) -> None:
    before = desk.auditor.deadline()
    assert desk.deliver(Kind.LOST) == []
    assert desk.peer.losses == 1
    assert not desk.peer.fetch.is_wanted
    assert desk.auditor.deadline() < before


def test_clearing_is_passed_on_and_remembered(desk: Desk) -> None:
    assert desk.deliver(Kind.CLEAR) == [Cleared("a")]
    assert desk.bulk(1, ages=[0.5]) == []
