"""The sending half of one peer's stream: numbers, the window of what can be repeated, and how far the peer is.

A datagram keeps its number for life and is sealed anew each time it is sent. The window holds what has not been
acknowledged, at most `WINDOW_BYTES` of it; what falls out can no longer be repeated, and the peer learns that
from `behind` in every header. Payloads are shared with the windows of other peers.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable
from typing import NamedTuple

WINDOW_BYTES = 12 << 20
"""Three seconds of 60 000 records a second."""
WINDOW_MIN = 256
"""Datagrams, however large."""
DROP_PART = 4
"""This part of a full window goes at once: otherwise what is repeated would fall out before it arrives."""
REPEATS_MAX = 512
"""Datagrams that one NACK may bring back."""
REPEAT_S = 0.008
"""A datagram is not repeated sooner: the request and its repetition are often about the same loss."""
PROBE_S = 0.05
PROBE_MAX_S = 1.0
MARKS_MAX = 4096
_FAR = math.inf


def window_datagrams(datagram_max: int) -> int:
    """How many datagrams are retained."""
    return max(WINDOW_MIN, WINDOW_BYTES // datagram_max)


class Item(NamedTuple):
    """A datagram without what changes each time it is sent."""

    kind: int
    flags: int
    records: int
    payload: bytes


class Outbound:
    """Datagrams to one peer, numbered from 1."""

    def __init__(self, window: int, counters: Counter[str]) -> None:
        self._limit = window
        self._counters = counters
        self._items: dict[int, Item] = {}
        self.first = 1
        """The lowest number that can be repeated; `last` + 1 when nothing can."""
        self.last = 0
        self.acked = 0
        self.confirmed = 0
        """Everything up to it is in the peer's kernel."""
        self.probe_at = _FAR
        self._sent = 0
        self._again: dict[int, None] = {}
        self._repeated_at: dict[int, float] = {}
        self._probe_s = PROBE_S
        self._marks: deque[tuple[int, float]] = deque(maxlen=MARKS_MAX)
        self._tickets: deque[tuple[int, int]] = deque(maxlen=MARKS_MAX)
        self._lag_s: float | None = None

    # --- filling -------------------------------------------------------------------------------------------

    def add(self, kind: int, payload: bytes = b"", records: int = 0, flags: int = 0) -> None:
        """Queue a datagram."""
        self.add_all([Item(kind, flags, records, payload)])

    def add_all(self, items: list[Item]) -> None:
        """Queue datagrams."""
        first = self.last + 1
        self.last += len(items)
        self._items.update(zip(range(first, self.last + 1), items, strict=True))
        if self.last - self.first >= self._limit:
            self._drop(self.last - self._limit + self._limit // DROP_PART)

    def _drop(self, to: int) -> None:
        """Retain nothing up to this number."""
        for number in range(self.first, to + 1):
            self._items.pop(number, None)
            self._repeated_at.pop(number, None)
            self._again.pop(number, None)
        self._counters["dropped"] += to + 1 - self.first
        self._sent = max(self._sent, to)
        self.first = to + 1

    def mark(self, now: float, ticket: int = 0) -> None:
        """What has been added until now was offered at this time; a ticket is to be reported when it is confirmed."""
        self._marks.append((self.last, now))
        if ticket:
            self._tickets.append((self.last, ticket))

    def give_up(self) -> None:
        """Forget everything that is not acknowledged: the peer is silent, and later this would be old news."""
        if self._items:
            self._counters["dropped"] += len(self._items)
            self._items.clear()
            self._again.clear()
            self._repeated_at.clear()
        self.first, self._sent = self.last + 1, self.last
        self._marks.clear()
        self._tickets.clear()
        self.probe_at = _FAR

    def skip(self) -> None:
        """Use up a number for something that is not sent, so that the peer learns of the gap."""
        if self.last == self.acked:
            self.last += 1
        self.give_up()

    # --- sending -------------------------------------------------------------------------------------------

    def take_due(self, now: float) -> list[tuple[int, Item]]:
        """What is to be sent now, with its numbers: repetitions, and everything new."""
        items = self._items
        due = []
        if self._again:
            for number in self._again:
                due.append((number, items[number]))
                self._repeated_at[number] = now
            self._again.clear()
        if self._sent < self.last:
            due += [(number, items[number]) for number in range(max(self._sent + 1, self.first), self.last + 1)]
            self._sent = self.last
            if self.probe_at == _FAR:
                self.probe_at = now + self._probe_s
        return due

    def probed(self, now: float) -> None:
        """The peer has just been asked whether everything is there."""
        self._probe_s = min(self._probe_s * 2, PROBE_MAX_S)
        self.probe_at = now + self._probe_s

    # --- hearing -------------------------------------------------------------------------------------------

    @property
    def ahead(self) -> int:
        """Datagrams that are not in the peer's kernel yet."""
        return self.last - self.confirmed

    def heard(self, ack: int, pending: int, held_s: float, now: float) -> int:
        """Take an acknowledgement; the newest ticket that it confirms, or 0."""
        if ack > self.last:
            return 0
        moved = ack > self.acked
        if moved:
            for number in range(self.first, ack + 1):
                self._items.pop(number, None)
            if self._repeated_at or self._again:
                self._repeated_at = {one: at for one, at in self._repeated_at.items() if one > ack}
                self._again = {one: None for one in self._again if one > ack}
            self.acked = ack
            self.first = max(self.first, ack + 1)
            self._sent = max(self._sent, ack)
        ticket = 0
        confirmed = ack - pending
        if confirmed > self.confirmed:
            self.confirmed = confirmed
            ticket = self._confirm(confirmed, held_s, now)
            moved = True
        if self.confirmed >= self.last:
            self._probe_s, self.probe_at = PROBE_S, _FAR
        elif moved:
            self._probe_s, self.probe_at = PROBE_S, now + PROBE_S
        return ticket

    def _confirm(self, confirmed: int, held_s: float, now: float) -> int:
        marks, tickets, ticket = self._marks, self._tickets, 0
        while marks and marks[0][0] <= confirmed:
            self._lag_s = max(0.0, now - marks.popleft()[1] - held_s)
        while tickets and tickets[0][0] <= confirmed:
            ticket = tickets.popleft()[1]
        return ticket

    def asked(self, ranges: Iterable[tuple[int, int]], now: float) -> None:
        """Repeat what the peer misses: first numbers and counts."""
        left = REPEATS_MAX
        count = 0
        for first, length in ranges:
            begin, end = max(first, self.first), min(first + length, self._sent + 1)
            for number in range(begin, min(end, begin + left)):
                if now - self._repeated_at.get(number, -_FAR) >= REPEAT_S and number not in self._again:
                    self._again[number] = None
                    count += 1
            left -= max(0, end - begin)
            if left <= 0:
                break
        if not count:
            self.probe_at = min(self.probe_at, now + REPEAT_S)
        self._counters["retransmitted"] += count

    def lag_s(self, now: float) -> float | None:
        """Age of the newest confirmed state at its confirmation, or of the oldest that is not confirmed yet."""
        if self._marks and now - self._marks[0][1] > (self._lag_s or 0.0):
            return now - self._marks[0][1]
        return self._lag_s
