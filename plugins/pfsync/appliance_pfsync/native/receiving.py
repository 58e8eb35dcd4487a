"""The receiving half of one peer's stream: order, gaps, and what is acknowledged when.

Numbers arrive in any order, or not at all. What is early waits for what is missing, which is asked for after
`NACK_S` (a network that reorders needs no repetition) and again every `NACK_AGAIN_S`. What the sender can no
longer repeat is lost: it is passed over and said so.

An acknowledgement says what has arrived, and how much of that is not in the kernel yet. It goes with whatever
is sent to the peer, after `ACK_S` by itself, and at once if the sender wants that or many have come.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

NACK_S = 0.002
NACK_AGAIN_S = 0.02
ACK_S = 0.02
ACK_EVERY = 16
"""Datagrams: a bulk update waits for these, so they should not wait long."""
RANGES_MAX = 64
GAP = 0
"""Kind of the frame that stands for what was lost; its `records` tell how many datagrams."""
_FAR = math.inf


class Frame(NamedTuple):
    """An opened datagram."""

    kind: int
    flags: int
    records: int
    number: int
    inner: bytes
    """Inner header and payload."""


class Inbound:
    """Datagrams of one peer, numbered from 1."""

    def __init__(self, window: int, counters: Counter[str]) -> None:
        self._limit = window
        self._counters = counters
        self._early: dict[int, Frame] = {}
        self.expected = 1
        self.nack_at = _FAR
        self.ack_at = _FAR
        self._top = 0
        """The highest number that has been used, as far as known."""
        self._nacked_to = 0
        self._wanted = 0
        """The newest number whose acknowledgement is urgent."""
        self._owed = 0
        self._flows_to = 0
        self._in_kernel = 0
        self._in_kernel_at = 0.0

    # --- arriving ------------------------------------------------------------------------------------------

    def take(self, frame: Frame, lowest: int, now: float) -> list[Frame]:
        """Take a numbered datagram; what can be delivered now, in order.

        Args:
            frame: The datagram.
            lowest: What is below can no longer be repeated by the sender.
            now: Monotonic seconds.
        """
        number = frame.number
        if number == self.expected and not self._early and lowest <= number and number > self._top:
            self.expected = number + 1
            self._top = number
            return [frame]
        if number < self.expected or number in self._early:
            self._counters["duplicate"] += 1
            self.ack_at = min(self.ack_at, now + ACK_S)  # the sender seems not to know that it has arrived
            return self.passed(lowest, number, now)
        if number - max(self.expected, lowest) > self._limit:
            self._counters["ahead"] += 1
            return self.passed(lowest, number, now)
        self._early[number] = frame
        return self.passed(lowest, number, now)

    def passed(self, lowest: int, used: int, now: float) -> list[Frame]:
        """All numbers up to `used` have been used, and those below `lowest` can not be had any more."""
        self._top = max(self._top, used)
        ready: list[Frame] = []
        if lowest > self.expected:
            ready = self._pass_over(lowest)
        early = self._early
        while early and (frame := early.pop(self.expected, None)) is not None:
            ready.append(frame)
            self.expected += 1
        if self._top < self.expected:
            self.nack_at = _FAR
        elif self.nack_at == _FAR or (self._top > self._nacked_to and self.nack_at > now + NACK_S):
            self.nack_at = now + NACK_S
        return ready

    def _pass_over(self, lowest: int) -> list[Frame]:
        ready, missing = [], lowest - self.expected
        for number in sorted(number for number in self._early if number < lowest):
            ready.append(self._early.pop(number))
            missing -= 1
        self.expected = lowest
        self._top = max(self._top, lowest - 1)
        if missing:
            ready.insert(0, Frame(GAP, 0, missing, lowest - 1, b""))
        return ready

    def missing(self, now: float) -> list[tuple[int, int]]:
        """Ranges to ask for: first number and count. Asking again is due later."""
        ranges: list[tuple[int, int]] = []
        at = self.expected
        end = min(self._top, self.expected + self._limit) + 1
        for early in sorted(self._early):
            if early > at:
                ranges.append((at, early - at))
            at = early + 1
            if len(ranges) == RANGES_MAX:
                break
        else:
            if at < end:
                ranges.append((at, end - at))
        self._nacked_to = self._top
        self.nack_at = now + NACK_AGAIN_S
        return ranges

    # --- acknowledging -------------------------------------------------------------------------------------

    def owe(self, now: float, *, at_once: bool = False) -> None:
        """A datagram has been delivered that needs no kernel."""
        self._owed += 1
        if at_once or self._owed >= ACK_EVERY:
            self.ack_at = now
        else:
            self.ack_at = min(self.ack_at, now + ACK_S)

    def owe_flows(self, number: int, *, at_once: bool) -> None:
        """Flows have been delivered; `injected` will say when they are in the kernel."""
        self._flows_to = number
        self._owed += 1
        if at_once:
            self._wanted = number

    def injected(self, number: int, now: float) -> None:
        """Everything up to this datagram is in the kernel."""
        if not self._in_kernel < number <= self._flows_to:
            return
        is_wanted = self._in_kernel < self._wanted <= number
        self._in_kernel, self._in_kernel_at = number, now
        if is_wanted or self._owed >= ACK_EVERY:
            self.ack_at = now
        else:
            self.ack_at = min(self.ack_at, now + ACK_S)

    def report(self, now: float) -> tuple[int, int, float]:
        """What the next datagram says: acknowledged, of these not in the kernel, seconds that the news is old."""
        delivered = self.expected - 1
        pending = delivered - self._in_kernel if self._in_kernel < self._flows_to else 0
        return delivered, pending, now - self._in_kernel_at

    def reported(self) -> None:
        """It has been said."""
        self.ack_at, self._owed = _FAR, 0
