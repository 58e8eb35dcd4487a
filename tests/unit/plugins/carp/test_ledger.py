"""The memory that the heartbeat process and its guard share."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from appliance_carp.ledger import SLOTS_MAX, Ledger


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    made = Ledger()
    yield made
    made.close()


def test_every_slot_keeps_its_own_facts(ledger: Ledger) -> None:
    for slot in (0, 1, SLOTS_MAX - 1):
        assert (ledger.is_master(slot), ledger.last_stamp(slot)) == (False, 0)
        ledger.record(slot, master=True)
        ledger.stamp(slot, 2**62 + slot)
    assert [ledger.is_master(slot) for slot in (0, 1, 2, SLOTS_MAX - 1)] == [True, True, False, True]
    assert ledger.last_stamp(SLOTS_MAX - 1) == 2**62 + SLOTS_MAX - 1
    ledger.record(1, master=False)
    assert (ledger.is_master(0), ledger.is_master(1), ledger.last_stamp(1)) == (True, False, 2**62 + 1)
    assert (ledger.last_beat, ledger.fenced) == (0.0, False)


def test_fencing_and_the_beat_do_not_touch_each_other(ledger: Ledger) -> None:
    ledger.fenced = True
    ledger.beat(12345.678)
    assert (ledger.last_beat, ledger.fenced) == (12345.678, True)
    ledger.fenced = False
    assert (ledger.last_beat, ledger.fenced, ledger.is_master(0)) == (12345.678, False, False)


def test_another_process_never_sees_a_half_written_beat(ledger: Ledger) -> None:
    """A guard that believes it reads 0.0 closes the gates of a healthy node."""
    ledger.beat(time.monotonic())
    ledger.stamp(0, 1)
    pid = os.fork()
    if pid == 0:
        end, sequence = time.monotonic() + 0.5, 1
        while (now := time.monotonic()) < end:
            sequence += 1
            ledger.beat(now)
            ledger.stamp(0, sequence)
        os._exit(0)
    last_beat, last_stamp = ledger.last_beat, ledger.last_stamp(0)
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        for _ in range(1000):
            beat, stamp = ledger.last_beat, ledger.last_stamp(0)
            assert beat >= last_beat
            assert stamp >= last_stamp
            last_beat, last_stamp = beat, stamp
