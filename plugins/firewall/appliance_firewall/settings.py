"""What the firewall's service `log` is told: plain frozen values that can be compared."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.config import Config
from appliance_firewall.aliases import Resolved
from appliance_firewall.config import FirewallConfig
from appliance_firewall.listing import NFLOG_GROUP, listing
from appliance_firewall.listing import ShownRule as ShownRule
from appliance_firewall.reading import Reading, reading_of
from appliance_firewall.schedule import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAlias:
    """One alias as people see it."""

    name: str
    type: str
    """``hosts``, ``networks`` or ``ports``."""
    entries: tuple[str, ...]
    """As configured."""
    resolved: Resolved | None
    """Its contents; ``None`` when it is wrong."""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallSettings:
    """Everything the service needs."""

    node: str
    group: int
    """Of the packet log (NFLOG)."""
    rules: tuple[ShownRule, ...] = ()
    """In the order in which they are asked."""
    aliases: tuple[ShownAlias, ...] = ()
    devices: tuple[tuple[str, str], ...] = ()
    """Kernel device and the logical interface whose packets come in there: its own and those of its virtual hosts."""
    schedules: tuple[Schedule, ...] = ()


def settings_of(config: Config, reading: Reading | None = None) -> FirewallSettings:
    """Of a whole configuration with a ``[firewall]`` table.

    Args:
        config: The configuration.
        reading: Its rules, when they have been read.
    """
    table = config[FirewallConfig]
    reading = reading or reading_of(config)
    world = reading.world
    resolved = table.resolution[0]
    return FirewallSettings(
        node=config.node.name,
        group=NFLOG_GROUP,
        rules=listing(config, reading),
        aliases=tuple(
            ShownAlias(
                name=name,
                type=alias.type,
                entries=tuple(map(str, alias.entries)),
                resolved=resolved.get(name),
                description=alias.description,
            )
            for name, alias in table.alias.items()
        ),
        devices=tuple((device, name) for name in world.interfaces for device in world.devices(name)),
        schedules=tuple(table.schedules().values()),
    )
