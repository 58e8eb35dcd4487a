"""From a rule as written to what the kernel compares: one alternative, or one for each family. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from appliance_firewall.aliases import Ranges, whole_number
from appliance_firewall.config import RuleTable
from appliance_firewall.matching import DESTINATION, FAMILY, ICMP, ICMP_TYPES, NUMBERS, SOURCE, Condition, Field
from appliance_firewall.resolve import ANY, BOTH, PortSide, Side
from appliance_firewall.schedule import set_name
from appliance_firewall.sides import Sides

Conditions = tuple[Condition, ...]
VERSIONS = {"any": BOTH, "ipv4": frozenset({4}), "ipv6": frozenset({6})}
ICMP_NUMBERS = {4: NUMBERS["icmp"], 6: NUMBERS["icmpv6"]}
_PROTOCOLS: dict[str | int, tuple[int, ...]] = {
    **{name: (number,) for name, number in NUMBERS.items()},
    ANY: (),
    "tcp/udp": (NUMBERS["tcp"], NUMBERS["udp"]),
    "icmp": tuple(ICMP_NUMBERS.values()),
}
_SHARED_MAX = 4096
"""Conditions on protocols and ports that many rules share."""
_FAMILY = {version: (Condition(Field.FAMILY, names=(name,)),) for version, name in FAMILY.items()}


def protocol_numbers(protocol: str | int) -> tuple[int, ...] | None:
    """The numbers of a protocol as written; empty: any; ``None``: there is no such protocol."""
    known = _PROTOCOLS.get(protocol)
    if known is not None:
        return known
    number = whole_number(str(protocol))
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


def alternatives(rule: RuleTable, sides: Sides) -> tuple[Conditions, ...]:
    """What a packet of a rule is like; a packet matches at most one of them.

    The interface is not part of it. Nothing matches a rule without alternatives.
    """
    source, destination = sides.source, sides.destination
    ports = _ports(sides)
    if ports is None:
        return ()
    numbers = protocol_numbers(rule.protocol) or ()
    when = (Condition(Field.FAMILY, sets=(set_name(rule.schedule),)),) if rule.schedule else ()
    families = families_of(rule, source, destination)
    is_one = source.is_any and destination.is_any and len(families) == 2 and not rule.icmp_types
    if is_one:
        return ((*_protocol(numbers), *ports, *when),)
    out = []
    for version in (each for each in (4, 6) if each in families):
        addresses = (*_address(source, SOURCE, version), *_address(destination, DESTINATION, version))
        family = () if addresses else _FAMILY[version]
        only = (ICMP_NUMBERS[version],) if rule.protocol == "icmp" else numbers
        types = tuple(sorted(ICMP_TYPES[version].intersection(rule.icmp_types))) if rule.icmp_types else ()
        kinds = (Condition(ICMP[version], names=types),) if types else ()
        out.append((*family, *_protocol(only), *addresses, *ports, *kinds, *when))
    return tuple(out)


@lru_cache(maxsize=_SHARED_MAX)
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


def _ports(sides: Sides) -> Conditions | None:
    """``None``: no port can match."""
    source = _port(sides.source_port, is_source=True)
    destination = _port(sides.destination_port, is_source=False)
    return None if source is None or destination is None else source + destination


def _port(side: PortSide, *, is_source: bool) -> Conditions | None:
    if side.is_any:
        return ()
    if side.ranges or side.sets:
        return _port_condition(side.ranges, side.sets, is_source=is_source, inverted=side.inverted)
    return () if side.inverted else None


@lru_cache(maxsize=_SHARED_MAX)
def _port_condition(ranges: Ranges, sets: tuple[str, ...], *, is_source: bool, inverted: bool) -> Conditions:
    field = Field.SOURCE_PORT if is_source else Field.DESTINATION_PORT
    return (Condition(field, ranges, sets=sets, inverted=inverted),)
