"""What ``[firewall]`` must satisfy beyond its own model. Pure.

Each rule is one function with a message of its own; the path names the offending key.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from appliance.config import Config
from appliance.errors import Problem
from appliance.plugin.ruleset import KeyPath
from appliance_firewall import automatic
from appliance_firewall.aliases import KEYWORDS
from appliance_firewall.config import FirewallConfig, RuleTable
from appliance_firewall.reading import Meaning, Reading, Words, reading_of
from appliance_firewall.resolve import World, unknown


def verify(config: Config, reading: Reading | None = None) -> list[Problem]:
    """Every problem of the table in the light of the whole configuration.

    Args:
        config: The candidate.
        reading: Its rules, when they have been read.
    """
    table = config[FirewallConfig]
    reading = reading or reading_of(config)
    world = reading.world
    if not world.interfaces:
        return [Problem(path=("firewall",), message="a firewall needs an [interfaces] table with its interfaces")]
    problems = [
        *_interfaces(table, world),
        *_lockout(table),
        *_automatic(config, table, world),
        *_nodes(table, world),
        *_aliases(table),
        *_ids(table.rule),
        *_never_reached(table.rule, reading.meanings),
    ]
    for index, meaning in enumerate(reading.meanings):
        problems += [_at(index, problem) for problem in meaning.problems]
    return problems


def _at(index: int, problem: Problem) -> Problem:
    """A problem of a rule at the place of the rule."""
    where: KeyPath = ("firewall", "rule", index)
    also = tuple((*where, *path) for path in problem.also)
    return replace(problem, path=(*where, *problem.path), also=also)


def _interfaces(table: FirewallConfig, world: World) -> Iterator[Problem]:
    named: list[tuple[KeyPath, str]] = []
    for key, names in (("block_bogons", table.block_bogons), ("block_private", table.block_private)):
        named += [(("firewall", key, place), name) for place, name in enumerate(names)]
    if table.anti_lockout:
        named.append((("firewall", "anti_lockout"), table.anti_lockout))
    for path, name in named:
        if name not in world.interfaces:
            yield Problem(path=path, message=unknown("interface", name, world.interfaces))
    for key, names in (("block_bogons", table.block_bogons), ("block_private", table.block_private)):
        for place, name in enumerate(names):
            if name in names[:place]:
                yield Problem(path=("firewall", key, place), message=f"{name} is named twice")


def _lockout(table: FirewallConfig) -> Iterator[Problem]:
    if table.anti_lockout == "":
        yield Problem(
            path=("firewall", "anti_lockout"),
            severity="warning",
            message="anti-lockout is off: a wrong rule can make this node unreachable except at its own console",
        )


def _automatic(config: Config, table: FirewallConfig, world: World) -> Iterator[Problem]:
    kinds = sorted(automatic.kinds(config, world))
    for place, kind in enumerate(table.replace):
        if kind not in kinds:
            message = f"there are no automatic rules of the kind {kind!r}; there are {', '.join(kinds)}"
            yield Problem(path=("firewall", "replace", place), message=message)
    if not table.automatic:
        yield Problem(
            path=("firewall", "automatic"),
            severity="warning",
            message=f"without automatic rules own ones have to pass {', '.join(kinds)}; what is missing there can make "
            "both nodes MASTER",
        )


def _nodes(table: FirewallConfig, world: World) -> Iterator[Problem]:
    if not table.nodes:
        return
    if not world.links:
        yield Problem(
            path=("firewall", "nodes"),
            severity="warning",
            message="nodes has no effect: no table names a sync interface",
        )
        return
    at_sync = [world.interfaces[link.interface] for link in world.links if link.interface in world.interfaces]
    own = {each.ip for interface in at_sync for each in interface.addresses}
    if own and not own.intersection(table.nodes):
        names = ", ".join(sorted(str(each) for each in own))
        message = f"none of the nodes is this one: it has {names} on the sync interface; list all nodes, this one too"
        yield Problem(path=("firewall", "nodes"), message=message)


def _aliases(table: FirewallConfig) -> Iterator[Problem]:
    for name in table.alias:
        if name in KEYWORDS:
            message = f"{name!r} means something else in a rule; give the alias another name"
            yield Problem(path=("firewall", "alias", name), message=message)
    for wrong in table.resolution[1]:
        where: KeyPath = ("firewall", "alias", wrong.name)
        path = where if wrong.place is None else (*where, "entries", wrong.place)
        yield Problem(path=path, message=wrong.message)


def _ids(rules: Sequence[RuleTable]) -> Iterator[Problem]:
    first: dict[str, KeyPath] = {}
    for index, rule in enumerate(rules):
        if not rule.id:
            continue
        path: KeyPath = ("firewall", "rule", index, "id")
        other = first.setdefault(rule.id, path)
        if other != path:
            yield Problem(path=path, message=f"the id {rule.id!r} is taken by another rule", also=(other,))


def _never_reached(rules: Sequence[RuleTable], meanings: Sequence[Meaning]) -> Iterator[Problem]:
    first: dict[Words, int] = {}
    for index, (rule, meaning) in enumerate(zip(rules, meanings, strict=True)):
        if rule.disabled:
            continue
        other = first.setdefault(meaning.matching, index)
        if other != index:
            yield Problem(
                path=("firewall", "rule", index),
                severity="warning",
                message=f"is never asked: rule {other + 1} matches the same and comes before it",
                also=(("firewall", "rule", other),),
            )
