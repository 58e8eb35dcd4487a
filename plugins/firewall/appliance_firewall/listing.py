"""All rules for people, in the order in which they are asked: those of the operator and those that are always there.

Pure. The counters named here are those of the ruleset.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from appliance.config import Config
from appliance_firewall import identity
from appliance_firewall.automatic import Automatic, automatic, invalid, lockout
from appliance_firewall.config import FirewallConfig, RuleTable
from appliance_firewall.matching import LOG_GROUP
from appliance_firewall.reading import Meaning, Reading, reading_of
from appliance_firewall.resolve import ANY

NFLOG_GROUP = LOG_GROUP
"""Where logged packets are."""
Kind = Literal["user", "automatic", "default", "lockout"]


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


def listing(config: Config, reading: Reading | None = None) -> tuple[ShownRule, ...]:
    """Every rule, disabled ones at their place.

    Args:
        config: With a ``[firewall]`` table.
        reading: Its rules, when they have been read.
    """
    table = config[FirewallConfig]
    reading = reading or reading_of(config)
    world = reading.world
    own = automatic(config, world)
    first = lockout(table, world)
    users = _users(table, reading)
    return (
        *([_automatic(first, "lockout")] if first else []),
        *(_automatic(each, "automatic") for each in own if each.kind == "ipv6"),
        _automatic(invalid(), "automatic"),
        *(_automatic(each, "automatic") for each in own if each.kind != "ipv6"),
        *users,
        *_defaults(table),
    )


def by_counter(listed: Iterable[ShownRule]) -> Mapping[str, ShownRule]:
    """To look up the rule of a counter, or with `identity.counter_of_prefix` of a logged packet."""
    return {each.counter: each for each in listed}


def find(prefix: str, table: Mapping[str, ShownRule]) -> ShownRule | None:
    """The rule that logged a packet with this prefix; none when the ruleset has changed since."""
    return table.get(identity.counter_of_prefix(prefix))


def _users(table: FirewallConfig, reading: Reading) -> Iterator[ShownRule]:
    """Floating rules, those of each interface, and before both of them what leaves."""
    groups: dict[tuple[bool, bool, str], list[ShownRule]] = {}
    each = zip(table.rule, reading.meanings, reading.counters, strict=True)
    for index, (rule, meaning, counter) in enumerate(each):
        name = "" if meaning.is_floating else meaning.interfaces[0]
        group = (rule.direction == "in", not meaning.is_floating, name)
        groups.setdefault(group, []).append(_user(rule, meaning, counter, index))
    # Interfaces are in the order of their first rules.
    for group in sorted(groups, key=lambda group: group[:2]):
        yield from groups[group]


def _user(rule: RuleTable, meaning: Meaning, counter: str, index: int) -> ShownRule:
    return ShownRule(
        id=rule.id or counter.removeprefix("fw_"),
        counter=counter,
        kind="user",
        action=rule.action,
        direction=rule.direction,
        interfaces=_known(meaning.interfaces),
        text=meaning.text,
        description=rule.description,
        disabled=rule.disabled,
        schedule=rule.schedule,
        log=rule.log,
        path=("firewall", "rule", index),
    )


def _automatic(each: Automatic, kind: Kind) -> ShownRule:
    return ShownRule(
        id=each.counter.removeprefix("fw_"),
        counter=each.counter,
        kind=kind,
        action=each.action,
        direction="in",
        interfaces=_known((each.interface,)),
        text=each.text,
        description=each.description,
        path=each.origin,
    )


def _known(interfaces: tuple[str, ...]) -> tuple[str, ...]:
    return () if ANY in interfaces else interfaces


def _defaults(table: FirewallConfig) -> Iterator[ShownRule]:
    for counter, what in ((identity.DEFAULT_IN, "to this node"), (identity.DEFAULT_FORWARD, "through this node")):
        yield ShownRule(
            id=counter.removeprefix("fw_"),
            counter=counter,
            kind="default",
            action="block",
            direction="in",
            interfaces=(),
            text=f"block in on any {what} whatever no rule has passed",
            description="default deny",
            log=table.log_default,
            path=("firewall",),
        )
