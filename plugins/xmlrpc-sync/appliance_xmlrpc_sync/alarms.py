"""What is wrong with the synchronization of peers, as alarms that clear themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from appliance.events import Alarm, Event, Health
from appliance_xmlrpc_sync.causes import Cause, Failure

SKEW_WARN_S = 5.0
SKEW_FAIL_S = 30.0
_LASTING = (Cause.LOOP, Cause.IDENTITY)
"""Worse than a peer that lags behind: somebody has to decide something."""


@dataclass(slots=True)
class Alarms:
    """Raised and cleared by name; publishes changes only. Names are addresses of configured peers, so they are few."""

    publish: Callable[[Event], None]
    _active: dict[str, Alarm] = field(default_factory=dict)

    def set(self, name: str, what: str, fix: str, *, health: Health = Health.WARN) -> None:
        """It is wrong now."""
        alarm = Alarm(key=f"sync/{name}", what=what, fix=fix, health=health)
        if self._active.get(name) != alarm:
            self._active[name] = alarm
            self.publish(alarm)

    def clear(self, name: str) -> None:
        """It is right again."""
        alarm = self._active.pop(name, None)
        if alarm is not None:
            self.publish(Alarm(key=alarm.key, active=False, what=alarm.what, fix=alarm.fix, health=alarm.health))

    def keep(self, peers: Collection[str]) -> None:
        """Clear those of all other peers."""
        for name in [each for each in self._active if each.partition("/")[0] not in peers]:
            self.clear(name)

    def failed(self, address: str, node: str, failure: Failure) -> None:
        """A peer does not get the configuration."""
        health = Health.FAIL if failure.cause in _LASTING else Health.WARN
        what = f"the configuration is not synchronized to {node}: {failure.what}"
        self.set(f"{address}/failing", what, failure.fix, health=health)

    def skew(self, address: str, node: str, seconds: float | None) -> None:
        """How far the clocks are apart."""
        apart = abs(seconds or 0.0)
        if apart < SKEW_WARN_S:
            self.clear(f"{address}/skew")
            return
        way = "ahead of" if (seconds or 0.0) > 0 else "behind"
        # Whole seconds, and of long ones whole tens: a clock that drifts must not raise an alarm anew at every look.
        shown = round(apart) if apart < SKEW_FAIL_S else round(apart, -1)
        self.set(
            f"{address}/skew",
            f"the clock of {node} is {shown:g} s {way} this node's",
            "Let both nodes synchronize their clocks with NTP; schedules and leases depend on them.",
            health=Health.FAIL if apart >= SKEW_FAIL_S else Health.WARN,
        )
