"""What port forwards come to in nftables, with the rules of the filter that pass what they forward. Pure.

Forwards for everybody to one port share a map per interface and family. Those for some sources, and ranges of ports,
are rules. A forward that a rule before it would take is a rule too, so that the first in the file counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from appliance.plugin import Rule, Set
from appliance_outbound_nat.forwards import Forward
from appliance_outbound_nat.names import elements
from appliance_outbound_nat.parts import ADDRESS, INSIDE_DEVICES, Part, comes_in, counted, words
from appliance_outbound_nat.scene import FAMILY


def forwards_part(found: Sequence[Forward]) -> Part:
    """What these forwards come to."""
    mapped, linear = _split(found)
    inward: list[Rule] = []
    passing: list[Rule] = []
    sets: list[Set] = []
    for interface in dict.fromkeys(each.interface for each in found):
        for version in (4, 6):
            here = [each for each in mapped if (each.interface, each.version) == (interface, version)]
            if here:
                rule, maps = _map(comes_in(interface), f"{interface}_v{version}", here)
                inward.append(rule)
                rules, more = _pass_sets(interface, [each for each in here if each.passes])
                passing += rules
                sets += [*maps, *more]
    for each in linear:
        inward.append(Rule(text=words(comes_in(each.interface), _linear(each)), origin=each.origin))
        if each.passes:
            passing.append(Rule(text=words(comes_in(each.interface), _passed(each)), origin=each.origin))
    rules, more = _inside([each for each in mapped if each.reflected], [each for each in linear if each.reflected])
    return Part(
        inward=(*inward, *rules),
        passing=tuple(passing),
        sets=(*sets, *more),
        counters=tuple(dict.fromkeys(each.counter for each in found)),
    )


def _split(found: Sequence[Forward]) -> tuple[list[Forward], list[Forward]]:
    """Those for maps, which are asked first, and the others in order."""
    mapped: list[Forward] = []
    linear: list[Forward] = []
    before: dict[tuple[str, str, object], list[Forward]] = {}
    for each in found:
        here = (each.interface, each.protocol, each.external)
        anywhere = (each.interface, each.protocol, None)
        rivals = (*before.get(here, ()), *before.get(anywhere, ()))
        if each.is_plain and not any(each.collides(other) for other in rivals):
            mapped.append(each)
        else:
            linear += _single(each)
            before.setdefault(here, []).append(each)
    return mapped, linear


def _single(each: Forward) -> list[Forward]:
    """As forwards that one rule can express: nftables cannot shift a range of ports."""
    if each.shift == 0:
        return [each]
    return [replace(each, first=port, last=port) for port in range(each.first, each.last + 1)]


def _inside(mapped: Sequence[Forward], linear: Sequence[Forward]) -> tuple[list[Rule], list[Set]]:
    """The same destination translation for clients inside."""
    comes = f"iifname @{INSIDE_DEVICES}"
    rules: list[Rule] = []
    sets: list[Set] = []
    for version in (4, 6):
        here = [each for each in mapped if each.version == version]
        if here:
            rule, maps = _map(comes, f"inside_v{version}", here)
            rules.append(rule)
            sets += maps
    rules += [
        Rule(text=words(comes, _linear(each)), origin=each.origin) for each in linear if each.external is not None
    ]
    return rules, sets


def _map(comes: str, name: str, found: Sequence[Forward]) -> tuple[Rule, list[Set]]:
    """The rule that looks a forward up, and its maps: one of targets and one of counters, by the same keys."""
    version, origin = found[0].version, found[0].origin
    key = f"inet_proto . {ADDRESS[version]} . inet_service"
    to = elements((_key(each, port), f"{each.target} . {port + each.shift}") for each in found for port in _ports(each))
    count = elements((_key(each, port), f'"{each.counter}"') for each in found for port in _ports(each))
    asked = f"meta l4proto . {FAMILY[version]} daddr . th dport"
    text = words(
        comes,
        "meta l4proto { tcp, udp }",
        f"counter name {asked} map @nat_map_hits_port_{name}",
        f"dnat {FAMILY[version]} to {asked} map @nat_map_port_{name}",
    )
    value = f"{ADDRESS[version]} . inet_service"
    return Rule(text=text, origin=origin), [
        Set(name=f"nat_map_port_{name}", key=key, value=value, elements=to, origin=origin),
        Set(name=f"nat_map_hits_port_{name}", key=key, value="counter", elements=count, origin=origin),
    ]


def _ports(each: Forward) -> range:
    return range(each.first, each.last + 1)


def _key(each: Forward, port: int) -> str:
    return f"{each.protocol} . {each.external} . {port}"


def _pass_sets(interface: str, found: Sequence[Forward]) -> tuple[list[Rule], list[Set]]:
    """What the filter passes: the destination outside and inside belong together."""
    rules: list[Rule] = []
    sets: list[Set] = []
    for protocol in dict.fromkeys(each.protocol for each in found):
        here = [each for each in found if each.protocol == protocol]
        version, origin = here[0].version, here[0].origin
        name = f"nat_set_pass_{interface}_{protocol}_v{version}"
        key = f"{ADDRESS[version]} . inet_service . {ADDRESS[version]} . inet_service"
        entries = dict.fromkeys(
            f"{each.external} . {port} . {each.target} . {port + each.shift}" for each in here for port in _ports(each)
        )
        sets.append(Set(name=name, key=key, elements=tuple(entries), origin=origin))
        ip = FAMILY[version]
        matched = f"ct original {ip} daddr . ct original proto-dst . {ip} daddr . th dport @{name}"
        text = f"{comes_in(interface)} ct status dnat meta l4proto {protocol} {matched} accept"
        rules.append(Rule(text=text, origin=origin))
    return rules, sets


def _linear(each: Forward) -> str:
    ip = FAMILY[each.version]
    external = f"meta nfproto ipv{each.version} fib daddr type local"
    if each.external is not None:
        external = f"{ip} daddr {each.external}"
    to = str(each.target)
    if each.shift:
        to = f"{to if each.version == 4 else f'[{to}]'}:{each.first + each.shift}"
    return words(
        f"meta l4proto {each.protocol}",
        each.source.match("saddr", each.version),
        external,
        f"th dport {_range(each, 0)}",
        counted(each.counter),
        f"dnat {ip} to {to}",
    )


def _passed(each: Forward) -> str:
    ip = FAMILY[each.version]
    return words(
        f"ct status dnat meta l4proto {each.protocol}",
        each.source.match("saddr", each.version),
        f"ct original {ip} daddr {each.external}" if each.external is not None else "",
        f"ct original proto-dst {_range(each, 0)}",
        f"{ip} daddr {each.target} th dport {_range(each, each.shift)}",
        "accept",
    )


def _range(each: Forward, shift: int) -> str:
    first, last = each.first + shift, each.last + shift
    return str(first) if first == last else f"{first}-{last}"
