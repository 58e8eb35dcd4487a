"""Whether a path is alive, from numbered probes and their answers. Knows neither sockets nor clocks.

Time is an argument, in seconds of any monotonic clock. A probe that is not answered within `reply_within_s` is
lost. Loss and latency are those of the window, the last `window_s / interval_s` probes that were answered or lost:
with the defaults (those of dpinger, which pfSense runs) 120 probes in 60 s. So a path that falls silent has lost
20 % of its window, and is down, 14 s later: 12 s of lost probes and the 2 s after which the first counts. A path
that is silent from the start is down after four lost probes, 3.5 s. A cable that is pulled is down at once.

Against flapping: a state becomes worse at its threshold, but better only when the value has been below
`RELEASE` of that threshold for a sixth of the window.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

FIRST = 4
"""Probes that must be answered or lost before anything is said."""
YOUNG = 20
"""A window with an answer in it is judged as if it had at least so many probes: one lost of four is not 25 %."""
RELEASE = 0.8
"""Part of a threshold below which a value counts as better again."""
HOLD = 1 / 6
"""Part of the window for which it has to stay there."""
SEQUENCES = 0x10000
"""Numbers of probes are 16 bits in ICMP."""


class Status(StrEnum):
    """How a gateway is."""

    UNKNOWN = "unknown"
    """Not monitored, not probed from this node, or too few probes yet. Used as if it were online."""
    ONLINE = "online"
    LATENCY = "latency"
    """Answers take longer than the warning level."""
    LOSS = "loss"
    """More probes are lost than the warning level."""
    DOWN = "down"
    """Loss or latency at the level at which nobody should use it, or no link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How to probe, and what is too bad."""

    interval_s: float = 0.5
    reply_within_s: float = 2.0
    window_s: float = 60.0
    loss_warn: float = 10.0
    """Percent."""
    loss_down: float = 20.0
    latency_warn_ms: float = 200.0
    latency_down_ms: float = 500.0

    @property
    def window(self) -> int:
        """Probes in the window."""
        return max(FIRST, round(self.window_s / self.interval_s))

    @property
    def hold_s(self) -> float:
        """How long a value must be better before it counts."""
        return self.window_s * HOLD


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is known of a path at a moment."""

    status: Status = Status.UNKNOWN
    is_lossy: bool = False
    """Loss is at the warning level or above."""
    is_slow: bool = False
    """Latency is at the warning level or above."""
    loss: float | None = None
    """Percent of the window; nothing before the first probe is answered or lost."""
    latency_ms: float | None = None
    """Mean of the answers in the window."""
    deviation_ms: float | None = None
    """Their standard deviation."""


class _Level:
    """0 good, 1 warning, 2 down: worse at once, better after a while."""

    def __init__(self, warn: float, down: float, hold_s: float) -> None:
        self.value = 0
        self._warn, self._down, self._hold_s = warn, down, hold_s
        self._better_since: float | None = None

    def put(self, measured: float, now: float, *, at_once: bool) -> None:
        """A new value; `at_once` takes it as it is."""
        worst = self._of(measured, 1.0)
        if at_once or worst >= self.value:
            self.value, self._better_since = worst, None
            return
        relaxed = self._of(measured, RELEASE)
        if relaxed >= self.value:
            self._better_since = None
        elif self._better_since is None:
            self._better_since = now
        elif now - self._better_since >= self._hold_s:
            self.value, self._better_since = relaxed, None

    def _of(self, measured: float, part: float) -> int:
        return (measured >= self._warn * part) + (measured >= self._down * part)


class Monitor:
    """One path. `next_at` says when to come back; everything else is told by the caller."""

    def __init__(self, limits: Limits, now: float) -> None:
        self.limits = limits
        self.probe_at = now
        """When the next probe is due."""
        self._sequence = 0
        self._pending: dict[int, float] = {}
        self._results: deque[int | None] = deque(maxlen=limits.window)
        self._lost = self._sum_us = self._squares = 0
        self._is_plugged = True
        self._restart(Status.UNKNOWN)

    # ------------------------------------------------------------------------------------------ probes

    @property
    def next_at(self) -> float:
        """When a probe is due or has to be given up."""
        oldest = min(self._pending.values(), default=math.inf)
        return min(self.probe_at, oldest + self.limits.reply_within_s)

    def probe(self, now: float) -> int | None:
        """The number of the probe to send now, if one is due."""
        if now < self.probe_at:
            return None
        # A caller that was late does not make up for what it missed.
        self.probe_at = max(self.probe_at + self.limits.interval_s, now + self.limits.interval_s / 2)
        self._sequence = (self._sequence + 1) % SEQUENCES
        self._pending[self._sequence] = now
        return self._sequence

    def failed(self, sequence: int, now: float) -> None:
        """A probe could not even be sent."""
        if self._pending.pop(sequence, None) is not None:
            self._settle(None, now)

    def answered(self, sequence: int, now: float) -> bool:
        """An answer has come; whether it was waited for."""
        sent_at = self._pending.pop(sequence, None)
        if sent_at is None:
            return False
        if now - sent_at > self.limits.reply_within_s:
            self._settle(None, now)
        else:
            self._settle(max(0, round((now - sent_at) * 1e6)), now)
        return True

    def expire(self, now: float) -> None:
        """Give up the probes that have waited too long."""
        deadline = now - self.limits.reply_within_s
        for sequence in [each for each, sent_at in self._pending.items() if sent_at <= deadline]:
            del self._pending[sequence]
            self._settle(None, now)

    # --------------------------------------------------------------------------------------- interruptions

    def suspend(self, now: float) -> None:
        """It cannot be probed from here at the moment: nothing is known."""
        self.probe_at = now
        self._restart(Status.UNKNOWN)

    def unplugged(self) -> None:
        """The device has no link: down, whatever the window says."""
        self._is_plugged = False
        self._restart(Status.DOWN)

    def plugged(self, now: float) -> None:
        """The link is back: judged anew, and down until there are answers."""
        if not self._is_plugged:
            self._is_plugged = True
            self._pending.clear()
            self.probe_at = now

    def _restart(self, status: Status) -> None:
        limits = self.limits
        self._pending.clear()
        self._results.clear()
        self._lost = self._sum_us = self._squares = 0
        self._loss = _Level(limits.loss_warn, limits.loss_down, limits.hold_s)
        self._latency = _Level(limits.latency_warn_ms, limits.latency_down_ms, limits.hold_s)
        self._status = status
        self._is_judged = False

    # ------------------------------------------------------------------------------------------ verdict

    @property
    def reading(self) -> Reading:
        """What is known now."""
        settled, answered = len(self._results), len(self._results) - self._lost
        mean = self._sum_us / answered if answered else 0.0
        variance = max(0.0, self._squares / answered - mean * mean) if answered else 0.0
        return Reading(
            status=self._status,
            is_lossy=self._loss.value > 0,
            is_slow=self._latency.value > 0,
            loss=100.0 * self._lost / settled if settled else None,
            latency_ms=mean / 1000 if answered else None,
            deviation_ms=math.sqrt(variance) / 1000 if answered else None,
        )

    def _settle(self, rtt_us: int | None, now: float) -> None:
        if not self._is_plugged:
            return
        if len(self._results) == self._results.maxlen:
            self._count(self._results[0], -1)
        self._results.append(rtt_us)
        self._count(rtt_us, 1)
        if len(self._results) >= FIRST:
            self._judge(now)

    def _count(self, rtt_us: int | None, sign: int) -> None:
        # Whole microseconds: sums of these never drift.
        if rtt_us is None:
            self._lost += sign
        else:
            self._sum_us += sign * rtt_us
            self._squares += sign * rtt_us * rtt_us

    def _judge(self, now: float) -> None:
        settled = len(self._results)
        answered = settled - self._lost
        of = max(settled, min(YOUNG, self.limits.window)) if answered else settled
        self._loss.put(100.0 * self._lost / of, now, at_once=not self._is_judged)
        # Without any answer there is no latency, and loss has said all.
        latency_ms = self._sum_us / answered / 1000 if answered else 0.0
        self._latency.put(latency_ms, now, at_once=not self._is_judged or not answered)
        self._is_judged = True
        if max(self._loss.value, self._latency.value) == 2:
            self._status = Status.DOWN
        elif self._loss.value:
            self._status = Status.LOSS
        else:
            self._status = Status.LATENCY if self._latency.value else Status.ONLINE
