"""The table on its way to a peer: START, full datagrams at a bounded pace, END."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from appliance_pfsync.bsd import wire
from appliance_pfsync.bsd.actions import FORMS, Action, Bus
from appliance_pfsync.bsd.feeds import EVERYBODY, FEEDS_MAX, Feeds
from appliance_pfsync.bsd.queue import Outbox
from appliance_pfsync.settings import Version
from tests.unit.plugins.pfsync.bsd import samples

PEER = "192.0.2.9"


def feeds(version: Version = "1400") -> tuple[Feeds, Outbox]:
    outbox = Outbox(FORMS[version], 1500, 128, Counter())
    return Feeds(outbox, samples.CREATOR, 1500), outbox


def told(outbox: Outbox) -> list[tuple[str, Action, int]]:
    found = []
    for destination, datagram in outbox.take():
        for section in wire.sections(outbox.form, datagram, Counter()):
            found.append((destination, section.action, len(section.messages)))
    return found


@pytest.mark.parametrize("version", ["1400", "openbsd"])
def test_an_empty_table_is_told_too(version: Version) -> None:
    made, outbox = feeds(version)
    made.begin(PEER, 10.0)
    made.end(PEER, 13.5)
    first, last = outbox.take()
    if version == "1400":
        assert first == (PEER, samples.BUS_START5)
        assert last == (PEER, samples.BUS_END5)
    else:
        assert last == (PEER, samples.BUS_END6)
    assert made.targets == ()


def test_datagrams_are_full_but_the_states_of_a_flow_stay_together() -> None:
    made, outbox = feeds()
    made.begin(PEER, 10.0)
    made.add(PEER, [[bytes(277)]] * 7, 10.0)
    made.add(PEER, [[bytes(277)] * 2] * 4, 10.0)
    made.end(PEER, 10.0)
    assert [count for _, action, count in told(outbox) if action == Action.UPD] == [5, 4, 4, 2]


def test_where_only_one_state_fits_each_goes_alone() -> None:
    outbox = Outbox(FORMS["1500"], 576, 128, Counter())
    made = Feeds(outbox, samples.CREATOR, 576)
    made.begin(EVERYBODY, 10.0)
    made.add(EVERYBODY, [[bytes(360)] * 2] * 2, 10.0)
    made.end(EVERYBODY, 10.0)
    assert told(outbox) == [(EVERYBODY, Action.UPD_1500, 1)] * 4


def test_to_everybody_it_is_no_answer() -> None:
    made, outbox = feeds()
    made.begin(EVERYBODY, 10.0)
    made.add(EVERYBODY, [[bytes(277)]], 10.0)
    made.end(EVERYBODY, 10.0)
    assert told(outbox) == [(EVERYBODY, Action.UPD, 1)]


def test_one_datagram_a_tick_is_the_pace() -> None:
    made, _ = feeds()
    made.begin(PEER, 10.0)
    sent, now = 0, 10.0
    while now < 11.0:
        while room := made.room(PEER):
            made.add(PEER, [[bytes(277)] * 2] * room, now)
            sent += 2 * room
        assert made.deadline <= now + 0.001
        now = max(now + 0.0001, made.deadline)
        made.tick(now)
    assert 5000 <= sent <= 5000 + 17 * 5
    made.end(PEER, now)
    assert made.deadline == math.inf


def test_there_is_no_room_for_nobody() -> None:
    made, outbox = feeds()
    assert made.room(PEER) == 0
    made.end(PEER, 1.0)
    assert outbox.take() == []


def test_only_some_are_served_at_once() -> None:
    made, _ = feeds()
    for number in range(FEEDS_MAX + 3):
        made.begin(f"192.0.2.{number}", 1.0)
    assert len(made.targets) == FEEDS_MAX
    assert "192.0.2.0" not in made.targets


def test_a_second_request_begins_anew() -> None:
    made, outbox = feeds()
    made.begin(PEER, 10.0)
    made.add(PEER, [[bytes(277)]] * 3, 10.0)
    made.begin(PEER, 20.0)
    made.end(PEER, 22.0)
    datagrams = [datagram for _, datagram in outbox.take()]
    [end] = wire.sections(outbox.form, datagrams[-1], Counter())
    assert len(datagrams) == 3
    assert wire.unpack_bus(end.messages[0]) == (samples.CREATOR, 2, Bus.END)
