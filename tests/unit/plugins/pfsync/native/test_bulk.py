"""Asking for everything: what counts as an answer, what as progress, and when it is given up."""

from __future__ import annotations

import math

from appliance_pfsync.native.bulk import PAUSE_S, REPEAT_S, Fetch, Phase
from appliance_pfsync.native.effects import BulkDone, BulkFailed


def test_a_request_is_sent_answered_and_counted() -> None:
    fetch = Fetch(60.0)
    assert (fetch.phase, fetch.deadline()) == (Phase.IDLE, math.inf)
    fetch.want(10.0)
    assert fetch.tick("b", 10.0)
    assert not fetch.tick("b", 10.1)
    fetch.started(fetch.request, 11.0)
    assert fetch.phase is Phase.RUNNING
    fetch.arrived(20, 11.5)
    fetch.arrived(3, 12.0)
    fetch.ended("b", fetch.request, 12.5)
    assert (fetch.phase, fetch.result) == (Phase.DONE, BulkDone("b", 23, 2.5))
    assert (fetch.last_at, fetch.last_count, fetch.deadline()) == (12.5, 23, math.inf)


def test_without_an_answer_it_is_sent_again() -> None:
    fetch = Fetch(60.0)
    fetch.want(0.0)
    assert [now for now in range(20) if fetch.tick("b", float(now))] == list(range(0, 20, int(REPEAT_S)))


def test_without_progress_it_fails_and_progress_postpones_that() -> None:
    fetch = Fetch(60.0)
    fetch.want(0.0)
    fetch.started(fetch.request, 1.0)
    fetch.arrived(1, 50.0)
    assert not fetch.tick("b", 109.0)
    assert fetch.is_wanted
    fetch.tick("b", 110.0)
    assert fetch.has_failed
    assert fetch.result == BulkFailed("b", "nothing has come for 60 s")


def test_a_loss_begins_it_anew_after_pauses_that_grow() -> None:
    fetch = Fetch(60.0)
    fetch.lost(0.0)
    assert fetch.tick("b", 0.0)
    first = fetch.request
    fetch.started(first, 0.1)
    fetch.lost(1.0)
    assert not fetch.tick("b", 1.0)
    assert fetch.tick("b", 1.0 + PAUSE_S)
    fetch.ended("b", first, 2.0)
    assert fetch.phase is Phase.ASKED
    fetch.lost(2.0)
    assert not fetch.tick("b", 2.0 + PAUSE_S)
    assert fetch.tick("b", 2.0 + 2 * PAUSE_S)


def test_answers_that_were_not_asked_for_mean_nothing() -> None:
    fetch = Fetch(60.0)
    fetch.started(0, 1.0)
    fetch.arrived(5, 1.0)
    fetch.ended("b", 0, 1.0)
    fetch.fail("b", "whatever")
    assert (fetch.phase, fetch.count, fetch.result) == (Phase.IDLE, 0, None)
