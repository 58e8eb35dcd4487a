"""Asking for the peers' tables: retries, what ends it, and which answers mean nothing."""

from __future__ import annotations

import math

from appliance_pfsync.bsd.actions import FORMS
from appliance_pfsync.bsd.bulk import Request
from appliance_pfsync.native.effects import BulkDone, BulkFailed
from appliance_pfsync.settings import Version

A, B = "192.0.2.1", "192.0.2.2"


def request(version: Version = "1400", timeout_s: float = 60.0) -> Request:
    made = Request(FORMS[version], mtu=1500, limit=3000, timeout_s=timeout_s)
    made.begin(100.0)
    made.is_due = False
    return made


def asked_at(made: Request, until: float) -> list[float]:
    """When it was repeated, of whole seconds."""
    times = []
    for second in range(101, int(until) + 1):
        made.tick(float(second), is_lonely=False)
        if made.is_due:
            times.append(float(second))
            made.is_due = False
    return times


def test_it_is_repeated_until_somebody_begins() -> None:
    made = request()
    assert asked_at(made, 111.0) == [105.0, 110.0]
    made.started(A, 111.0)
    assert asked_at(made, 115.0) == []
    assert asked_at(request("openbsd"), 105.0) == [102.0, 104.0]


def test_twelve_requests_are_enough() -> None:
    made = request()
    assert len(asked_at(made, 159.0)) == 11
    assert made.tick(160.0, is_lonely=True) == [BulkFailed("", "no peer is heard", lonely=True)]
    assert not made.is_open
    assert made.deadline == math.inf
    assert asked_at(made, 200.0) == []


def test_it_is_done_when_a_peer_ends() -> None:
    made = request()
    made.started(A, 101.0)
    made.progressed(A, 5, 101.5)
    assert (made.is_running(A), made.state_of(A), made.state_of(B)) == (True, "running", "asked")
    assert made.ended(A, 1, 102.0) == [BulkDone(A, 5, 1.0)]
    assert made.ended(A, 1, 102.0) == []
    assert (made.is_open, made.state_of(A), made.state_of(B)) == (False, "done", "idle")


def test_every_peer_ends_by_itself() -> None:
    made = request()
    made.started(A, 101.0)
    made.started(B, 101.0)
    made.ended(A, 1, 102.0)
    assert made.is_running(B)
    assert made.ended(B, 1, 103.0) == [BulkDone(B, 0, 2.0)]


def test_the_end_of_an_earlier_request_means_nothing() -> None:
    made = request()
    made.started(A, 101.0)
    assert made.ended(A, 9, 102.0) == []
    assert made.is_running(A)
    assert made.ended(A, 3, 102.0) == [BulkDone(A, 0, 1.0)], "BSD counts whole seconds"


def test_an_end_without_a_start_is_an_empty_table_of_openbsd() -> None:
    assert request().ended(A, 0, 100.1) == []
    assert request("openbsd").ended(A, 0, 100.1) == [BulkDone(A, 0, 100.1 - 100.0)]
    lost_start = request("openbsd")
    lost_start.progressed(A, 5, 100.1)
    assert lost_start.ended(A, 0, 100.2) == []


def test_a_peer_that_stops_in_the_middle_is_asked_again() -> None:
    made = request()
    made.started(A, 101.0)
    assert made.deadline == 101.0 + 4.0 + 3000 / 5 * 0.001
    made.tick(106.0, is_lonely=False)
    assert made.is_due
    assert not made.is_running(A)


def test_states_that_come_keep_it_alive() -> None:
    made = request(timeout_s=10.0)
    made.started(A, 101.0)
    for second in range(102, 130):
        made.progressed(A, 5, float(second))
        assert made.tick(float(second), is_lonely=False) == []
    assert made.ended(A, 29, 130.0) == [BulkDone(A, 140, 29.0)]


def test_nobody_is_believed_who_was_not_asked() -> None:
    made = Request(FORMS["openbsd"], mtu=1500, limit=None, timeout_s=60.0)
    made.started(A, 1.0)
    assert made.ended(A, 0, 2.0) == []
    assert not made.is_running(A)
