"""What is wrong with gateways, as alarms that clear themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from appliance.events import Alarm, Event, Health


@dataclass(slots=True)
class Alarms:
    """Raised and cleared by name; publishes changes only. Names come from the configuration, so they are few."""

    publish: Callable[[Event], None]
    _active: dict[str, Alarm] = field(default_factory=dict)

    def set(self, name: str, what: str, fix: str, *, health: Health = Health.WARN) -> None:
        """It is wrong now."""
        alarm = Alarm(key=f"gateways/{name}", what=what, fix=fix, health=health)
        if self._active.get(name) != alarm:
            self._active[name] = alarm
            self.publish(alarm)

    def clear(self, name: str) -> None:
        """It is right again."""
        alarm = self._active.pop(name, None)
        if alarm is not None:
            self.publish(Alarm(key=alarm.key, active=False, what=alarm.what, fix=alarm.fix, health=alarm.health))

    def keep(self, names: Collection[str]) -> None:
        """Clear all others."""
        for name in [each for each in self._active if each not in names]:
            self.clear(name)

    @property
    def worst(self) -> Alarm | None:
        """The alarm that matters most."""
        failing = [each for each in self._active.values() if each.health is Health.FAIL]
        return next(iter([*failing, *self._active.values()]), None)

    def troubles(self, *names: str) -> dict[str, str]:
        """What is wrong and what to do, of those of these names that are active."""
        found = (self._active.get(name) for name in names)
        return {alarm.what: alarm.fix for alarm in found if alarm is not None}
