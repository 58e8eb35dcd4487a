"""The memory of last words: the newest counts, ages are right, and it knows what it has forgotten."""

from __future__ import annotations

import math

import numpy as np
import pytest

from appliance_pfsync.flow import FLOW4, Flows, Op, key_hashes
from appliance_pfsync.native import memory as module
from appliance_pfsync.native.effects import Hashes
from appliance_pfsync.native.memory import GENERATION_S, Memory

SIZE = FLOW4.itemsize


def records(numbers: list[int], op: Op) -> Flows:
    flows: Flows = np.zeros(len(numbers), FLOW4)
    flows["orig_src"], flows["op"] = numbers, op
    return flows


def hashes(*numbers: int) -> Hashes:
    return key_hashes(records(list(numbers), Op.INSERT))


def say(memory: Memory, op: Op, *numbers: int, now: float, own: bool = False) -> None:
    memory.note(records(list(numbers), op).tobytes(), SIZE, now, own=own)


@pytest.fixture
def memory() -> Memory:
    memory = Memory()
    memory.begin(100.0)
    return memory


def test_the_last_word_counts(memory: Memory) -> None:
    assert memory.is_empty
    say(memory, Op.INSERT, 1, 2, 3, now=101.0)
    say(memory, Op.DELETE, 2, 3, now=102.0)
    say(memory, Op.UPDATE, 3, now=103.0)
    assert not memory.is_empty
    assert memory.ended_ago(hashes(1, 2, 3, 4), 105.0).tolist() == [math.inf, 3.0, math.inf, math.inf]
    assert memory.begun_ago(hashes(1, 2, 3, 4), 105.0).tolist() == [4.0, math.inf, 2.0, math.inf]


def test_a_question_is_no_word(memory: Memory) -> None:
    say(memory, Op.DELETE, 1, now=101.0)
    say(memory, Op.REQUEST, 1, now=102.0)
    assert memory.ended_ago(hashes(1), 102.0).tolist() == [1.0]


def test_clearing_ends_everything_until_something_begins_again(memory: Memory) -> None:
    say(memory, Op.INSERT, 1, now=101.0)
    memory.note_cleared(102.0)
    say(memory, Op.INSERT, 2, now=103.0)
    assert memory.ended_ago(hashes(1, 2, 3), 104.0).tolist() == [2.0, math.inf, 2.0]


def test_it_forgets_after_two_generations_and_says_how_far_it_reaches(memory: Memory) -> None:
    say(memory, Op.DELETE, 1, now=101.0)
    memory.note_cleared(101.5)
    memory.tidy(100.0 + GENERATION_S)
    assert memory.horizon_s(100.0 + GENERATION_S) == GENERATION_S
    assert np.isfinite(memory.ended_ago(hashes(1), 150.0)).all()
    memory.tidy(100.0 + 2 * GENERATION_S)
    assert memory.horizon_s(100.0 + 2 * GENERATION_S) == GENERATION_S
    assert np.isinf(memory.ended_ago(hashes(1, 2), 400.0)).all()


def test_it_does_not_grow_beyond_two_generations(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GENERATION_MAX", 1000)
    for start in range(0, 20_000, 500):
        say(memory, Op.DELETE, *range(start, start + 500), now=101.0 + start)
        memory.tidy(101.0 + start)
    assert len(memory._young) + len(memory._old) <= 2 * (1000 + module.BATCH)
    assert memory.horizon_s(20_100.0) < 6000
    assert np.isfinite(memory.ended_ago(hashes(19_999), 20_100.0)).all()


def test_records_read_before_something_was_said_are_stale(memory: Memory) -> None:
    say(memory, Op.UPDATE, 1, now=101.0, own=True)
    memory.record(True)
    say(memory, Op.UPDATE, 2, now=103.0, own=True)
    say(memory, Op.DELETE, 3, now=103.0)
    say(memory, Op.UPDATE, 4, now=103.0)
    assert memory.touched_since(hashes(1, 2, 3, 4, 5), 102.0).tolist() == [False, True, True, False, False]
    assert not memory.touched_since(hashes(1, 2, 3, 4, 5), 104.0).any()
    memory.record(False)
    assert memory.touched_since(hashes(2), 102.0).tolist() == [False]


def test_audits_can_tell_it_what_ended(memory: Memory) -> None:
    say(memory, Op.INSERT, 1, now=101.0)
    memory.note_ended(hashes(1), 105.0)
    assert memory.ended_ago(hashes(1), 106.0).tolist() == [1.0]
