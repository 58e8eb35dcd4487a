"""How losses and gaps are computed."""

from __future__ import annotations

import json

import pytest

from appliance.lab.measure import NS_PER_MS, Losses, ProbeKind, ProbeResult, losses, over_time, percent


def found(answers: list[int], interval_ms: int = 1, tail_ms: int = 1) -> Losses:
    sent = [1_000_000_000 + number * interval_ms * NS_PER_MS for number in range(len(answers))]
    return losses(sent, answers, sent[-1] + tail_ms * NS_PER_MS if sent else 0)


def test_nothing_lost_means_no_gap() -> None:
    assert found([1, 1, 1]) == Losses(lost=0, duplicates=0, longest_gap_ns=0, gap_start_ns=0, survived=True)


def test_the_longest_gap_counts_not_the_first() -> None:
    result = found([1, 0, 1, 0, 0, 0, 1, 0, 0, 1])
    assert result.lost == 6
    assert result.longest_gap_ns == 3 * NS_PER_MS
    assert result.gap_start_ns == 1_000_000_000 + 3 * NS_PER_MS


def test_a_gap_that_never_ends_lasts_until_the_end() -> None:
    result = found([1, 1, 0, 0, 0], tail_ms=5)
    assert result.longest_gap_ns == 7 * NS_PER_MS
    assert result.survived, "half a second has not passed"
    assert not found([1] + [0] * 700).survived


def test_a_sender_that_stalls_within_a_gap_does_not_shorten_it() -> None:
    sent = [0, 1 * NS_PER_MS, 51 * NS_PER_MS, 52 * NS_PER_MS]
    assert losses(sent, [1, 0, 0, 1], 53 * NS_PER_MS).longest_gap_ns == 51 * NS_PER_MS


def test_a_sender_that_stalls_outside_a_gap_is_no_loss() -> None:
    assert losses([0, 900 * NS_PER_MS], [1, 1], 901 * NS_PER_MS).longest_gap_ns == 0


def test_duplicates_are_counted_and_are_no_loss() -> None:
    result = found([1, 3, 2])
    assert (result.lost, result.duplicates) == (0, 3)


def test_nothing_sent_is_not_survival() -> None:
    assert not found([]).survived


def test_lists_of_different_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        losses([1, 2], [1], 3)


def test_loss_over_time_is_a_share_of_what_was_sent_in_each_tenth_of_a_second() -> None:
    sent = [number * 10 * NS_PER_MS for number in (*range(10), *range(10, 20), 35)]
    answers = [*[1] * 10, *[1] * 5, *[0] * 5, 0]
    slices = over_time(sent, answers)
    assert percent(slices) == (0, 50, 0, 100)
    assert over_time([], []) == ()


def test_results_survive_being_printed_and_read() -> None:
    result = ProbeResult(kind=ProbeKind.UDP, sent=10, lost=2, longest_gap_ms=2.5, survived=True, seconds=0.01)
    data = json.loads(json.dumps(result.to_json())) | {"a_later_field": 1}
    assert ProbeResult.from_json(data) == result


def test_the_sentence_says_what_matters() -> None:
    lossy = ProbeResult(kind=ProbeKind.UDP, sent=10, lost=2, duplicates=1, longest_gap_ms=2.4, survived=False)
    assert lossy.sentence() == "2 of 10 lost, 1 duplicates, longest gap 2 ms, did not survive"
    bulk = ProbeResult(
        kind=ProbeKind.DOWNLOAD, sent=9, lost=0, longest_gap_ms=30, survived=True, received_bytes=5_000_000, seconds=1.0
    )
    assert bulk.sentence() == "40 Mbit/s, longest pause 30 ms, survived"
