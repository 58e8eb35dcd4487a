"""From a rule as written to what the kernel compares: one alternative, or one for each family. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from appliance_firewall.aliases import Ranges
from appliance_firewall.config import RuleTable, items
from appliance_firewall.matching import DESTINATION, FAMILY, ICMP, ICMP_TYPES, NUMBERS, SOURCE, Condition, Field
from appliance_firewall.resolve import ANY, PortSide, Side, World, read_addresses, read_ports
from appliance_firewall.schedule import set_name

Conditions = tuple[Condition, ...]
VERSIONS = {"any": frozenset({4, 6}), "ipv4": frozenset({4}), "ipv6": frozenset({6})}
ICMP_NUMBERS = {4: NUMBERS["icmp"], 6: NUMBERS["icmpv6"]}


def protocol_numbers(protocol: str | int) -> tuple[int, ...] | None:
    """The numbers of a protocol as written; empty: any; ``None``: there is no such protocol."""
    if protocol == ANY:
        return ()
    if protocol == "tcp/udp":
        return NUMBERS["tcp"], NUMBERS["udp"]
    if protocol == "icmp":
        return tuple(ICMP_NUMBERS.values())
    if isinstance(protocol, str) and protocol in NUMBERS:
        return (NUMBERS[protocol],)
    number = int(protocol) if str(protocol).isascii() and str(protocol).isdigit() else -1
    return (number,) if 0 <= number <= 255 else None


def families_of_types(types: Iterable[str]) -> frozenset[int]:
    """Families in which at least one of these ICMP types exists."""
    return frozenset(version for version in (4, 6) if ICMP_TYPES[version].intersection(types))


def families_of(rule: RuleTable, source: Side, destination: Side) -> frozenset[int]:
    """Those of which a packet can match; none: the rule contradicts itself, or its aliases are empty."""
    found = VERSIONS[rule.family] & source.families() & destination.families()
    if rule.icmp_types:
        found &= families_of_types(rule.icmp_types)
    return found & VERSIONS["ipv6"] if rule.protocol == "icmpv6" else found


def alternatives(rule: RuleTable, world: World) -> tuple[Conditions, ...]:
    """What a packet of a rule is like; a packet matches at most one of them.

    The interface is not part of it. Nothing matches a rule without alternatives.
    """
    source, _ = read_addresses(items(rule.source), world)
    destination, _ = read_addresses(items(rule.destination), world)
    ports = _ports(rule, world)
    if ports is None:
        return ()
    numbers = protocol_numbers(rule.protocol) or ()
    when = (Condition(Field.FAMILY, sets=(set_name(rule.schedule),)),) if rule.schedule else ()
    families = families_of(rule, source, destination)
    is_one = source.is_any and destination.is_any and len(families) == 2 and not rule.icmp_types
    if is_one:
        return ((*_protocol(numbers), *ports, *when),)
    out = []
    for version in sorted(families):
        addresses = (*_address(source, SOURCE, version), *_address(destination, DESTINATION, version))
        family = () if addresses else (Condition(Field.FAMILY, names=(FAMILY[version],)),)
        only = (ICMP_NUMBERS[version],) if rule.protocol == "icmp" else numbers
        types = tuple(sorted(ICMP_TYPES[version].intersection(rule.icmp_types)))
        kinds = (Condition(ICMP[version], names=types),) if types else ()
        out.append((*family, *_protocol(only), *addresses, *ports, *kinds, *when))
    return tuple(out)


def _protocol(numbers: tuple[int, ...]) -> Conditions:
    ranges = tuple((number, number) for number in sorted(numbers))
    return (Condition(Field.PROTOCOL, ranges),) if numbers else ()


def _address(side: Side, fields: dict[int, Field], version: int) -> Conditions:
    ranges: Ranges = side.ranges.get(version, ())
    sets = side.sets.get(version, ())
    # Nothing of this family to be outside of: an inverted side holds for every packet.
    if side.is_any or not (ranges or sets):
        return ()
    return (Condition(fields[version], ranges, sets=sets, inverted=side.inverted),)


def _ports(rule: RuleTable, world: World) -> Conditions | None:
    """``None``: no port can match."""
    sides = ((Field.SOURCE_PORT, rule.source_port), (Field.DESTINATION_PORT, rule.destination_port))
    out: list[Condition] = []
    for field, words in sides:
        side: PortSide = read_ports(items(words), world)[0]
        if side.is_any:
            continue
        if side.ranges or side.sets:
            out.append(Condition(field, side.ranges, sets=side.sets, inverted=side.inverted))
        elif not side.inverted:
            return None
    return tuple(out)
