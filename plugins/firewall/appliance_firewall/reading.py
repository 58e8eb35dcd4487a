"""What the rules of a configuration mean: each is read once, for all hooks and for the next configuration too. Pure.

A commit changes one rule of fifty thousand. What a rule means depends on its own words and on the names that other
tables declare, not on its place; so `Memory` keeps it as long as these names stay the same.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import attrgetter

from appliance.config import Config
from appliance.errors import Problem
from appliance_firewall import identity
from appliance_firewall.config import FirewallConfig, RuleTable
from appliance_firewall.expand import Conditions, alternatives
from appliance_firewall.resolve import World, world_of
from appliance_firewall.sentence import rule_text
from appliance_firewall.sides import Reader
from appliance_firewall.verify_rules import verify_rule

Words = tuple[object, ...]
"""Everything in a rule on which its meaning depends, with lists as tuples."""
_MATCHING = (
    "interface",
    "direction",
    "family",
    "protocol",
    "source",
    "source_port",
    "destination",
    "destination_port",
    "icmp_types",
    "schedule",
)
_words = attrgetter(*_MATCHING, "action", "gateway", "log", "disabled", "id")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a rule says, wherever it stands."""

    words: Words
    counter: str
    """Name of its counter, unless an equal rule comes before it."""
    text: str
    """As a sentence."""
    interfaces: tuple[str, ...]
    is_floating: bool
    problems: tuple[Problem, ...]
    """With paths that begin at the rule."""
    matches: tuple[Conditions, ...]
    """Its alternatives; none when it is disabled."""

    @property
    def matching(self) -> Words:
        """Equal for rules that match the same packets."""
        return self.words[: len(_MATCHING)]


@dataclass(frozen=True, slots=True)
class Reading:
    """All rules of a configuration, in file order."""

    world: World
    meanings: tuple[Meaning, ...]
    counters: tuple[str, ...]
    names: object
    """What the other tables declared; see `World.names`."""

    def says_the_same(self, other: Reading) -> bool:
        """Whether the rules do the same in the same order, whatever people read about them."""
        # Rules that `Memory` knew are the same objects: this takes a millisecond for 50,000.
        return (self.meanings, self.counters, self.names) == (other.meanings, other.counters, other.names)


def reading_of(config: Config) -> Reading:
    """Every rule is read, as if for the first time."""
    return Memory().reading(config)


@dataclass(slots=True)
class Memory:
    """The last configuration, and what its rules mean: as many as a configuration may have."""

    _config: weakref.ref[Config] | None = None
    _last: Reading | None = None
    _names: object = None
    _known: Mapping[Words, Meaning] = field(default_factory=dict)

    def reading(self, config: Config) -> Reading:
        """The rules of a configuration with a ``[firewall]`` table."""
        if self._last is not None and self._config is not None and self._config() is config:
            return self._last
        world = world_of(config)
        names = world.names()
        before = self._known if names == self._names else {}
        reader = Reader(world)
        known: dict[Words, Meaning] = {}
        meanings = []
        for rule in config[FirewallConfig].rule:
            words = tuple([tuple(each) if type(each) is list else each for each in _words(rule)])
            meaning = known.get(words)
            if meaning is None:
                meaning = known[words] = before.get(words) or _read(rule, words, reader)
            meanings.append(meaning)
        counters = identity.numbered([each.counter for each in meanings])
        self._names, self._known = names, known
        self._config, self._last = weakref.ref(config), Reading(world, tuple(meanings), counters, names)
        return self._last


def _read(rule: RuleTable, words: Words, reader: Reader) -> Meaning:
    sides = reader.sides(rule)
    return Meaning(
        words=words,
        counter=identity.base_name(rule),
        text=rule_text(rule),
        interfaces=rule.interfaces,
        is_floating=rule.is_floating,
        problems=tuple(verify_rule(rule, sides, reader.world)),
        matches=() if rule.disabled else alternatives(rule, sides),
    )
