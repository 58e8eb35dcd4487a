"""One-to-one NAT: an address outside stands for one inside, in both directions. Pure.

Single addresses share two maps per interface and family. Networks and entries for some destinations only are rules.
Nothing of this passes the firewall by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from appliance.plugin import Rule, Set
from appliance_outbound_nat.config import OneToOneTable, OutboundNatConfig
from appliance_outbound_nat.names import CounterNames, elements
from appliance_outbound_nat.parts import (
    ADDRESS,
    INSIDE_DEVICES,
    KeyPath,
    Part,
    Reflected,
    comes_in,
    counted,
    is_,
    words,
)
from appliance_outbound_nat.scene import FAMILY, Network, Scene, Version, vip_address
from appliance_outbound_nat.selectors import BadValueError, Selector, known, parse_range, parse_selector, range_text

PREFIX = "nat_one"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One entry, resolved."""

    interface: str
    external: Network
    internal: Network
    destination: Selector
    reflected: bool
    counter: str
    origin: KeyPath

    @property
    def version(self) -> Version:
        """The family."""
        return self.internal.version

    @property
    def is_plain(self) -> bool:
        """Whether maps can hold it."""
        return self.destination.everything and self.internal.prefixlen == self.internal.max_prefixlen


def parse_network(text: str, scene: Scene) -> Network:
    """An address or a network.

    Raises:
        BadValueError: It is something else.
    """
    found = parse_range(text, scene)
    if isinstance(found, tuple):
        raise BadValueError(f"{text} is a range; write an address or a network")
    return found


def parse_external(text: str, version: Version, scene: Scene) -> Network:
    """The address or network outside.

    Raises:
        BadValueError: It names nothing that exists, or a virtual host without an address of this family.
    """
    if not text.startswith("vip:"):
        return parse_network(text, scene)
    host = known(text.removeprefix("vip:"), scene.vips, "virtual host")
    address = vip_address(host, version)
    if address is None:
        raise BadValueError(
            f"virtual host {host.name!r} has no IPv{version} address, and the other end is IPv{version}"
        )
    return ip_network(address)


def pairs(table: OutboundNatConfig, scene: Scene) -> tuple[Pair, ...]:
    """All entries that hold."""
    names = CounterNames()
    return tuple(
        _pair(entry, ("outbound_nat", "one_to_one", place), names.name(PREFIX, entry), table.reflection, scene)
        for place, entry in enumerate(table.one_to_one)
        if not entry.disabled
    )


def _pair(entry: OneToOneTable, origin: KeyPath, counter: str, reflection: bool, scene: Scene) -> Pair:
    internal = parse_network(entry.internal, scene)
    return Pair(
        interface=entry.interface,
        external=parse_external(entry.external, internal.version, scene),
        internal=internal,
        destination=parse_selector(entry.destination, scene),
        reflected=reflection if entry.reflection is None else entry.reflection,
        counter=counter,
        origin=origin,
    )


def reflected(found: Iterable[Pair]) -> list[Reflected]:
    """What clients inside may use."""
    return [
        Reflected(external=pair.external, target=pair.internal, origin=pair.origin) for pair in found if pair.reflected
    ]


def onetoone_part(found: Sequence[Pair], scene: Scene) -> Part:
    """What these entries come to."""
    inward: list[Rule] = []
    outward: list[Rule] = []
    sets: list[Set] = []
    for interface in dict.fromkeys(pair.interface for pair in found):
        here = [pair for pair in found if pair.interface == interface]
        device = scene.interfaces[interface].device
        # The more special entries first: a map would answer for every destination.
        for pair in (each for each in here if not each.is_plain):
            inward.append(Rule(text=words(comes_in(interface), _inward(pair, "saddr")), origin=pair.origin))
            outward.append(Rule(text=words(f'oifname "{device}"', _outward(pair)), origin=pair.origin))
        for version in (4, 6):
            plain = [pair for pair in here if pair.is_plain and pair.version == version]
            if plain:
                name = f"{interface}_v{version}"
                sets += _maps(f"in_{name}", version, [(pair.external, pair.internal, pair) for pair in plain])
                sets += _maps(f"out_{name}", version, [(pair.internal, pair.external, pair) for pair in plain])
                inward.append(_lookup(comes_in(interface), f"in_{name}", "daddr", "dnat", version, plain[0].origin))
                leaves = f'oifname "{device}"'
                outward.append(_lookup(leaves, f"out_{name}", "saddr", "snat", version, plain[0].origin))
    inside = [pair for pair in found if pair.reflected]
    rules, more = _inside(inside)
    return Part(
        inward=(*inward, *rules),
        outward=tuple(outward),
        sets=(*sets, *more),
        counters=tuple(pair.counter for pair in found),
    )


def _inside(found: Sequence[Pair]) -> tuple[list[Rule], list[Set]]:
    """The same destination translation for clients inside."""
    comes = f"iifname @{INSIDE_DEVICES}"
    # Clients inside are never the other end outside that an entry may be restricted to.
    rules = [Rule(text=words(comes, _inward(pair, "")), origin=pair.origin) for pair in found if not pair.is_plain]
    sets: list[Set] = []
    for version in (4, 6):
        plain = [pair for pair in found if pair.is_plain and pair.version == version]
        if plain:
            name = f"inside_v{version}"
            sets += _maps(name, version, [(pair.external, pair.internal, pair) for pair in plain])
            rules.append(_lookup(comes, name, "daddr", "dnat", version, plain[0].origin))
    return rules, sets


def _inward(pair: Pair, side: str) -> str:
    verdict = f"dnat {FAMILY[pair.version]} {_to(pair.internal)}"
    others = pair.destination.match(side, pair.version) if side else ""
    return words(is_("daddr", pair.version, pair.external), others, counted(pair.counter), verdict)


def _outward(pair: Pair) -> str:
    verdict = f"snat {FAMILY[pair.version]} {_to(pair.external)}"
    others = pair.destination.match("daddr", pair.version)
    return words(is_("saddr", pair.version, pair.internal), others, counted(pair.counter), verdict)


def _to(where: Network) -> str:
    return f"to {range_text(where)}" if where.prefixlen == where.max_prefixlen else f"prefix to {where}"


def _maps(name: str, version: Version, entries: Sequence[tuple[Network, Network, Pair]]) -> Iterator[Set]:
    """A map of addresses and one of counters, by the same keys."""
    origin = entries[0][2].origin
    key = ADDRESS[version]
    to = elements((range_text(one), range_text(other)) for one, other, _ in entries)
    count = elements((range_text(one), f'"{pair.counter}"') for one, _, pair in entries)
    yield Set(name=f"nat_map_one_{name}", key=key, value=key, elements=to, origin=origin)
    yield Set(name=f"nat_map_hits_one_{name}", key=key, value="counter", elements=count, origin=origin)


def _lookup(where: str, name: str, side: str, verdict: str, version: Version, origin: KeyPath) -> Rule:
    ip = FAMILY[version]
    text = words(
        where,
        f"counter name {ip} {side} map @nat_map_hits_one_{name}",
        f"{verdict} {ip} to {ip} {side} map @nat_map_one_{name}",
    )
    return Rule(text=text, origin=origin)
