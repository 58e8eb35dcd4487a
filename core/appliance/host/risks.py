"""Changes that a running node refuses, and those that may cut off whoever makes them: they have to be confirmed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from appliance.config.interfaces import LogicalInterface, ProvidesInterfaces
from appliance.config.loader import Loaded
from appliance.config.model import Config
from appliance.config.vocabulary import ProvidesTraffic, Traffic
from appliance.errors import ConfigError, Problem

SUGGESTED_S = 120
"""Time to find out whether everything can still be reached."""


def refuse_risks(loaded: Loaded, restore: Callable[[], None]) -> None:
    """Refuse a change for good that a plugin wants confirmed (`Problem.severity`).

    Args:
        loaded: The new configuration.
        restore: Makes the plugins of the one in force the enabled ones again.

    Raises:
        ConfigError: With every reason.
    """
    if not loaded.risks:
        return
    restore()
    raise ConfigError(
        "\n".join(loaded.risks),
        hint=f"Nothing has been changed. If it is meant, let it go away by itself: 'appliance config reload --confirm "
        f"{SUGGESTED_S}', look whether all nodes are still reached, then 'appliance config confirm'.",
    )


def identity_changes(old: Config, new: Config) -> list[Problem]:
    """What a running node cannot change about itself."""
    pairs: list[tuple[tuple[str, str], object, object]] = [
        (("node", "name"), old.node.name, new.node.name),
        (("node", "role"), old.node.role, new.node.role),
        (("plugins", "blocked"), sorted(old.plugins.blocked), sorted(new.plugins.blocked)),
    ]
    message = "a running node cannot change this; restart it with the new file"
    return [Problem(path=path, message=message) for path, before, after in pairs if before != after]


# --- ways in ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Way:
    """One way by which somebody comes into the node and changes it (`Traffic.is_way_in`)."""

    table: str
    """Whose service listens."""
    traffic: Traffic
    at: LogicalInterface

    @property
    def key(self) -> tuple[str, str, str, int | None]:
        """The same before and after a change that leaves it open."""
        return self.table, self.traffic.interface, self.traffic.protocol, self.traffic.port

    @property
    def addresses(self) -> frozenset[str]:
        """Where to connect to."""
        return frozenset(map(str, self.traffic.destinations or [each.ip for each in self.at.addresses]))

    def __str__(self) -> str:
        port = f" port {self.traffic.port}" if self.traffic.port is not None else ""
        return f"{self.traffic.name} ({self.traffic.protocol}{port}) at {self.traffic.interface}"


def ways_lost(old: Config, new: Config) -> list[Problem]:
    """What of a change takes away a way into this node, so that whoever came by it may be cut off.

    Args:
        old: The configuration in force.
        new: The candidate.
    """
    after = _ways(new)
    found = [(way, _loss(way, after.get(key))) for key, way in _ways(old).items()]
    return [
        Problem(path=_place(way, new), message=f"{loss}: whoever comes in there is cut off", severity="confirm")
        for way, loss in found
        if loss
    ]


def _loss(before: _Way, after: _Way | None) -> str:
    """What goes of a way; empty when nothing does."""
    if after is None:
        return f"{before} goes"
    if before.at.device != after.at.device:
        return f"{before} moves from device {before.at.device} to {after.at.device}"
    if gone := sorted(before.addresses - after.addresses):
        return f"{before} loses {', '.join(gone)}"
    shut = [each for each in before.traffic.sources if each not in after.traffic.sources]
    if after.traffic.sources and (shut or not before.traffic.sources):
        return f"{before} is closed to {', '.join(map(str, shut)) or 'all but a few addresses'}"
    return ""


def _place(way: _Way, new: Config) -> tuple[str, ...]:
    """The interface where that is what changes, else the table whose service listens."""
    becomes = _interfaces(new).get(way.at.name)
    if becomes is not None and (becomes.device, becomes.addresses) != (way.at.device, way.at.addresses):
        return ("interfaces", way.at.name)
    return (way.table,)


def _ways(config: Config) -> dict[tuple[str, str, str, int | None], _Way]:
    interfaces = _interfaces(config)
    ways = [
        _Way(name, traffic, interfaces[traffic.interface])
        for name, table in config.tables.items()
        if isinstance(table, ProvidesTraffic)
        for traffic in table.own_traffic(interfaces)
        if traffic.is_way_in and traffic.interface in interfaces
    ]
    return {way.key: way for way in ways}


def _interfaces(config: Config) -> Mapping[str, LogicalInterface]:
    provider = config.providing(ProvidesInterfaces)
    return provider.logical_interfaces() if provider is not None else {}
