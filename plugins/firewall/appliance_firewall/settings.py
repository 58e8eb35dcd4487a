"""What the firewall's service `log` is told: plain frozen values that can be compared."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.config import Config
from appliance_firewall.aliases import Resolved
from appliance_firewall.config import FirewallConfig
from appliance_firewall.listing import NFLOG_GROUP, Listed, listing
from appliance_firewall.resolve import ANY, world_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRule:
    """One rule as people see it."""

    id: str
    counter: str
    """Name of its counter in the table; empty when it has none. What it logs begins with that and a colon."""
    kind: str
    """``lockout``, ``automatic``, ``user`` or ``default``."""
    action: str
    """``pass``, ``block`` or ``reject``."""
    direction: str
    """``in`` or ``out``."""
    interfaces: tuple[str, ...]
    """Logical names; empty: all of them."""
    text: str
    """As one says it: ``pass in on lan tcp from net:lan to any port 443``."""
    description: str = ""
    disabled: bool = False
    schedule: str = ""
    log: bool = False
    path: tuple[str | int, ...] = ()
    """Where it stands in the configuration; empty: it was made from the configuration as a whole."""


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


def settings_of(config: Config) -> FirewallSettings:
    """Of a whole configuration with a ``[firewall]`` table."""
    table, world = config[FirewallConfig], world_of(config)
    resolved = table.resolution[0]
    return FirewallSettings(
        node=config.node.name,
        group=NFLOG_GROUP,
        rules=tuple(_shown(each, table) for each in listing(config)),
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
    )


def _shown(each: Listed, table: FirewallConfig) -> ShownRule:
    rule = table.rule[int(each.path[-1])] if each.kind == "user" else None
    names = rule.interfaces if rule is not None else (each.interface,)
    return ShownRule(
        id=each.id,
        counter=each.counter,
        kind=each.kind,
        action=each.action,
        direction=rule.direction if rule is not None else "in",
        interfaces=() if ANY in names else names,
        text=each.text,
        description=each.description,
        disabled=each.disabled,
        schedule=rule.schedule if rule is not None else "",
        log=rule.log if rule is not None else each.kind == "default" and table.log_default,
        path=each.path,
    )
