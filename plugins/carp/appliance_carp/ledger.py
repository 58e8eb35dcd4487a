"""Shared memory between the heartbeat process and its guard: who is MASTER, and am I alive.

One anonymous mapping, inherited over fork. Every field is written by one side only and is read by the other
at any moment, so a field changes in one piece: an aligned word through a `memoryview`. Not `struct.pack_into`,
which clears the place before it writes: a guard that looks in between sees a process that last lived in 1970.
"""

from __future__ import annotations

import mmap

WORD = 8
SLOTS_MAX = 2048
"""Twice as many virtual hosts as the configuration allows: a reload adds the new ones before it removes the old."""
_FENCED = 1
_SLOTS = 2
"""Words before the slots: heartbeat (monotonic seconds), fenced flag. A slot: last stamp sequence, MASTER flag."""


class Ledger:
    """The mapping and its fields."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, (_SLOTS + 2 * SLOTS_MAX) * WORD)
        self._whole = memoryview(self._memory)
        self._words = self._whole.cast("Q")
        self._seconds = self._whole[:WORD].cast("d")

    def beat(self, now: float) -> None:
        """The heartbeat process says that its loop runs."""
        self._seconds[0] = now

    @property
    def last_beat(self) -> float:
        """Monotonic time of the last beat."""
        return self._seconds[0]

    @property
    def fenced(self) -> bool:
        """The guard has closed the gates because the heartbeat process stood still."""
        return self._words[_FENCED] != 0

    @fenced.setter
    def fenced(self, value: bool) -> None:
        self._words[_FENCED] = int(value)

    def record(self, slot: int, *, master: bool) -> None:
        """Note whether this slot's virtual host is MASTER."""
        self._words[_SLOTS + 2 * slot + 1] = int(master)

    def is_master(self, slot: int) -> bool:
        """Whether the virtual host was MASTER at the last word."""
        return self._words[_SLOTS + 2 * slot + 1] != 0

    def stamp(self, slot: int, sequence: int) -> None:
        """Note the last sequence sent, so that the guard's bow-out is newer."""
        self._words[_SLOTS + 2 * slot] = sequence

    def last_stamp(self, slot: int) -> int:
        """The last sequence sent."""
        return self._words[_SLOTS + 2 * slot]

    def close(self) -> None:
        """Unmap."""
        for view in (self._seconds, self._words, self._whole):
            view.release()
        self._memory.close()
