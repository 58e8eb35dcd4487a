"""Shared memory between the heartbeat process and its guard: who is MASTER, and am I alive.

One page-sized anonymous mapping, inherited over fork. Every field is written by one side only and is read
by the other after the fact, so there is nothing to lock.
"""

from __future__ import annotations

import mmap
import struct

_HEAD = struct.Struct("=dB7x")  # heartbeat (monotonic seconds), fenced flag
_SLOT = struct.Struct("=QB7x")  # last stamp sequence, MASTER flag
SLOTS_MAX = 1024
"""As many virtual hosts as the configuration allows."""


class Ledger:
    """The mapping and its fields."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _HEAD.size + SLOTS_MAX * _SLOT.size)

    def beat(self, now: float) -> None:
        """The heartbeat process says that its loop runs."""
        struct.pack_into("=d", self._memory, 0, now)

    @property
    def last_beat(self) -> float:
        """Monotonic time of the last beat."""
        return float(struct.unpack_from("=d", self._memory, 0)[0])

    @property
    def fenced(self) -> bool:
        """The guard has closed the gates because the heartbeat process stood still."""
        return self._memory[8] != 0

    @fenced.setter
    def fenced(self, value: bool) -> None:
        self._memory[8] = int(value)

    def record(self, slot: int, *, master: bool) -> None:
        """Note whether this slot's virtual host is MASTER."""
        self._memory[_HEAD.size + slot * _SLOT.size + 8] = int(master)

    def is_master(self, slot: int) -> bool:
        """Whether the virtual host was MASTER at the last word."""
        return self._memory[_HEAD.size + slot * _SLOT.size + 8] != 0

    def stamp(self, slot: int, sequence: int) -> None:
        """Note the last sequence sent, so that the guard's bow-out is newer."""
        struct.pack_into("=Q", self._memory, _HEAD.size + slot * _SLOT.size, sequence)

    def last_stamp(self, slot: int) -> int:
        """The last sequence sent."""
        return int(struct.unpack_from("=Q", self._memory, _HEAD.size + slot * _SLOT.size)[0])

    def close(self) -> None:
        """Unmap."""
        self._memory.close()
