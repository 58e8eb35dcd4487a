"""Whose view of a state counts, side by side."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from appliance_pfsync.bsd import convert, state, wire
from appliance_pfsync.bsd.actions import FORMS, Action
from appliance_pfsync.bsd.identities import Identities
from appliance_pfsync.bsd.intake import Intake
from appliance_pfsync.bsd.queue import Outbox
from appliance_pfsync.bsd.records import Record
from appliance_pfsync.bsd.state import State
from appliance_pfsync.bsd.wire import Compressed, Section
from appliance_pfsync.flow import Op, TcpState
from tests.unit.plugins.pfsync.bsd.flows import snat, udp
from tests.unit.plugins.pfsync.bsd.test_queue import told

FORM = FORMS["1400"]
NAMES = ((1, 9), (2, 9))


class Desk:
    """A database with whatever feeds it."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.database = Identities(random.Random(5).randbytes)
        self.out = Outbox(FORM, 1500, 128, self.counters)
        self.now = 10.0

    def take(self, *sections: Section, is_bulk: bool = False) -> list[tuple[Record, bool]]:
        intake = Intake(FORM, self.database, self.out, self.counters, self.now)
        intake.is_bulk = is_bulk
        for section in sections:
            intake.take(section)
        return list(intake.records())

    def states(self, *states: State, action: Action = Action.INS, is_bulk: bool = False) -> list[tuple[Record, bool]]:
        return self.take(Section(action, [state.pack(FORM, each, self.now) for each in states]), is_bulk=is_bulk)

    def compressed(self, src: bytes, dst: bytes, timeout: int, name: int = 1) -> list[tuple[Record, bool]]:
        message = wire.pack_compressed(Compressed((name, 9), src, dst, timeout))
        return self.take(Section(Action.UPD_C, [message]))


def both(record: Record) -> tuple[State, State]:
    keys = convert.keys_of(record)
    assert keys is not None
    return convert.make_states(record, keys, NAMES, 10.0)


def tracked(number: int, seqlo: int) -> bytes:
    return bytes(8) + seqlo.to_bytes(4, "big") + bytes(12) + bytes((number,)) + bytes(7)


@pytest.mark.parametrize(
    ("own", "told_state", "is_taken"),
    [
        ((4, 100), (4, 200), True),
        ((4, 200), (4, 100), False),
        ((4, 0x10), (4, 0xFFFFFFF0), False),
        ((4, 0xFFFFFFF0), (4, 0x10), True),
        ((7, 0), (4, 900), False),
        ((4, 900), (7, 0), True),
        ((4, 0), (4, 0), True),
    ],
)
@pytest.mark.parametrize("way", ["src", "dst"])
def test_each_side_is_compared_by_itself(
    own: tuple[int, int], told_state: tuple[int, int], is_taken: bool, way: str
) -> None:
    desk = Desk()
    other = {"src": "dst", "dst": "src"}[way]
    mine = replace(both(snat())[0], **{way: tracked(*own), other: tracked(4, 5)})  # type: ignore[arg-type]
    desk.states(mine)
    news = {way: tracked(*told_state), other: tracked(4, 6)}
    desk.compressed(news["src"], news["dst"], 2)
    known = desk.database.find(NAMES[0])
    assert known is not None
    assert getattr(known.state, other) == news[other], "a stale side does not hold up the other one"
    assert (getattr(known.state, way) == news[way]) is is_taken
    assert desk.counters["stale"] == (not is_taken)
    assert known.is_queued is not is_taken, "who is behind is told our view"


def test_a_connection_that_pf_answered_itself_goes_on() -> None:
    desk = Desk()
    assert desk.states(*(replace(each, src=state.side(11)) for each in both(snat()))) == []
    for name in (1, 2):
        desk.compressed(state.side(4), state.side(4), 2, name)
    assert desk.database.find_flow(snat().key) is not None
    assert desk.counters["stale"] == 0


def test_sides_of_other_protocols_have_no_sequence_numbers() -> None:
    desk = Desk()
    desk.states(*both(udp()))
    assert desk.compressed(tracked(1, 5), tracked(1, 5), 8) == []
    assert desk.counters["stale"] == 1
    [(record, _)] = desk.compressed(state.side(2), state.side(2), 8)
    assert (record.op, record.timeout) == (Op.UPDATE, 120)


def test_an_unknown_change_is_asked_for_and_an_unknown_whole_state_is_taken() -> None:
    desk = Desk()
    assert desk.compressed(state.side(4), state.side(4), 2) == []
    assert desk.out.is_urgent
    desk.out.flush(10.0)
    assert told(desk.out) == [[(Action.UPD_REQ, 1)]]
    assert desk.states(*both(snat()), action=Action.UPD) == [(snat(), False)]


@pytest.mark.parametrize("timeout", [25, 255])
def test_what_is_out_of_range_is_skipped_alone(timeout: int) -> None:
    desk = Desk()
    inward, outward = both(snat())
    assert len(desk.states(replace(inward, timeout=timeout), outward)) == 1
    assert desk.compressed(state.side(4), state.side(4), timeout, 2) == []
    assert desk.compressed(state.side(13), state.side(4), 2, 2) == []
    assert desk.counters["badval"] == 3


def test_a_bulk_update_describes_an_earlier_moment() -> None:
    desk = Desk()
    assert desk.states(*both(snat()), action=Action.UPD, is_bulk=True) == [(snat(), True)]
    assert desk.states(*both(snat()), action=Action.UPD, is_bulk=True) == [(snat(), True)]
    assert desk.states(*both(snat()), action=Action.UPD) == [(snat(op=Op.UPDATE), False)]
    assert Desk().states(*both(udp()), is_bulk=True) == [(udp(), False)], "an INS happens now"


def test_marks_of_this_node_survive_the_news_of_a_peer() -> None:
    desk = Desk()
    desk.states(*both(snat()))
    pair = desk.database.find_flow(snat().key)
    assert pair is not None
    pair.record = snat(mark=5, labels=b"x" * 16)
    [(record, _)] = desk.compressed(state.side(7), state.side(4), 3)
    assert (record.mark, record.labels, record.tcp_state) == (5, b"x" * 16, TcpState.FIN_WAIT)


def test_a_request_is_answered_as_long_as_the_state_surely_lives() -> None:
    desk = Desk()
    desk.states(*both(udp(timeout=30)))
    ask = Section(Action.UPD_REQ, [wire.pack_identity(NAMES[0])])
    assert desk.take(ask) == []
    desk.out.flush(desk.now)
    assert told(desk.out) == [[(Action.UPD, 1)]]
    desk.now += 31.0
    assert desk.take(ask) == [(udp(timeout=30, op=Op.REQUEST), False)], "only the kernel knows"
    assert desk.take(Section(Action.UPD_REQ, [wire.pack_identity((77, 9))])) == []
    assert desk.counters["badstate"] == 1


def test_full_deletions_of_openbsd_are_read() -> None:
    desk = Desk()
    desk.states(*both(snat()))
    form = FORMS["openbsd"]
    section = Section(Action.DEL, [state.pack(form, each, 10.0) for each in both(snat())])
    assert desk.take(section) == [(snat(op=Op.DELETE), False)]
    assert len(desk.database) == 0


def test_clearing_one_interface_leaves_the_others() -> None:
    desk = Desk()
    inward, outward = both(snat())
    desk.states(replace(inward, ifname="em0"), replace(outward, ifname="em1"))
    assert desk.take(Section(Action.CLR, [wire.pack_clear(9, "em0")])) == []
    assert desk.take(Section(Action.CLR, [wire.pack_clear(9, "em1")])) == [(snat(op=Op.DELETE), False)]


def test_other_actions_are_no_business_of_states() -> None:
    assert Desk().take(Section(Action.BUS, [bytes(12)]), Section(Action.TDB, [bytes(48)])) == []
