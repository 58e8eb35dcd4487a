"""How soon drift is repaired: at once, and ever more slowly when somebody keeps undoing it.

Pure; times in seconds of any monotonic clock.
"""

from __future__ import annotations

SETTLE_S = 0.05
"""Changes come in bursts (a device appears, gets its state, loses routes): wait for the end of one."""
SLOWEST_S = 30.0
"""A fight with another program costs two repairs a minute at most."""
CALM_S = 60.0
"""After this long without a repair the next one is quick again."""
FIGHT_S = 1.0
"""From this delay on, seven repairs in a row, somebody is told."""


class RepairPace:
    """The delay before the next repair."""

    def __init__(self) -> None:
        self._delay_s = SETTLE_S
        self._last: float | None = None

    @property
    def is_fight(self) -> bool:
        """Somebody seems to undo every repair."""
        return self._delay_s >= FIGHT_S

    def delay_s(self, now: float) -> float:
        """How long to wait before looking at what has drifted."""
        if self._last is not None and now - self._last >= CALM_S:
            self._delay_s = SETTLE_S
        return self._delay_s

    def repaired(self, now: float) -> None:
        """Something had drifted and has been repaired."""
        self._delay_s = min(SLOWEST_S, self.delay_s(now) * 2)
        self._last = now
