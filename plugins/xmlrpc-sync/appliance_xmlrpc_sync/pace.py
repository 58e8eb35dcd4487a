"""When a peer is looked at next. Without clock or I/O: times are arguments, in seconds.

Level-triggered: a change only makes the next look come sooner, and a look compares everything. Nothing is queued, and
an outage of any length ends in one push.
"""

from __future__ import annotations

import math
from collections.abc import Callable

DEBOUNCE_S = 0.5
"""Between two looks because of changes: the first of several commits in a row travels at once, the others together."""
CHECK_S = 30.0
"""Between two looks at a peer that is in sync."""
QUICK = 4
QUICK_S = 1.0
SLOW_S = (5.0, 10.0, 30.0, 60.0)
"""After the quick retries; the last for ever."""
NO_QUICK = QUICK
ONLY_LAST = QUICK + len(SLOW_S) - 1
JITTER = 0.2
"""Several nodes must not come back at the same moment."""


class Pace:
    """The timing of one peer.

    Args:
        random: Uniform in [0, 1).
        now: The first look is due at once.
    """

    def __init__(self, random: Callable[[], float], now: float) -> None:
        self._random = random
        self._due = now
        self._begun = -math.inf
        self.failures = 0
        """Failed attempts since the last success."""

    @property
    def due(self) -> float:
        """When the next look is; infinite while one is under way and nothing has changed since it began."""
        return self._due

    @property
    def is_quick(self) -> bool:
        """Whether failures are so few that the peer may only be restarting."""
        return self.failures <= QUICK

    def changed(self, now: float) -> None:
        """This node's configuration has changed."""
        self._due = min(self._due, max(now, self._begun + DEBOUNCE_S))

    def asked(self, now: float) -> None:
        """Somebody wants it now."""
        self._due = now

    def begin(self, now: float) -> None:
        """A look begins; what changes from here on is for the next one."""
        self._due, self._begun = math.inf, now

    def succeeded(self, now: float) -> None:
        """The peer has what it should have."""
        self.failures = 0
        self._due = min(self._due, now + CHECK_S)

    def waits(self, now: float, seconds: float) -> None:
        """Nothing failed, and there is a reason to look again then."""
        self._due = min(self._due, now + seconds)

    def failed(self, now: float, *, skip: int = 0) -> None:
        """The attempt failed.

        Args:
            now: The present.
            skip: Retries that make no sense after this failure: `NO_QUICK` or `ONLY_LAST`.
        """
        self.failures = max(self.failures + 1, skip + 1)
        slow = self.failures - QUICK
        delay = SLOW_S[min(slow, len(SLOW_S)) - 1] if slow > 0 else QUICK_S
        self._due = min(self._due, now + delay * (1 + JITTER * (2 * self._random() - 1)))
