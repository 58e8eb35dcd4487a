"""Bulk updates: asking a peer for everything it has, and giving everything.

Every peer that is alive is asked. The results are reported together, when the last of them has answered or
failed: only then is a node sure to lack nothing that anybody has. Those that answered are reported first.

A bulk update in which something is lost begins anew, after a pause that doubles each time. One without progress
for `timeout_s` has failed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from appliance_pfsync.native.effects import BulkDone, BulkFailed

REPEAT_S = 3.0
"""A request without an answer is sent again, in case that it was lost with other things."""
PAUSE_S, PAUSE_MAX_S = 0.5, 30.0
_FAR = math.inf


class Phase(StrEnum):
    """Where the request is."""

    IDLE = "idle"
    ASKED = "asked"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(slots=True)
class Feed:
    """A peer wants everything from here."""

    request: int
    since: float
    count: int = 0


class Fetch:
    """What this node wants from one peer."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self.phase = Phase.IDLE
        self.request = 0
        """Number of the newest request; answers to older ones mean nothing."""
        self.count = 0
        self.last_at: float | None = None
        self.last_count = 0
        self.result: BulkDone | BulkFailed | None = None
        """Of a request that has ended, until it is taken away."""
        self._ask_at = _FAR
        self._began_at = 0.0
        self._progress_at = 0.0
        self._pause_s = 0.0

    @property
    def is_wanted(self) -> bool:
        """It has been asked for and has not ended."""
        return self.phase in (Phase.ASKED, Phase.RUNNING)

    @property
    def has_failed(self) -> bool:
        """The newest request has been given up."""
        return self.phase is Phase.FAILED

    def want(self, now: float) -> None:
        """Ask for everything, from the beginning."""
        if not self.is_wanted:
            self._began_at = now
        self.phase, self.result = Phase.ASKED, None
        self._ask_at = self._progress_at = now
        self._pause_s = 0.0
        self.request += 1

    def lost(self, now: float) -> None:
        """Something has not arrived: ask, or ask again in a while."""
        if not self.is_wanted:
            self.want(now)
            return
        self._pause_s = min(max(self._pause_s * 2, PAUSE_S), PAUSE_MAX_S)
        self.phase = Phase.ASKED
        self._ask_at = now + self._pause_s
        self.request += 1

    def started(self, request: int, now: float) -> None:
        """The peer has begun to answer."""
        if self.is_wanted and request == self.request:
            self.phase, self.count = Phase.RUNNING, 0
            self._progress_at, self._ask_at = now, _FAR

    def arrived(self, count: int, now: float) -> None:
        """Records of a bulk update are here."""
        if self.phase is Phase.RUNNING:
            self.count += count
            self._progress_at = now

    def ended(self, peer: str, request: int, now: float) -> None:
        """The peer has sent everything."""
        if self.phase is Phase.RUNNING and request == self.request:
            self.phase = Phase.DONE
            self._ask_at = _FAR
            self.last_at, self.last_count = now, self.count
            self.result = BulkDone(peer, self.count, now - self._began_at)

    def fail(self, peer: str, why: str) -> None:
        """Give it up, if it is wanted."""
        if self.is_wanted:
            self.phase, self._ask_at = Phase.FAILED, _FAR
            self.result = BulkFailed(peer, why)

    def tick(self, peer: str, now: float) -> bool:
        """Whether a request is to be sent now."""
        if not self.is_wanted:
            return False
        if now >= self._fails_at:
            self.fail(peer, f"nothing has come for {self._timeout_s:g} s")
            return False
        if now < self._ask_at:
            return False
        self._ask_at = now + REPEAT_S
        return True

    @property
    def _fails_at(self) -> float:
        return self._progress_at + self._timeout_s

    def deadline(self) -> float:
        """When `tick` has something to do."""
        return min(self._ask_at, self._fails_at) if self.is_wanted else _FAR
