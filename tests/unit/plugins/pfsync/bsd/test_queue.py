"""When a change is told, and as what."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from appliance_pfsync.bsd import convert, wire
from appliance_pfsync.bsd.actions import FORMS, Action
from appliance_pfsync.bsd.identities import Known, Pair, Queued
from appliance_pfsync.bsd.queue import READY_MAX, Outbox
from appliance_pfsync.bsd.records import Record
from appliance_pfsync.settings import Version
from tests.unit.plugins.pfsync.bsd.flows import snat, udp


def outbox(version: Version = "1400", maxupd: int = 128) -> Outbox:
    return Outbox(FORMS[version], 1500, maxupd, Counter())


def states(count: int = 1, record: Record | None = None) -> list[Known]:
    record = record or snat()
    keys = convert.keys_of(record)
    assert keys is not None
    return [
        Known(convert.make_states(record, keys, ((number, 7), (number, 8)), 0.0)[0], Pair()) for number in range(count)
    ]


def told(out: Outbox) -> list[list[tuple[Action, int]]]:
    """Datagram by datagram."""
    return [
        [(section.action, len(section.messages)) for section in wire.sections(out.form, datagram, Counter())]
        for _, datagram in out.take()
    ]


def test_a_new_state_waits_a_second() -> None:
    out = outbox()
    [one] = states()
    out.created(one, 10.0)
    assert (out.flush_at, out.is_urgent, out.take()) == (11.0, False, [])
    out.flush(11.0)
    assert told(out) == [[(Action.INS, 1)]]
    assert (out.flush_at, out.sent_at, one.queued) == (math.inf, 11.0, Queued.NOWHERE)


def test_changes_of_what_is_queued_are_only_counted() -> None:
    out = outbox(maxupd=3)
    [one] = states()
    out.created(one, 10.0)
    urgent = []
    for at in (10.1, 10.2, 10.3):
        out.changed(one, at)
        urgent.append(out.is_urgent)
    assert urgent == [False, False, True], "maxupd is reached"
    out.flush(10.3)
    assert told(out) == [[(Action.INS, 1)]]
    out.changed(one, 20.0)
    out.flush(21.0)
    assert told(out) == [[(Action.UPD_C, 1)]]


def test_only_changes_of_tcp_are_counted() -> None:
    out = outbox(maxupd=1)
    [one] = states(record=udp())
    for _ in range(5):
        out.changed(one, 10.0)
    assert not out.is_urgent


def test_a_state_that_a_peer_told_about_just_now_is_urgent() -> None:
    out = outbox()
    [one] = states()
    one.heard_at = 10.0
    out.changed(one, 11.9)
    assert out.is_urgent
    out.flush(11.9)
    out.changed(one, 12.1)
    assert not out.is_urgent


def test_what_nobody_knows_is_not_deleted() -> None:
    out = outbox()
    [one] = states()
    out.created(one, 10.0)
    out.deleted(one, 10.5)
    assert out.flush_at == math.inf
    out.flush(11.0)
    assert out.take() == []


@pytest.mark.parametrize("change", ["changed", "wanted", "nothing"])
def test_a_deletion_replaces_everything_else(change: str) -> None:
    out = outbox()
    [one] = states()
    if change != "nothing":
        getattr(out, change)(one, 10.0)
    out.deleted(one, 10.0)
    out.flush(11.0)
    assert told(out) == [[(Action.DEL_C, 1)]]


def test_who_asks_gets_the_whole_state_at_once() -> None:
    out = outbox()
    [one] = states()
    out.changed(one, 10.0)
    out.wanted(one, 10.0)
    assert out.is_urgent
    out.flush(10.0)
    assert told(out) == [[(Action.UPD, 1)]]


@pytest.mark.parametrize(
    ("version", "action", "most"),
    [("1301", "created", 5), ("1400", "created", 5), ("1500", "created", 3), ("openbsd", "created", 5),
     ("1400", "changed", 17)],
)  # fmt: skip
def test_a_full_datagram_does_not_wait(version: Version, action: str, most: int) -> None:
    out = outbox(version)
    for one in states(most):
        getattr(out, action)(one, 10.0)
    assert out.take() == []
    getattr(out, action)(states(1)[0], 10.1)
    [(_, datagram)] = out.take()
    assert len(datagram) <= 1500 - 40
    [section] = wire.sections(out.form, datagram, Counter())
    assert len(section.messages) == most
    assert out.flush_at == 11.1


def test_short_messages_go_once_each() -> None:
    out = outbox()
    for number in (*range(119), 5, 6):
        out.ask((number, 1), 10.0)
    assert out.take() == []
    out.ask((500, 1), 10.0)
    out.flush(10.0)
    assert told(out) == [[(Action.UPD_REQ, 119)], [(Action.UPD_REQ, 1)]]


def test_the_states_of_a_flow_are_not_torn_apart() -> None:
    out = outbox()
    for number in range(3):
        pair = states(2)
        out.keep_together(pair, 10.0 + number)
        for one in pair:
            out.created(one, 10.0)
    assert told(out) == [[(Action.INS, 4)]]


def test_a_forgotten_state_is_not_told_about() -> None:
    out = outbox()
    one, two = states(2)
    out.created(one, 10.0)
    out.created(two, 10.0)
    out.forget(one)
    two.is_gone = True
    out.flush(11.0)
    assert out.take() == []


def test_the_flag_for_an_acknowledgement_goes_once() -> None:
    out = outbox()
    [one] = states()
    out.created(one, 10.0, ack_wanted=True)
    assert out.is_urgent
    assert out.pack_whole(one, 10.0)[236] == 0x12
    out.flush(10.0)
    assert out.pack_whole(one, 10.0)[236] == 0x02


def test_what_waits_can_be_dropped() -> None:
    out = outbox()
    [one] = states()
    out.created(one, 10.0)
    out.ask((1, 1), 10.0)
    out.drop()
    out.flush(11.0)
    assert (out.take(), one.queued, out.flush_at) == ([], Queued.NOWHERE, math.inf)


def test_a_socket_that_takes_nothing_does_not_fill_the_memory() -> None:
    counters: Counter[str] = Counter()
    out = Outbox(FORMS["1400"], 1500, 128, counters)
    for _ in range(READY_MAX + 2):
        out.send("", {}, 1.0)
    assert len(out.take()) == READY_MAX
    assert counters["onomem"] == 2
