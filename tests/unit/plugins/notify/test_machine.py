"""The outbox: when messages go, what is in them, what becomes of those that fail."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_notify.machine import ATTEMPTS_MAX, QUEUE_MAX, RETRY_S, SETTLE_S, Outbox, worst
from appliance_notify.vocabulary import Kind, Message, Notice, Severity

NOTICE = Notice(id="fw1-1", at=0.0, kind=Kind.ROLE, severity=Severity.WARNING, key="a", what="BACKUP")


def notice(key: str = "a", severity: Severity = Severity.WARNING, what: str = "BACKUP") -> Notice:
    return replace(NOTICE, key=key, severity=severity, what=what)


def sent(message: Message | None) -> list[tuple[str, str, int]]:
    assert message is not None
    return [(each.notice.key, each.notice.what, each.times) for each in message.entries]


def test_what_belongs_together_is_in_one_message() -> None:
    outbox = Outbox("fw1", 6)
    assert outbox.next_deadline() is None
    outbox.put(notice("a"), 10.0)
    outbox.put(notice("b"), 11.0)
    assert outbox.take(11.9) is None
    assert outbox.next_deadline() == 10.0 + SETTLE_S
    assert sent(outbox.take(12.0)) == [("a", "BACKUP", 1), ("b", "BACKUP", 1)]
    assert outbox.next_deadline() is None
    outbox.delivered(12.1)
    assert (outbox.sent, outbox.messages, outbox.queued) == (2, 1, 0)


def test_the_last_word_about_a_key_stands_for_all_of_them() -> None:
    outbox = Outbox("fw1", 6)
    for turn in range(5):
        outbox.put(notice("gateway", what=f"state {turn}"), turn / 10)
    outbox.put(notice("role"), 1.0)
    assert sent(outbox.take(5.0)) == [("gateway", "state 4", 5), ("role", "BACKUP", 1)]
    outbox.delivered(5.0)
    assert outbox.sent == 6


def test_messages_are_limited_and_nothing_is_lost_by_that() -> None:
    outbox = Outbox("fw1", 2)
    now, times = 0.0, []
    for number in range(5):
        outbox.put(notice(f"key{number}"), now)
        deadline = outbox.next_deadline()
        assert deadline is not None
        now = deadline
        assert outbox.take(now) is not None
        outbox.delivered(now)
        times.append(now)
    assert times[:2] == [SETTLE_S, 2 * SETTLE_S]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times[1:])]
    assert gaps == [pytest.approx(28.0), pytest.approx(30.0), pytest.approx(30.0)]


def test_what_is_too_much_is_counted_and_the_least_important_goes_first() -> None:
    outbox = Outbox("fw1", 6)
    outbox.put(notice("master", Severity.CRITICAL), 0.0)
    for number in range(QUEUE_MAX + 4):
        outbox.put(notice(f"key{number}"), 0.0)
    message = outbox.take(10.0)
    assert message is not None
    assert (len(message.entries), message.more, outbox.lost) == (QUEUE_MAX, 5, 5)
    assert message.entries[0].notice.key == "master"
    assert worst(message) is Severity.CRITICAL


def test_a_failure_is_tried_again_later_and_later_and_newer_words_count() -> None:
    outbox = Outbox("fw1", 60)
    outbox.put(notice("a", what="down"), 0.0)
    outbox.put(notice("b"), 0.0)
    now, waits = SETTLE_S, []
    for _ in range(5):
        assert outbox.take(now) is not None
        outbox.failed("refused", now)
        deadline = outbox.next_deadline()
        assert deadline is not None
        waits.append(deadline - now)
        now = deadline
    assert waits == [*RETRY_S, RETRY_S[-1]]
    assert (outbox.failures, outbox.last_error, outbox.queued) == (5, "refused", 2)
    outbox.put(notice("a", what="up"), now)
    assert outbox.next_deadline() == now
    assert sent(outbox.take(now)) == [("b", "BACKUP", 1), ("a", "up", 2)]
    outbox.delivered(now)
    assert (outbox.failures, outbox.last_error, outbox.sent, outbox.lost) == (0, "", 3, 0)


def test_what_is_refused_for_good_is_not_sent_again_and_the_next_message_says_so() -> None:
    outbox = Outbox("fw1", 60)
    outbox.put(notice("a"), 0.0)
    outbox.take(5.0)
    outbox.failed("404", 5.0, lasting=True)
    assert (outbox.next_deadline(), outbox.lost, outbox.queued) == (None, 1, 0)
    outbox.put(notice("b"), 100.0)
    message = outbox.take(110.0)
    assert message is not None
    assert message.more == 1


def test_it_gives_up_in_the_end() -> None:
    outbox = Outbox("fw1", 60)
    outbox.put(notice("a"), 0.0)
    attempts = 0
    while (deadline := outbox.next_deadline()) is not None:
        assert outbox.take(deadline) is not None
        outbox.failed("unreachable", deadline)
        attempts += 1
    assert (attempts, outbox.lost, outbox.queued) == (ATTEMPTS_MAX, 1, 0)


def test_a_node_that_stops_does_not_wait() -> None:
    outbox = Outbox("fw1", 6)
    outbox.put(notice("a"), 10.0)
    outbox.hurry(10.0)
    assert outbox.next_deadline() == 10.0


def test_what_waits_is_tried_at_once_when_something_else_has_arrived() -> None:
    outbox = Outbox("fw1", 6)
    outbox.put(notice("a"), 10.0)
    assert outbox.take(12.0) is not None
    outbox.failed("no route", 12.0)
    outbox.is_reached(13.0)
    assert (outbox.failures, outbox.last_error, outbox.next_deadline()) == (0, "", 13.0)


def test_a_lower_rate_counts_at_once() -> None:
    outbox = Outbox("fw1", 60)
    outbox.change_rate(1)
    outbox.put(notice("a"), 0.0)
    assert outbox.take(2.0) is not None
    outbox.delivered(2.0)
    outbox.put(notice("b"), 2.0)
    assert outbox.next_deadline() == pytest.approx(62.0)


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdef"), st.floats(0.0, 30.0), st.sampled_from(["ok", "fail", "lasting"])),
        max_size=60,
    )
)
def test_every_notice_is_sent_lost_or_waits_and_the_rate_is_kept(steps: list[tuple[str, float, str]]) -> None:
    outbox, now, messages = Outbox("fw1", 6), 0.0, list[float]()
    for put, (key, wait, outcome) in enumerate(steps, 1):
        outbox.put(notice(key), now)
        now += wait
        if outbox.take(now) is not None:
            messages.append(now)
            if outcome == "ok":
                outbox.delivered(now)
            else:
                outbox.failed("no", now, lasting=outcome == "lasting")
        assert outbox.sent + outbox.lost + outbox.queued == put
        assert len([each for each in messages if each > now - 60.0]) <= 12
