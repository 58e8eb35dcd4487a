"""Verdicts on a path: thresholds as dpinger's, silence, cables, flapping."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance_gateways.monitor import FIRST, Limits, Monitor, Reading, Status

RTT_S = 0.01
Path = Callable[[int], float | None]
"""Round trip of the n-th probe in seconds; nothing: lost."""


def always(number: int) -> float | None:
    return RTT_S


def never(number: int) -> float | None:
    return None


class Walk:
    """Runs a monitor against a path, as a prober would."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.now = 100.0
        self.monitor = Monitor(limits or Limits(), self.now)
        self.sent = 0
        self.history: list[tuple[float, Status]] = [(self.now, Status.UNKNOWN)]
        self._coming: dict[int, float] = {}

    def walk(self, seconds: float, path: Path) -> Reading:
        end = self.now + seconds
        while True:
            at = min([self.monitor.next_at, *self._coming.values()])
            if at > end:
                self.now = end
                return self.monitor.reading
            self.now = max(self.now, at)
            for sequence in [each for each, when in self._coming.items() if when <= self.now]:
                del self._coming[sequence]
                self.monitor.answered(sequence, self.now)
            self.monitor.expire(self.now)
            probe = self.monitor.probe(self.now)
            if probe is not None:
                rtt = path(self.sent)
                self.sent += 1
                if rtt is not None:
                    self._coming[probe] = self.now + rtt
            status = self.monitor.reading.status
            if status is not self.history[-1][1]:
                self.history.append((self.now, status))

    def became(self, status: Status) -> float:
        """Seconds after the start."""
        return next(when for when, what in self.history if what is status) - 100.0


def test_the_defaults_are_those_of_dpinger() -> None:
    limits = Limits()
    assert (limits.interval_s, limits.reply_within_s, limits.window) == (0.5, 2.0, 120)
    assert (limits.loss_warn, limits.loss_down, limits.latency_warn_ms, limits.latency_down_ms) == (10, 20, 200, 500)


def test_a_path_that_answers_is_online_after_four_probes() -> None:
    walk = Walk()
    reading = walk.walk(10, always)
    assert reading.status is Status.ONLINE
    assert walk.became(Status.ONLINE) == pytest.approx(1.5 + RTT_S)
    assert (reading.loss, reading.is_lossy, reading.is_slow) == (0.0, False, False)
    assert reading.latency_ms == pytest.approx(10.0)
    assert reading.deviation_ms == pytest.approx(0.0, abs=1e-3)


def test_nothing_is_said_before() -> None:
    walk = Walk()
    assert walk.monitor.reading == Reading()
    assert walk.walk(1.2, always).status is Status.UNKNOWN


def test_a_path_that_is_silent_from_the_start_is_down_after_four_lost_probes() -> None:
    walk = Walk()
    reading = walk.walk(10, never)
    assert walk.became(Status.DOWN) == pytest.approx(3.5)
    assert (reading.loss, reading.latency_ms, reading.deviation_ms) == (100.0, None, None)
    assert walk.history == [(100.0, Status.UNKNOWN), (103.5, Status.DOWN)]


def test_silence_later_is_a_warning_after_8_s_and_down_after_14_s() -> None:
    walk = Walk()
    walk.walk(120, always)
    walk.walk(60, never)
    assert walk.became(Status.LOSS) == pytest.approx(120 + 8, abs=0.6)
    assert walk.became(Status.DOWN) == pytest.approx(120 + 14, abs=0.6)


def test_it_is_up_again_when_the_window_is_well_below_the_threshold_for_a_while() -> None:
    walk = Walk()
    walk.walk(120, always)
    walk.walk(60, never)
    walk.walk(180, always)
    assert [status for _when, status in walk.history[1:]] == [Status.ONLINE, Status.LOSS, Status.DOWN, Status.ONLINE]
    # 84 % of the window have to be answered, then it has to hold for a sixth of it.
    assert walk.history[-1][0] - 280 == pytest.approx(60 * 0.84 + 10, abs=2.5)


def test_one_lost_probe_of_a_young_window_is_no_alarm() -> None:
    walk = Walk()
    reading = walk.walk(20, lambda number: None if number == 0 else RTT_S)
    assert [status for _when, status in walk.history] == [Status.UNKNOWN, Status.ONLINE]
    assert reading.loss == pytest.approx(100 / 40, abs=0.2), "people see the plain share"


def test_a_slow_path_warns_and_is_down_at_its_limits() -> None:
    walk = Walk()
    assert walk.walk(70, lambda _: 0.25).status is Status.LATENCY
    assert (walk.monitor.reading.is_slow, walk.monitor.reading.is_lossy) == (True, False)
    assert walk.walk(70, lambda _: 0.6).status is Status.DOWN
    assert walk.walk(140, always).status is Status.ONLINE


def test_loss_is_told_before_latency_and_both_are_known() -> None:
    reading = Walk().walk(120, lambda number: None if number % 7 == 0 else 0.3)
    assert (reading.status, reading.is_lossy, reading.is_slow) == (Status.LOSS, True, True)


def test_deviation_is_that_of_the_answers() -> None:
    reading = Walk().walk(120, lambda number: 0.01 if number % 2 else 0.03)
    assert reading.latency_ms == pytest.approx(20.0)
    assert reading.deviation_ms == pytest.approx(10.0, rel=1e-3)


def test_an_answer_counts_once_and_only_when_it_is_waited_for() -> None:
    monitor = Monitor(Limits(), 0.0)
    sequence = monitor.probe(0.0)
    assert sequence is not None
    assert not monitor.answered(sequence + 1, 0.1)
    assert monitor.answered(sequence, 0.1)
    assert not monitor.answered(sequence, 0.2)


def test_an_answer_that_comes_too_late_is_a_loss() -> None:
    monitor = Monitor(Limits(), 0.0)
    sequence = monitor.probe(0.0)
    assert sequence is not None
    assert monitor.answered(sequence, 2.1)
    assert monitor.reading.loss == 100.0


def test_a_probe_that_cannot_be_sent_is_lost_at_once() -> None:
    monitor = Monitor(Limits(), 0.0)
    for number in range(FIRST):
        sequence = monitor.probe(number * 0.5)
        assert sequence is not None
        monitor.failed(sequence, number * 0.5)
    assert monitor.reading.status is Status.DOWN
    monitor.failed(999, 9.0)
    assert monitor.reading.loss == 100.0


def test_a_prober_that_was_held_up_does_not_make_up_for_it() -> None:
    monitor = Monitor(Limits(), 0.0)
    assert monitor.probe(0.0) is not None
    assert monitor.probe(0.4) is None
    assert monitor.probe(30.0) is not None
    assert monitor.probe(30.0) is None
    assert monitor.probe_at == 30.25


def test_without_a_link_it_is_down_at_once_and_judged_anew_with_it() -> None:
    walk = Walk()
    walk.walk(120, always)
    walk.monitor.unplugged()
    assert walk.monitor.reading == Reading(status=Status.DOWN)
    assert walk.walk(30, never).loss is None, "probes without a link say nothing about the path"
    walk.monitor.plugged(walk.now)
    assert walk.walk(1.0, always).status is Status.DOWN, "until there are answers"
    assert walk.walk(1.0, always).status is Status.ONLINE
    walk.monitor.plugged(walk.now)
    assert walk.monitor.reading.status is Status.ONLINE, "a link that was there all the time changes nothing"


def test_a_path_that_cannot_be_probed_from_here_is_unknown() -> None:
    walk = Walk()
    walk.walk(60, never)
    walk.monitor.suspend(walk.now)
    assert walk.monitor.reading == Reading()
    assert walk.walk(3, always).status is Status.ONLINE


LIMITS = st.builds(
    Limits,
    interval_s=st.sampled_from([0.1, 0.5, 1.0]),
    reply_within_s=st.sampled_from([0.3, 2.0]),
    window_s=st.sampled_from([10.0, 30.0, 60.0]),
)
OUTCOMES = st.lists(st.one_of(st.none(), st.floats(0.001, 0.29)), min_size=1, max_size=400)


@settings(max_examples=60, deadline=None)
@given(LIMITS, OUTCOMES)
def test_whatever_happens_it_is_bounded_and_does_not_flap(limits: Limits, outcomes: list[float | None]) -> None:
    walk = Walk(limits)
    reading = walk.walk(limits.interval_s * len(outcomes), lambda number: outcomes[number % len(outcomes)])
    assert reading.loss is None or 0 <= reading.loss <= 100
    assert len(walk.monitor._pending) <= limits.reply_within_s / limits.interval_s + 2
    assert len(walk.monitor._results) <= limits.window
    order = [Status.UNKNOWN, Status.ONLINE, Status.LATENCY, Status.LOSS, Status.DOWN]
    # Loss and latency have a level each, so two improvements may fall together; each level needs its own wait.
    better = [
        now[0]
        for before, now in zip(walk.history[1:], walk.history[2:], strict=False)
        if order.index(now[1]) < order.index(before[1])
    ]
    assert len(better) <= 4 * (1 + limits.interval_s * len(outcomes) / limits.hold_s)


@settings(max_examples=40, deadline=None)
@given(LIMITS, OUTCOMES)
def test_after_anything_silence_is_down_in_time_and_answers_bring_it_back(
    limits: Limits, outcomes: list[float | None]
) -> None:
    walk = Walk(limits)
    walk.walk(limits.interval_s * len(outcomes), lambda number: outcomes[number % len(outcomes)])
    probes = max(FIRST, round(limits.window * limits.loss_down / 100 + 0.5))
    silence_s = (probes + 1) * limits.interval_s + limits.reply_within_s
    assert walk.walk(silence_s, never).status is Status.DOWN
    back_s = limits.window_s + 2 * limits.hold_s + limits.reply_within_s + 1
    assert walk.walk(back_s, always).status is Status.ONLINE
