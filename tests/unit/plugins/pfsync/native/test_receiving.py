"""The receiving half: order, gaps, losses, and when what is acknowledged."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_pfsync.native.receiving import ACK_EVERY, ACK_S, GAP, NACK_AGAIN_S, NACK_S, RANGES_MAX, Frame, Inbound


def frame(number: int) -> Frame:
    return Frame(1, 0, 1, number, b"")


def take(inn: Inbound, number: int, lowest: int = 1, now: float = 0.0) -> list[int]:
    return [-one.records if one.kind == GAP else one.number for one in inn.take(frame(number), lowest, now)]


@pytest.fixture
def inn() -> Inbound:
    return Inbound(1000, Counter())


def test_what_comes_in_order_is_delivered_at_once(inn: Inbound) -> None:
    assert [take(inn, number) for number in (1, 2, 3)] == [[1], [2], [3]]
    assert inn.nack_at == math.inf


def test_what_is_early_waits_and_what_is_missing_is_asked_for_after_a_while(inn: Inbound) -> None:
    take(inn, 1)
    assert take(inn, 4, now=1.0) == []
    assert take(inn, 6, now=1.001) == []
    assert inn.nack_at == 1.0 + NACK_S
    assert inn.missing(1.0 + NACK_S) == [(2, 2), (5, 1)]
    assert inn.nack_at == 1.0 + NACK_S + NACK_AGAIN_S
    assert take(inn, 3, now=1.1) == []
    assert take(inn, 2, now=1.1) == [2, 3, 4]
    assert take(inn, 5, now=1.1) == [5, 6]
    assert inn.nack_at == math.inf


def test_a_lost_end_is_noticed_when_the_peer_says_how_far_it_is(inn: Inbound) -> None:
    take(inn, 1)
    assert inn.passed(1, 3, 5.0) == []
    assert inn.nack_at == 5.0 + NACK_S
    assert inn.missing(5.1) == [(2, 2)]


@given(st.randoms(use_true_random=False))
def test_any_order_with_doubles_is_delivered_in_order_and_once(draw: random.Random) -> None:
    inn = Inbound(1000, Counter())
    arrivals = [*range(1, 60), *draw.choices(range(1, 60), k=30)]
    draw.shuffle(arrivals)
    delivered = [one for number in arrivals for one in take(inn, number)]
    assert delivered == list(range(1, 60))
    assert inn.nack_at == math.inf


def test_what_can_not_be_repeated_is_passed_over_with_one_gap(inn: Inbound) -> None:
    take(inn, 1)
    take(inn, 4)
    take(inn, 6)
    assert take(inn, 10, lowest=9) == [-5, 4, 6]
    assert inn.missing(0.0) == [(9, 1)]
    assert take(inn, 9, lowest=9) == [9, 10]


def test_the_sender_giving_up_only_what_has_arrived_is_no_loss(inn: Inbound) -> None:
    take(inn, 2)
    take(inn, 3)
    assert take(inn, 1) == [1, 2, 3]
    assert [one.kind for one in inn.passed(4, 3, 0.0)] == []


def test_numbers_too_far_ahead_are_not_kept_and_huge_ones_cost_nothing() -> None:
    counters: Counter[str] = Counter()
    inn = Inbound(10, counters)
    assert take(inn, 12) == []
    assert counters["ahead"] == 1
    assert take(inn, 2**63) == []
    assert inn.missing(0.0) == [(1, 11)]
    assert take(inn, 2**63 + 2, lowest=2**63) == [-(2**63 - 1)]
    assert inn.missing(0.0) == [(2**63, 2)]


def test_a_request_has_a_bounded_number_of_ranges(inn: Inbound) -> None:
    for number in range(2, 900, 2):
        take(inn, number)
    assert inn.missing(0.0) == [(number, 1) for number in range(1, 2 * RANGES_MAX, 2)]


def test_flows_are_acknowledged_when_they_are_in_the_kernel(inn: Inbound) -> None:
    take(inn, 1)
    inn.owe_flows(1, at_once=False)
    assert (inn.ack_at, inn.report(1.0)[:2]) == (math.inf, (1, 1))
    inn.injected(1, 2.0)
    assert inn.ack_at == 2.0 + ACK_S
    assert inn.report(2.003) == (1, 0, pytest.approx(0.003))
    inn.reported()
    assert inn.ack_at == math.inf


def test_the_urgent_and_the_many_are_acknowledged_at_once(inn: Inbound) -> None:
    take(inn, 1)
    inn.owe_flows(1, at_once=True)
    inn.injected(1, 2.0)
    assert inn.ack_at == 2.0
    inn.reported()
    for number in range(2, 2 + ACK_EVERY):
        take(inn, number)
        inn.owe_flows(number, at_once=False)
    inn.injected(1 + ACK_EVERY, 3.0)
    assert inn.ack_at == 3.0


def test_confirming_what_was_never_delivered_means_nothing(inn: Inbound) -> None:
    take(inn, 1)
    inn.owe_flows(1, at_once=False)
    for token in (2, 0, -5, 1 << 70):
        inn.injected(token, 1.0)
    assert inn.report(1.0)[:2] == (1, 1)
