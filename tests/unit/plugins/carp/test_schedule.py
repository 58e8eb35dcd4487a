"""The merged deadline against the obvious way to compute it."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from appliance_carp.schedule import Schedule

changes = st.lists(st.tuples(st.integers(0, 5), st.one_of(st.integers(0, 50), st.just(math.inf))), max_size=60)


@given(changes)
def test_the_next_deadline_is_always_the_smallest(steps: list[tuple[int, float]]) -> None:
    due: dict[int, float] = dict.fromkeys(range(6), math.inf)
    schedule: Schedule[int] = Schedule(due.__getitem__)
    for key, at in steps:
        due[key] = at
        schedule.update(key)
        smallest = min(due.values())
        assert schedule.next() == (None if smallest == math.inf else smallest)


@given(changes, st.integers(0, 50))
def test_what_is_due_is_taken_once_and_in_order(steps: list[tuple[int, float]], now: int) -> None:
    due: dict[int, float] = dict.fromkeys(range(6), math.inf)
    schedule: Schedule[int] = Schedule(due.__getitem__)
    for key, at in steps:
        due[key] = at
        schedule.update(key)
    taken = schedule.take_due(now)
    assert sorted(taken) == [key for key, at in due.items() if at <= now]
    assert [due[key] for key in taken] == sorted(due[key] for key in taken)
    assert schedule.take_due(now) == []


def test_a_forgotten_key_is_never_asked_for() -> None:
    due = {1: 5.0, 2: 6.0}
    schedule: Schedule[int] = Schedule(due.__getitem__)
    for key in list(due):
        schedule.update(key)
    del due[1]
    schedule.forget(1)
    assert schedule.next() == 6.0


def test_the_heap_stays_small_however_often_a_deadline_moves() -> None:
    due = {1: 1e9}
    schedule: Schedule[int] = Schedule(due.__getitem__)
    for step in range(10_000):
        due[1] = 1e9 - step
        schedule.update(1)
    assert len(schedule._heap) < 200
