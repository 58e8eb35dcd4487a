"""The sending half: what is retained, repeated, confirmed, and given up."""

from __future__ import annotations

import math
from collections import Counter

import pytest

from appliance_pfsync.native.header import Kind
from appliance_pfsync.native.sending import (
    PROBE_MAX_S,
    PROBE_S,
    REPEAT_S,
    REPEATS_MAX,
    Item,
    Outbound,
    window_datagrams,
)


@pytest.fixture
def out() -> Outbound:
    return Outbound(100, Counter())


def fill(out: Outbound, count: int) -> None:
    for _ in range(count):
        out.add(Kind.LIVE4, b"x")


def numbers(due: list[tuple[int, Item]]) -> list[int]:
    return [number for number, _ in due]


def test_everything_is_sent_once_in_order(out: Outbound) -> None:
    fill(out, 3)
    assert numbers(out.take_due(0.0)) == [1, 2, 3]
    fill(out, 1)
    assert numbers(out.take_due(0.0)) == [4]
    assert out.take_due(0.0) == []


def test_what_is_asked_for_is_repeated_but_not_at_every_breath(out: Outbound) -> None:
    fill(out, 10)
    out.take_due(0.0)
    out.asked([(2, 2), (7, 1)], 0.1)
    out.asked([(2, 2)], 0.1)
    assert numbers(out.take_due(0.1)) == [2, 3, 7]
    out.asked([(2, 2)], 0.1 + REPEAT_S / 2)
    assert out.take_due(0.1) == []
    out.asked([(2, 2)], 0.1 + REPEAT_S)
    assert numbers(out.take_due(0.2)) == [2, 3]


def test_one_request_brings_back_a_bounded_number_and_nothing_that_was_never_sent() -> None:
    out = Outbound(5000, Counter())
    fill(out, 1000)
    out.take_due(0.0)
    fill(out, 10)
    out.asked([(0, 0xFFFFFFFF)], 1.0)
    assert numbers(out.take_due(1.0)) == [*range(1, REPEATS_MAX + 1), *range(1001, 1011)]
    out.asked([(5000, 10), (2**63, 2**32 - 1)], 2.0)
    assert out.take_due(2.0) == []


def test_the_acknowledged_is_forgotten_and_the_probe_rests(out: Outbound) -> None:
    fill(out, 5)
    out.take_due(0.0)
    assert out.probe_at == PROBE_S
    out.heard(3, 0, 0.0, 0.01)
    assert (out.first, out.ahead) == (4, 2)
    out.asked([(1, 5)], 0.02)
    assert numbers(out.take_due(0.02)) == [4, 5]
    out.heard(5, 0, 0.0, 0.03)
    assert (out.first, out.ahead, out.probe_at) == (6, 0, math.inf)


def test_an_acknowledgement_of_what_was_never_sent_means_nothing(out: Outbound) -> None:
    fill(out, 2)
    out.take_due(0.0)
    assert out.heard(3, 0, 0.0, 0.0) == 0
    assert (out.first, out.confirmed) == (1, 0)


def test_old_acknowledgements_take_nothing_back(out: Outbound) -> None:
    fill(out, 5)
    out.take_due(0.0)
    out.heard(5, 0, 0.0, 0.0)
    out.heard(2, 2, 0.0, 0.0)
    assert (out.first, out.confirmed) == (6, 5)


def test_a_full_window_drops_a_part_of_it_at_once() -> None:
    counters: Counter[str] = Counter()
    out = Outbound(100, counters)
    fill(out, 100)
    assert out.first == 1
    fill(out, 1)
    assert (out.first, out.last, counters["dropped"]) == (27, 101, 26)
    assert numbers(out.take_due(0.0)) == list(range(27, 102))


def test_more_than_a_window_at_once_leaves_the_newest() -> None:
    out = Outbound(100, Counter())
    out.add_all([Item(Kind.LIVE4, 0, 1, b"")] * 1000)
    assert numbers(out.take_due(0.0)) == list(range(926, 1001))


def test_tickets_and_lag_wait_for_the_kernel(out: Outbound) -> None:
    fill(out, 1)
    out.mark(10.0, ticket=7)
    fill(out, 1)
    out.mark(10.5, ticket=8)
    out.take_due(10.5)
    assert out.heard(2, 2, 0.0, 10.6) == 0
    assert out.lag_s(10.6) == pytest.approx(0.6)
    assert out.heard(2, 1, 0.0, 10.7) == 7
    assert out.heard(2, 0, 0.2, 10.8) == 8
    assert out.lag_s(99.0) == pytest.approx(0.1)


def test_probes_become_rare_and_begin_anew_with_progress(out: Outbound) -> None:
    fill(out, 2)
    out.take_due(0.0)
    waits = []
    for _ in range(8):
        now = out.probe_at
        out.probed(now)
        waits.append(out.probe_at - now)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(PROBE_MAX_S)
    out.heard(1, 0, 0.0, 50.0)
    assert out.probe_at == 50.0 + PROBE_S


def test_what_is_offered_to_a_silent_peer_leaves_a_gap_and_nothing_else(out: Outbound) -> None:
    fill(out, 2)
    out.take_due(0.0)
    out.heard(2, 0, 0.0, 0.0)
    out.skip()
    out.skip()
    assert (out.last, out.first) == (3, 4)
    fill(out, 1)
    assert numbers(out.take_due(0.0)) == [4]


def test_windows_have_the_same_bytes_whatever_the_datagrams() -> None:
    assert window_datagrams(1480) * 1480 == pytest.approx(window_datagrams(9000) * 9000, rel=0.01)
    assert window_datagrams(1 << 30) == 256
