"""One merged deadline for a thousand VHIDs: a heap whose entries may be too early, never too late.

A received advert moves a dead timer later a thousand times per second; that must cost nothing. So a deadline
that moved later leaves its old heap entry alone, and the entry is corrected when it reaches the top.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")

_SLACK = 64  # entries above twice the number of keys before the heap is rebuilt


class Schedule(Generic[K]):
    """Deadlines by key; `due_of` tells the true deadline of a key, `math.inf` for none."""

    def __init__(self, due_of: Callable[[K], float]) -> None:
        self._due_of = due_of
        self._heap: list[tuple[float, K]] = []
        self._entry: dict[K, float] = {}

    def update(self, key: K) -> None:
        """Tell that the deadline of `key` may have moved earlier. Moving later needs no call."""
        due = self._due_of(key)
        if due < self._entry.get(key, math.inf):
            self._entry[key] = due
            heapq.heappush(self._heap, (due, key))
            if len(self._heap) > 2 * len(self._entry) + _SLACK:
                self._rebuild()

    def forget(self, key: K) -> None:
        """Drop a key."""
        self._entry.pop(key, None)

    def next(self) -> float | None:
        """Return the earliest true deadline."""
        heap = self._heap
        while heap:
            at, key = heap[0]
            if self._entry.get(key) != at:
                heapq.heappop(heap)
                continue
            due = self._due_of(key)
            if due <= at:
                return at
            if due == math.inf:
                heapq.heappop(heap)
                del self._entry[key]
            else:
                self._entry[key] = due
                heapq.heapreplace(heap, (due, key))
        return None

    def take_due(self, now: float) -> list[K]:
        """Remove and return the keys whose deadline has come; each needs an `update` afterwards."""
        keys = []
        while (at := self.next()) is not None and at <= now:
            key = heapq.heappop(self._heap)[1]
            del self._entry[key]
            keys.append(key)
        return keys

    def _rebuild(self) -> None:
        self._heap = [(at, key) for key, at in self._entry.items()]
        heapq.heapify(self._heap)
