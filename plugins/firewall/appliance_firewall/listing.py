"""All rules for people, in the order in which they are asked: those of the operator and those that are always there.

Pure. The counters named here are those of the ruleset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from appliance.config import Config
from appliance.plugin.ruleset import KeyPath
from appliance_firewall import identity
from appliance_firewall.automatic import Automatic, automatic, invalid, lockout
from appliance_firewall.config import FirewallConfig, RuleTable, items
from appliance_firewall.matching import LOG_GROUP
from appliance_firewall.resolve import ANY, world_of

NFLOG_GROUP = LOG_GROUP
"""Where logged packets are."""
Kind = Literal["user", "automatic", "default", "lockout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One rule."""

    id: str
    """The operator's name for it, or else that of its counter without ``fw_``."""
    counter: str
    interface: str
    """Logical names with commas between them, or ``any``."""
    kind: Kind
    action: str
    """``pass``, ``block`` or ``reject``."""
    text: str
    """In the words of the configuration: ``pass in on lan tcp from net:lan to any port 443``."""
    description: str = ""
    disabled: bool = False
    path: KeyPath = ()
    """The key it comes from."""


def listing(config: Config) -> tuple[Listed, ...]:
    """Every rule, disabled ones at their place."""
    table = config[FirewallConfig]
    world = world_of(config)
    own = automatic(config, world)
    first = lockout(table, world)
    users = _users(table)
    return (
        *([_automatic(first, "lockout")] if first else []),
        *(_automatic(each, "automatic") for each in own if each.kind == "ipv6"),
        _automatic(invalid(), "automatic"),
        *(_automatic(each, "automatic") for each in own if each.kind != "ipv6"),
        *users,
        *_defaults(),
    )


def by_counter(listed: Iterable[Listed]) -> Mapping[str, Listed]:
    """To look up the rule of a counter, or with `identity.counter_of_prefix` of a logged packet."""
    return {each.counter: each for each in listed}


def find(prefix: str, table: Mapping[str, Listed]) -> Listed | None:
    """The rule that logged a packet with this prefix; none when the ruleset has changed since."""
    return table.get(identity.counter_of_prefix(prefix))


def rule_text(rule: RuleTable) -> str:
    """A rule as a sentence."""
    kinds = f" {', '.join(rule.icmp_types)}" if rule.icmp_types else ""
    parts = [
        f"{rule.action} {rule.direction} on {', '.join(rule.interfaces)}",
        rule.family if rule.family != ANY else "",
        f"{rule.protocol}{kinds}" if rule.protocol != ANY else "",
        f"from {', '.join(items(rule.source))}",
        _port(items(rule.source_port)),
        f"to {', '.join(items(rule.destination))}",
        _port(items(rule.destination_port)),
        f"by gateway {rule.gateway}" if rule.gateway else "",
        f"during {rule.schedule}" if rule.schedule else "",
        "log" if rule.log else "",
    ]
    return " ".join(part for part in parts if part)


def _port(words: tuple[str, ...]) -> str:
    return "" if words == (ANY,) else f"port {', '.join(words)}"


def _users(table: FirewallConfig) -> Iterator[Listed]:
    """Floating rules, those of each interface, and before both of them what leaves."""
    made = [
        (rule, _user(rule, counter, index))
        for index, (rule, counter) in enumerate(zip(table.rule, identity.counters_of(table.rule), strict=True))
    ]
    for direction in ("out", "in"):
        chosen = [(rule, each) for rule, each in made if rule.direction == direction]
        yield from (each for rule, each in chosen if rule.is_floating)
        groups: dict[str, list[Listed]] = {}
        for rule, each in chosen:
            if not rule.is_floating:
                groups.setdefault(rule.interfaces[0], []).append(each)
        for group in groups.values():
            yield from group


def _user(rule: RuleTable, counter: str, index: int) -> Listed:
    return Listed(
        id=rule.id or counter.removeprefix("fw_"),
        counter=counter,
        interface=", ".join(rule.interfaces),
        kind="user",
        action=rule.action,
        text=rule_text(rule),
        description=rule.description,
        disabled=rule.disabled,
        path=("firewall", "rule", index),
    )


def _automatic(each: Automatic, kind: Kind) -> Listed:
    return Listed(
        id=each.counter.removeprefix("fw_"),
        counter=each.counter,
        interface=each.interface,
        kind=kind,
        action=each.action,
        text=each.text,
        description=each.description,
        path=each.origin,
    )


def _defaults() -> Iterator[Listed]:
    for counter, what in ((identity.DEFAULT_IN, "to this node"), (identity.DEFAULT_FORWARD, "through this node")):
        yield Listed(
            id=counter.removeprefix("fw_"),
            counter=counter,
            interface=ANY,
            kind="default",
            action="block",
            text=f"block in on any {what} whatever no rule has passed",
            description="default deny",
            path=("firewall",),
        )
