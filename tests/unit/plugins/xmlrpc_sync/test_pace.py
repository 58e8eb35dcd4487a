"""When a peer is looked at next."""

from __future__ import annotations

import math

from appliance_xmlrpc_sync.pace import CHECK_S, DEBOUNCE_S, NO_QUICK, ONLY_LAST, SLOW_S, Pace


def pace(now: float = 100.0, random: float = 0.5) -> Pace:
    """One whose jitter is none, unless said."""
    return Pace(lambda: random, now)


def delays(made: Pace, count: int, skip: int = 0) -> list[float]:
    found = []
    for _ in range(count):
        made.begin(0.0)
        made.failed(0.0, skip=skip)
        found.append(made.due)
    return found


def test_the_first_look_is_due_at_once() -> None:
    assert pace(100.0).due == 100.0


def test_while_a_look_is_under_way_none_is_due() -> None:
    made = pace()
    made.begin(100.0)
    assert made.due == math.inf


def test_a_peer_in_sync_is_looked_at_every_thirty_seconds() -> None:
    made = pace()
    made.begin(100.0)
    made.succeeded(101.0)
    assert made.due == 101.0 + CHECK_S


def test_the_first_change_after_a_pause_travels_at_once() -> None:
    made = pace()
    made.begin(100.0)
    made.succeeded(100.1)
    made.changed(110.0)
    assert made.due == 110.0


def test_several_changes_in_a_row_travel_together() -> None:
    made = pace()
    made.begin(100.0)
    made.changed(100.1)
    made.changed(100.2)
    made.succeeded(100.3)
    assert made.due == 100.0 + DEBOUNCE_S


def test_a_change_during_a_look_is_not_forgotten_by_its_end() -> None:
    for end in ("succeeded", "failed"):
        made = pace()
        made.begin(100.0)
        made.changed(104.0)
        getattr(made, end)(105.0)
        assert made.due == 104.0, end


def test_four_quick_retries_then_ever_longer_ones() -> None:
    assert delays(pace(), 9) == [1.0, 1.0, 1.0, 1.0, *SLOW_S, SLOW_S[-1]]


def test_what_will_not_pass_by_itself_is_not_retried_quickly() -> None:
    assert delays(pace(), 3, skip=NO_QUICK) == list(SLOW_S[:3])


def test_what_does_harm_is_retried_rarely() -> None:
    assert delays(pace(), 2, skip=ONLY_LAST) == [SLOW_S[-1], SLOW_S[-1]]


def test_retries_are_spread_by_a_fifth() -> None:
    assert delays(pace(random=0.0), 1) == [0.8]
    assert delays(pace(random=1.0), 1) == [1.2]


def test_a_success_begins_the_count_anew() -> None:
    made = pace()
    delays(made, 6)
    made.succeeded(0.0)
    assert made.failures == 0
    assert delays(made, 1) == [1.0]


def test_it_may_only_be_restarting_until_the_quick_retries_are_over() -> None:
    made = pace()
    delays(made, 4)
    assert made.is_quick
    delays(made, 1)
    assert not made.is_quick


def test_a_commit_or_an_operator_need_not_wait_for_a_retry() -> None:
    for nudge in ("changed", "asked"):
        made = pace()
        delays(made, 8)
        getattr(made, nudge)(10.0)
        assert made.due == 10.0, nudge


def test_waiting_for_something_is_no_failure() -> None:
    made = pace()
    made.begin(100.0)
    made.waits(101.0, 1.0)
    assert (made.due, made.failures) == (102.0, 0)
