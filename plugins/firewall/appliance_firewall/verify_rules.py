"""What one rule must satisfy. Pure; each path begins at the rule and names the offending key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from appliance.errors import Problem
from appliance.plugin.ruleset import KeyPath
from appliance_firewall.config import RuleTable, items
from appliance_firewall.expand import VERSIONS, families_of_types, protocol_numbers
from appliance_firewall.matching import ICMP_TYPES, NUMBERS, WITH_PORTS
from appliance_firewall.resolve import ANY, Mistake, PortSide, Side, World, unknown
from appliance_firewall.sides import Sides

WORDS = {frozenset({4}): "IPv4", frozenset({6}): "IPv6"}


def verify_rule(rule: RuleTable, sides: Sides, world: World) -> list[Problem]:
    """Everything wrong with a rule; a disabled one has to be right too, or it could not be enabled."""
    problems = [*_interfaces(rule, world)]
    for key in ("source", "destination") if sides.wrong else ():
        problems += _mistakes(rule, key, sides.wrong.get(key, ()))
    problems += _protocol(rule)
    problems += _ports(rule, sides, world)
    if rule.icmp_types:
        problems += _icmp(rule)
    if rule.gateway:
        problems += _gateway(rule, world)
    if rule.schedule and rule.schedule not in world.schedules:
        message = unknown("schedule", rule.schedule, world.schedules)
        problems.append(Problem(path=("schedule",), message=message))
    if "source" not in sides.wrong and "destination" not in sides.wrong:
        problems += _addresses(rule, sides.source, sides.destination, world)
    return problems


def _at(rule: RuleTable, key: str, place: int) -> KeyPath:
    return (key, place) if isinstance(getattr(rule, key), list) else (key,)


def _mistakes(rule: RuleTable, key: str, mistakes: Sequence[Mistake]) -> Iterator[Problem]:
    for mistake in mistakes:
        yield Problem(path=_at(rule, key, mistake.place), message=mistake.message)


def _interfaces(rule: RuleTable, world: World) -> Iterator[Problem]:
    names = rule.interfaces
    for place, name in enumerate(names):
        if name == ANY and len(names) > 1:
            message = "any includes all other interfaces of the list"
        elif name != ANY and name not in world.interfaces:
            message = unknown("interface", name, world.interfaces)
        else:
            continue
        yield Problem(path=_at(rule, "interface", place), message=message)


def _protocol(rule: RuleTable) -> Iterator[Problem]:
    if protocol_numbers(rule.protocol) is None:
        names = ", ".join(sorted({*NUMBERS, "tcp/udp", ANY}))
        message = f"there is no protocol {rule.protocol!r}; there are {names}, and numbers from 0 to 255"
        yield Problem(path=("protocol",), message=message)
    elif rule.protocol == "icmpv6" and rule.family == "ipv4":
        yield Problem(path=("protocol",), message="ICMPv6 is not a protocol of IPv4")


def _ports(rule: RuleTable, sides: Sides, world: World) -> Iterator[Problem]:
    both = (
        ("source_port", sides.source_port, rule.source_port),
        ("destination_port", sides.destination_port, rule.destination_port),
    )
    for key, side, words in both:
        mistakes = sides.wrong.get(key, ())
        yield from _mistakes(rule, key, mistakes)
        if not side.is_any and rule.protocol not in WITH_PORTS and protocol_numbers(rule.protocol) is not None:
            names = ", ".join(sorted(WITH_PORTS))
            message = f"the protocol {rule.protocol} has no ports; those with ports are {names}"
            message = f"a port needs a protocol: one of {names}" if rule.protocol == ANY else message
            yield Problem(path=(key,), message=message)
        elif not mistakes and _is_empty(side) and _all_declared(words, world):
            yield _nothing(key)


def _is_empty(side: PortSide) -> bool:
    return not (side.is_any or side.inverted or side.ranges or side.sets)


def _all_declared(words: int | str | list[str] | list[int | str], world: World) -> bool:
    """Whether no alias is wrong: that is said where it is declared."""
    names = {word.removeprefix("!").strip() for word in items(words)} & world.declared_aliases
    return names <= set(world.aliases)


def _nothing(key: str) -> Problem:
    message = "matches nothing: what it names is empty, so the rule has no effect"
    return Problem(path=(key,), severity="warning", message=message)


def _icmp(rule: RuleTable) -> Iterator[Problem]:
    if rule.protocol not in ("icmp", "icmpv6"):
        yield Problem(path=("icmp_types",), message='icmp_types need protocol = "icmp"')
        return
    allowed = VERSIONS["ipv6"] if rule.protocol == "icmpv6" else VERSIONS[rule.family]
    for place, name in enumerate(rule.icmp_types):
        where = ("icmp_types", place)
        known = families_of_types([name])
        if not known:
            names = ", ".join(sorted(set().union(*(ICMP_TYPES[version] for version in allowed))))
            yield Problem(path=where, message=f"there is no ICMP type {name!r}; there are {names}")
        elif not known & allowed:
            yield Problem(path=where, message=f"{name} is a type of {WORDS[known]} only")


def _gateway(rule: RuleTable, world: World) -> Iterator[Problem]:
    where = ("gateway",)
    if world.policies is None:
        yield Problem(path=where, message="no table declares gateways; this needs a [gateways] table")
    elif rule.gateway not in world.policies:
        yield Problem(path=where, message=unknown("gateway or group", rule.gateway, world.policies))
    if rule.action != "pass":
        yield Problem(path=where, message="only a rule that passes can choose a gateway")
    elif rule.direction != "in":
        yield Problem(path=where, message='a gateway is chosen when a connection comes in: use direction = "in"')
    elif rule.interfaces == (ANY,):
        message = "a rule with a gateway names its interfaces: what comes in from a WAN must not be sent out again"
        yield Problem(path=where, message=message)
    for name in rule.interfaces:
        if name in world.wans and rule.direction == "in":
            message = (
                f"{name} is a WAN: what comes in there would leave by another one; replies need no rule to go back "
            )
            message += "the way they came"
            yield Problem(path=where, severity="warning", message=message)


def _addresses(rule: RuleTable, source: Side, destination: Side, world: World) -> Iterator[Problem]:
    """Families have to fit together; what is only empty is worth a warning."""
    families, of_source, of_destination = VERSIONS[rule.family], source.families(), destination.families()
    sides = (("source", of_source, rule.source), ("destination", of_destination, rule.destination))
    for key, of_side, words in sides:
        if not of_side:
            if _all_declared(words, world):
                yield _nothing(key)
            return
        if not of_side & families:
            yield Problem(path=(key,), message=f"is of {WORDS[of_side]}, but the rule is for {WORDS[families]}")
            return
    both = of_source & of_destination
    if not both:
        yield Problem(
            path=("destination",),
            message=f"the source is of {WORDS[of_source]} and the destination of {WORDS[of_destination]}: "
            "no packet has both",
            also=(("source",),),
        )
    elif rule.icmp_types and not both & families & families_of_types(rule.icmp_types):
        known = families_of_types(rule.icmp_types)
        if known:
            message = f"these types are of {WORDS[known]}, but the addresses are not"
            yield Problem(path=("icmp_types",), message=message)
    elif rule.protocol == "icmpv6" and not both & VERSIONS["ipv6"]:
        yield Problem(path=("protocol",), message="is ICMPv6, but the addresses are of IPv4")
