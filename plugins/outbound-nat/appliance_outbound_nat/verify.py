"""What a ``[outbound_nat]`` table must satisfy beyond itself: the outbound rules, and all the rest. Pure.

Each rule has a message of its own; the path names the offending key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from appliance.config import Config, ProvidesInterfaces
from appliance.errors import Problem
from appliance_outbound_nat.config import OneToOneTable, OutboundNatConfig, PortForwardTable, RuleTable
from appliance_outbound_nat.outbound import versions
from appliance_outbound_nat.parts import KeyPath
from appliance_outbound_nat.scene import Scene, scene_of
from appliance_outbound_nat.selectors import (
    PORT_PROTOCOLS,
    BadValueError,
    Selector,
    ends_of,
    known,
    parse_port_range,
    parse_ports,
    parse_selector,
)
from appliance_outbound_nat.translation import Translation, parse_translation
from appliance_outbound_nat.verify_forwards import verify_forwards
from appliance_outbound_nat.verify_pairs import verify_pairs

T = TypeVar("T")
TABLE = "outbound_nat"


def verify(config: Config) -> list[Problem]:
    """Every problem of the table in the light of the whole configuration."""
    table = config[OutboundNatConfig]
    if config.providing(ProvidesInterfaces) is None:
        return [Problem(path=(TABLE,), message="outbound NAT needs an [interfaces] table that declares interfaces")]
    scene = scene_of(config)
    problems = [*_mode(table), *_ids(table)]
    for place, rule in enumerate(table.rule):
        problems += _rule(rule, (TABLE, "rule", place), scene)
    return [*problems, *verify_pairs(table, scene), *verify_forwards(table, scene)]


def _mode(table: OutboundNatConfig) -> Iterator[Problem]:
    if table.rule and table.mode in ("disabled", "automatic"):
        rules = "the rule has" if len(table.rule) == 1 else f"the {len(table.rule)} rules have"
        yield Problem(
            path=(TABLE, "mode"),
            severity="warning",
            message=f'{rules} no effect in the mode {table.mode}; the modes "hybrid" and "manual" use them',
            also=((TABLE, "rule", 0),),
        )


def _ids(table: OutboundNatConfig) -> Iterator[Problem]:
    kinds: list[tuple[str, Sequence[RuleTable | OneToOneTable | PortForwardTable]]] = [
        ("rule", table.rule),
        ("one_to_one", table.one_to_one),
        ("port_forward", table.port_forward),
    ]
    for kind, entries in kinds:
        first: dict[str, int] = {}
        for place, entry in enumerate(entries):
            if entry.id and first.setdefault(entry.id, place) != place:
                yield Problem(
                    path=(TABLE, kind, place, "id"),
                    message=f"the id {entry.id!r} is given twice; hits are counted by it",
                    also=((TABLE, kind, first[entry.id], "id"),),
                )


def _tried(found: list[Problem], path: KeyPath, parse: Callable[[], T]) -> T | None:
    """What `parse` returns; its complaint becomes a problem of this key."""
    try:
        return parse()
    except BadValueError as error:
        found.append(Problem(path=path, message=str(error)))
        return None


def _rule(rule: RuleTable, path: KeyPath, scene: Scene) -> list[Problem]:
    found: list[Problem] = []
    _tried(found, (*path, "interface"), lambda: known(rule.interface, scene.interfaces, "interface"))
    if found:
        return found
    source = _tried(found, (*path, "source"), lambda: parse_selector(rule.source, scene))
    _tried(found, (*path, "destination"), lambda: parse_selector(rule.destination, scene))
    _tried(found, (*path, "source_port"), lambda: parse_ports(rule.source_port, scene))
    _tried(found, (*path, "destination_port"), lambda: parse_ports(rule.destination_port, scene))
    _tried(found, (*path, "port"), lambda: parse_port_range(rule.port, scene))
    translation = _tried(
        found, (*path, "translation"), lambda: parse_translation(rule.translation, rule.interface, scene)
    )
    found += _port_keys(rule, path)
    if source is None or translation is None or any(problem.severity == "error" for problem in found):
        return found
    return [*found, *_families(rule, path, translation, scene), *_target(rule, path, source, translation, scene)]


def _port_keys(rule: RuleTable, path: KeyPath) -> Iterator[Problem]:
    for key in ("source_port", "destination_port", "port"):
        if getattr(rule, key) != "any" and rule.protocol not in PORT_PROTOCOLS and rule.protocol not in (6, 17, 132):
            yield Problem(
                path=(*path, key),
                message=f'protocol {rule.protocol} has no ports: write protocol = "tcp", "udp" or "tcp/udp"',
            )
    if rule.static_port and (rule.randomize_ports or rule.port != "any"):
        other = "randomize_ports" if rule.randomize_ports else "port"
        yield Problem(
            path=(*path, "static_port"),
            message=f"static_port and {other} contradict each other: remove one of them",
            also=((*path, other),),
        )
    if rule.translation == "none":
        for key in ("static_port", "randomize_ports", "port"):
            if getattr(rule, key) not in (False, "any"):
                yield Problem(
                    path=(*path, key),
                    severity="warning",
                    message=f'{key} has no effect: translation = "none" leaves the packets as they are',
                )


def _families(rule: RuleTable, path: KeyPath, translation: Translation, scene: Scene) -> Iterator[Problem]:
    if not translation.families:
        yield Problem(
            path=(*path, "translation"),
            message=f"{rule.interface} has no address of its own to translate to; "
            'write "vip:NAME" of a virtual host on it',
        )
    elif not versions(rule, scene):
        yield Problem(
            path=path,
            message=f"the rule mixes IPv4 and IPv6: source {rule.source}, destination {rule.destination}, "
            f"translation {rule.translation} have no family in common",
        )


def _target(
    rule: RuleTable, path: KeyPath, source: Selector, translation: Translation, scene: Scene
) -> Iterator[Problem]:
    if _is_this_node(rule.source, source, scene):
        yield _of_this_node(rule, path, translation, scene)
        return
    if translation.kind == "vip":
        host = scene.vips[translation.name]
        if host.interface != rule.interface:
            yield Problem(
                path=(*path, "translation"),
                severity="warning",
                message=f"virtual host {host.name!r} is on {host.interface}, not on {rule.interface}: answers come "
                f"back only if the router there knows the way",
            )
    elif translation.kind in ("address", "pool") and translation.pool is not None:
        yield from _unanswered(rule, path, translation, scene)


def _is_this_node(words: str, source: Selector, scene: Scene) -> bool:
    """Whether a source is nothing but addresses of this node."""
    if source.inverted or source.everything:
        return False
    if words == "self" or words.startswith("address:"):
        return True
    ends = (ends_of(each) for each in source.ranges)
    return bool(source.ranges) and all(first == last and first in scene.own for first, last in ends)


def _of_this_node(rule: RuleTable, path: KeyPath, translation: Translation, scene: Scene) -> Problem:
    if _is_shared(translation, scene):
        return Problem(
            path=(*path, "translation"),
            message=f"{rule.source} is this node itself: behind {rule.translation} it would lose its Internet while it "
            "is BACKUP, because answers go to the MASTER. It always leaves by its own address; remove the rule",
            also=((*path, "source"),),
        )
    return Problem(
        path=(*path, "source"),
        severity="warning",
        message=f"{rule.source} is this node itself, which always leaves by its own address; the rule has no effect",
    )


def _is_shared(translation: Translation, scene: Scene) -> bool:
    """Whether it moves between nodes."""
    if translation.kind == "vip":
        return True
    pool = translation.pool
    if pool is None:
        return False
    first, last = ends_of(pool)
    shared = [each.ip for host in scene.vips.values() for each in (*host.addresses, *host.aliases)]
    return any(each.version == first.version and int(first) <= int(each) <= int(last) for each in shared)


def _unanswered(rule: RuleTable, path: KeyPath, translation: Translation, scene: Scene) -> Iterator[Problem]:
    """Addresses of the WAN's own network for which no node answers ARP or neighbour solicitations."""
    assert translation.pool is not None
    if not scene.is_answered(rule.interface, *ends_of(translation.pool)):
        yield Problem(
            path=(*path, "translation"),
            severity="warning",
            message=f"no node has all of {rule.translation} on {rule.interface}, so the router there gets no answer "
            "when it asks for them: make them aliases of a virtual host",
        )
