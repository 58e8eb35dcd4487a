"""Outbound rules: which ones hold, in order, and what they come to in nftables. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from appliance.plugin import Rule
from appliance_outbound_nat.automatic import automatic_rules
from appliance_outbound_nat.config import OutboundNatConfig, RuleTable
from appliance_outbound_nat.names import CounterNames
from appliance_outbound_nat.parts import KeyPath, Part, counted, words
from appliance_outbound_nat.scene import Scene, Version
from appliance_outbound_nat.selectors import parse_port_range, parse_ports, parse_selector, protocol_match
from appliance_outbound_nat.translation import Translation, parse_translation, statement

PREFIX = "nat_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outbound:
    """One rule in its place."""

    rule: RuleTable
    counter: str
    """Empty when the rule is left out."""
    automatic: bool
    origin: KeyPath


def outbound_rules(table: OutboundNatConfig, scene: Scene) -> tuple[Outbound, ...]:
    """All rules of the mode in the order in which they are asked, those that are disabled too."""
    names = CounterNames()
    found: list[Outbound] = []
    manual = table.rule if table.mode in ("manual", "hybrid") else []
    for place, rule in enumerate(manual):
        counter = "" if rule.disabled else names.name(PREFIX, rule)
        place_of = ("outbound_nat", "rule", place)
        found.append(Outbound(rule=rule, counter=counter, automatic=False, origin=place_of))
    for rule in automatic_rules(scene) if table.mode in ("automatic", "hybrid") else ():
        counter = names.name(PREFIX, rule)
        found.append(Outbound(rule=rule, counter=counter, automatic=True, origin=("outbound_nat", "mode")))
    return tuple(found)


def versions(rule: RuleTable, scene: Scene) -> tuple[Version, ...]:
    """The families for which a rule holds; none when its words are of different ones.

    IPv6 is translated only when the rule speaks of IPv6 addresses.
    """
    translation = parse_translation(rule.translation, rule.interface, scene)
    found = parse_selector(rule.source, scene).families & parse_selector(rule.destination, scene).families
    found &= translation.families
    if len(found) == 2 and translation.kind != "none":
        return (4,)
    return tuple(sorted(found))


def outbound_part(rules: Sequence[Outbound], scene: Scene) -> Part:
    """What these rules come to."""
    active = [each for each in rules if each.counter]
    return Part(
        outward=tuple(Rule(text=text, origin=each.origin) for each in active for text in _texts(each, scene)),
        counters=tuple(each.counter for each in active),
    )


def _texts(each: Outbound, scene: Scene) -> Iterator[str]:
    rule = each.rule
    translation = parse_translation(rule.translation, rule.interface, scene)
    for version in versions(rule, scene):
        yield words(
            f'oifname "{scene.interfaces[rule.interface].device}"',
            matches(rule, version, scene),
            counted(each.counter),
            _statement(rule, translation, version, scene),
        )


def matches(rule: RuleTable, version: Version, scene: Scene) -> str:
    """The conditions of a rule besides its interface."""
    source, destination = parse_selector(rule.source, scene), parse_selector(rule.destination, scene)
    return words(
        f"meta nfproto ipv{version}" if source.everything and destination.everything else "",
        protocol_match(rule.protocol, version),
        source.match("saddr", version),
        parse_ports(rule.source_port, scene).match("sport"),
        destination.match("daddr", version),
        parse_ports(rule.destination_port, scene).match("dport"),
    )


def _statement(rule: RuleTable, translation: Translation, version: Version, scene: Scene) -> str:
    chosen = parse_port_range(rule.port, scene)
    ports = "" if chosen.everything else chosen.text
    return statement(translation, version, scene, ports=ports, randomize=rule.randomize_ports)
