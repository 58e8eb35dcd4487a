"""What is wrong with the plugins of a node, as alarms and demotions on the bus."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from appliance.config.model import Config
from appliance.events import Alarm, Demotion, Health
from appliance.host.plugins import PluginState

if TYPE_CHECKING:
    from appliance.bus import EventBus
    from appliance.host.plugins import PluginEntry, Plugins

SOURCE = "node"
"""Bus source of what the node says about itself."""
REQUIRED_WEIGHT = 240
"""A node without a required plugin is the worst candidate there is."""


class PluginAlarms:
    """Keeps the alarms about plugins true; call `update` whenever plugins or configuration changed."""

    def __init__(self, bus: EventBus, plugins: Plugins) -> None:
        self._bus = bus
        self._plugins = plugins
        self._alarms: dict[str, Alarm] = {}
        self._demotions: set[str] = set()

    def update(self, config: Config) -> None:
        """Publish what became wrong and withdraw what is right again."""
        missing = dict(self._missing(config))
        alarms = {alarm.key: alarm for alarm in [*self._broken(), *missing.values()]}
        for key, alarm in alarms.items():
            if self._alarms.get(key) != alarm:
                self._bus.publish(alarm, source=SOURCE)
        for key, alarm in self._alarms.items():
            if key not in alarms:
                cleared = Alarm(key=key, active=False, health=alarm.health, what=alarm.what, fix=alarm.fix)
                self._bus.publish(cleared, source=SOURCE)
        wanted = {f"required-plugin:{name}" for name in missing}
        for reason in sorted(wanted ^ self._demotions):
            weight = REQUIRED_WEIGHT if reason in wanted else 0
            self._bus.publish(Demotion(reason=reason, weight=weight), source=SOURCE)
        self._alarms, self._demotions = alarms, wanted

    def _broken(self) -> Iterator[Alarm]:
        for entry in self._plugins.entries:
            who = f"the plugin {entry.name} of {entry.distribution}"
            if entry.state is PluginState.BROKEN:
                yield Alarm(
                    key=f"plugin/{entry.name}",
                    health=Health.FAIL,
                    what=f"{who} cannot be loaded: {entry.error}",
                    fix="Install a version of it that fits, or put its name into [plugins] blocked.",
                )
            elif entry.state is PluginState.REFUSED:
                yield Alarm(
                    key=f"plugin/{entry.name}",
                    health=Health.FAIL,
                    what=f"{who} is refused: {entry.error}",
                    fix="Correct its table and `appliance config reload`, or install a version of it that fits.",
                )
        for failure in self._plugins.failures:
            yield Alarm(
                key=f"plugin/{failure.plugin}/{failure.hook}",
                what=f"plugin {failure.plugin} of {failure.distribution} failed in {failure.hook}: {failure.error}",
                fix="Report it to the author of the plugin; what it contributes there is missing.",
            )

    def _missing(self, config: Config) -> Iterator[tuple[str, Alarm]]:
        """Required plugins that do not run."""
        entries = {entry.name: entry for entry in self._plugins.entries}
        for name in config.plugins.required:
            why = why_it_does_not_run(entries.get(name))
            if why is not None:
                yield (
                    name,
                    Alarm(
                        key=f"required-plugin/{name}",
                        health=Health.FAIL,
                        what=f"the required plugin {name} {why}; the node is demoted by {REQUIRED_WEIGHT}",
                        fix="Make it run, or take its name out of [plugins] required.",
                    ),
                )


def why_it_does_not_run(entry: PluginEntry | None) -> str | None:
    """Why a plugin that is wanted does not run, to follow its name; ``None`` when it does."""
    if entry is None:
        return "is not installed"
    if entry.state is PluginState.BLOCKED:
        return "is in [plugins] blocked"
    if entry.state is PluginState.BROKEN:
        return f"of {entry.distribution} could not be loaded"
    if entry.state is PluginState.REFUSED:
        return f"of {entry.distribution} does not run, because its table was refused"
    if not entry.enabled:
        table = entry.table.name if entry.table is not None else entry.name
        return f"of {entry.distribution} has no table [{table}] in the configuration"
    return None
