"""What is wrong with replication, as alarms that clear themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.events import Alarm, Health
from appliance.plugin.context import Context

PEERS_MAX = 64
"""Alarms about peers at a time; the names of refused ones come from the network."""


@dataclass(slots=True)
class Alarms:
    """Raised and cleared by name; publishes changes only."""

    ctx: Context
    _active: dict[str, Alarm] = field(default_factory=dict)

    def set(self, name: str, what: str, fix: str, *, health: Health = Health.WARN) -> None:
        """It is wrong now. A name with a slash is about one peer: beyond `PEERS_MAX` of those it is dropped."""
        alarm = Alarm(key=f"pfsync/{name}", what=what, fix=fix, health=health)
        if self._active.get(name) == alarm or (name not in self._active and self._is_too_many(name)):
            return
        self._active[name] = alarm
        self.ctx.publish(alarm)
        self.ctx.log.warning("pfsync_alarm", about=name, what=what)

    def _is_too_many(self, name: str) -> bool:
        return "/" in name and sum("/" in each for each in self._active) >= PEERS_MAX

    def clear(self, name: str) -> None:
        """It is right again."""
        alarm = self._active.pop(name, None)
        if alarm is not None:
            self.ctx.publish(Alarm(key=alarm.key, active=False, what=alarm.what, fix=alarm.fix, health=alarm.health))

    def clear_peers(self) -> None:
        """Nothing is known of any peer."""
        for name in [name for name in self._active if "/" in name]:
            self.clear(name)

    @property
    def worst(self) -> Alarm | None:
        """The alarm that matters most."""
        failing = [each for each in self._active.values() if each.health is Health.FAIL]
        return next(iter([*failing, *self._active.values()]), None)
