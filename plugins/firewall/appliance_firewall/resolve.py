"""What the words of a rule stand for in this configuration: interfaces, addresses, ports, protocols. Pure.

Every function that reads words also returns what is wrong with them; `appliance_firewall.verify` reports that, and a
configuration that is loaded has nothing wrong.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from appliance.config import (
    ClusterLink,
    Config,
    LogicalInterface,
    ProvidesClusterLink,
    ProvidesGateways,
    ProvidesInterfaces,
    ProvidesVirtualHosts,
    VirtualHost,
)
from appliance_firewall.aliases import (
    NAME,
    EntryError,
    Range,
    Ranges,
    Resolved,
    collapse,
    parse_address,
    parse_port,
    usual_address,
)
from appliance_firewall.config import FirewallConfig

ANY = "any"
LOCKOUT_DEFAULT = "lan"
SHOWN_MAX = 12
"""Names listed in a message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What the other tables declare, by name."""

    interfaces: Mapping[str, LogicalInterface]
    hosts: Mapping[str, VirtualHost]
    aliases: Mapping[str, Resolved]
    declared_aliases: frozenset[str]
    """Also those that are wrong, which are reported once and not at every rule."""
    policies: Mapping[str, str] | None
    """Chains of gateways; ``None``: nothing declares gateways."""
    schedules: frozenset[str]
    links: tuple[ClusterLink, ...]
    wans: frozenset[str]
    """Interfaces with a gateway."""

    def names(self) -> object:
        """All on which it depends what a rule means; worlds in which these are equal read every rule the same.

        Of an alias that is no more than whether it has anything in it: what it has, the kernel looks up.
        """
        aliases = {
            name: (each.kind, bool(each.v4), bool(each.v6), each.is_empty) for name, each in self.aliases.items()
        }
        others = (self.declared_aliases, self.policies, self.schedules, self.wans)
        return (dict(self.interfaces), dict(self.hosts), aliases, others)

    def devices(self, interface: str) -> tuple[str, ...]:
        """Where packets of an interface come in: at its device and at those of its virtual hosts."""
        parent = self.interfaces[interface]
        above = (host.device(parent) for host in self.hosts.values() if host.interface == interface)
        return tuple(dict.fromkeys((parent.device, *above)))


def world_of(config: Config) -> World:
    """Everything that rules may name."""
    table = config[FirewallConfig]
    provider = config.providing(ProvidesInterfaces)
    gateways = config.all_providing(ProvidesGateways)
    interfaces = provider.logical_interfaces() if provider is not None else {}
    links = (each.cluster_link() for each in config.all_providing(ProvidesClusterLink))
    wans = {name for name, each in interfaces.items() if each.gateways}
    wans |= {gateway.interface for each in gateways for gateway in each.gateways().values()}
    return World(
        interfaces=interfaces,
        hosts={
            name: host
            for each in config.all_providing(ProvidesVirtualHosts)
            for name, host in each.virtual_hosts().items()
            if host.interface in interfaces
        },
        aliases=table.resolution[0],
        declared_aliases=frozenset(table.alias),
        policies={name: chain for each in gateways for name, chain in each.policies().items()} if gateways else None,
        schedules=frozenset(table.schedule),
        links=tuple(link for link in links if link is not None),
        wans=frozenset(wans),
    )


def lockout_interface(table: FirewallConfig, world: World) -> str:
    """The interface at which nothing can lock an operator out; empty when there is none."""
    if table.anti_lockout is not None:
        return table.anti_lockout if table.anti_lockout in world.interfaces else ""
    if LOCKOUT_DEFAULT in world.interfaces:
        return LOCKOUT_DEFAULT
    sync = {link.interface for link in world.links}
    return next((name for name in world.interfaces if name not in world.wans and name not in sync), "")


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong with one of several words."""

    place: int
    message: str


BOTH, ONLY_4, ONLY_6, NEITHER = frozenset({4, 6}), frozenset({4}), frozenset({6}), frozenset[int]()


@dataclass(frozen=True, slots=True)
class Side:
    """Source or destination addresses of a rule."""

    is_any: bool = False
    inverted: bool = False
    ranges: Mapping[int, Ranges] = field(default_factory=dict)
    """By family."""
    sets: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """Of aliases that have addresses of the family."""
    is_named: bool = False
    """Whether a name stands for something of it: then both families are meant."""

    def families(self) -> frozenset[int]:
        """Those of which an address can match."""
        if self.is_any or (self.inverted and self.is_named):
            return BOTH
        has_6 = bool(self.ranges.get(6) or self.sets.get(6))
        if self.ranges.get(4) or self.sets.get(4):
            return BOTH if has_6 else ONLY_4
        return ONLY_6 if has_6 else NEITHER


def read_addresses(words: Sequence[str], world: World) -> tuple[Side, list[Mistake]]:
    """Source or destination as written."""
    if len(words) == 1 and words[0] == ANY:
        return Side(is_any=True), []
    usual = usual_address(words[0]) if len(words) == 1 else None
    if usual is not None:
        return Side(ranges={4: (usual,), 6: ()}), []
    plain, mistakes, inverted = _without_not(words)
    if plain == [ANY]:
        return Side(is_any=True), [*mistakes, Mistake(0, "!any matches nothing")]
    found: dict[int, list[Range]] = {4: [], 6: []}
    sets: dict[int, tuple[str, ...]] = {}
    is_named = False
    for place, word in enumerate(plain):
        try:
            if NAME.match(word) and word not in (ANY, "self"):
                is_named = True
                for version in _alias(word, world):
                    sets[version] = (*sets.get(version, ()), f"alias_{word}_v{version}")
                continue
            is_literal, numbers = _numbers(word, world)
        except EntryError as error:
            mistakes.append(Mistake(place, str(error)))
            continue
        is_named |= not is_literal
        for version, each in numbers:
            found[version].append(each)
    ranges = {version: collapse(each) for version, each in found.items()}
    return Side(inverted=inverted, ranges=ranges, sets=sets, is_named=is_named), mistakes


def _without_not(words: Sequence[str]) -> tuple[list[str], list[Mistake], bool]:
    """The words without their ``!``."""
    plain = [word.removeprefix("!").strip() for word in words]
    count = sum(word.startswith("!") for word in words)
    if 0 < count < len(words):
        place = next(place for place, word in enumerate(words) if word.startswith("!") != words[0].startswith("!"))
        message = "a list is inverted as a whole: put ! in front of all of it or of none"
        return plain, [Mistake(place, message)], False
    return plain, [], count > 0


def _alias(name: str, world: World) -> Sequence[int]:
    """The families of which it has addresses."""
    if name not in world.declared_aliases:
        raise EntryError(unknown("alias", name, world.declared_aliases))
    alias = world.aliases.get(name)
    if alias is None:
        return ()  # reported where it is declared
    if alias.kind == "ports":
        raise EntryError(f"{name} is an alias of ports; an alias of hosts or networks is needed")
    return [version for version in (4, 6) if alias.of(version)]


def _numbers(word: str, world: World) -> tuple[bool, list[tuple[int, Range]]]:
    """Whether it is an address as such, and the addresses with their families."""
    kind, colon, name = word.partition(":")
    if word == ANY:
        raise EntryError("any includes everything else in the list")
    if word == "self":
        return False, [each for name in world.interfaces for each in addresses_at(name, world, is_with_virtual=True)]
    if colon and kind == "vip":
        host = world.hosts.get(name)
        if host is None:
            raise EntryError(unknown("virtual host", name, world.hosts))
        return False, [(each.version, (int(each.ip), int(each.ip))) for each in (*host.addresses, *host.aliases)]
    if colon and kind in ("net", "address"):
        if name not in world.interfaces:
            raise EntryError(unknown("interface", name, world.interfaces))
        return False, networks_of(name, world) if kind == "net" else addresses_at(name, world)
    return True, [parse_address(word)]


def networks_of(interface: str, world: World) -> list[tuple[int, Range]]:
    """Networks of an interface and of its virtual hosts, without link-local ones."""
    addresses = list(world.interfaces[interface].addresses)
    for host in world.hosts.values():
        if host.interface == interface:
            addresses += [*host.addresses, *host.aliases]
    networks = dict.fromkeys(each.network for each in addresses if not each.ip.is_link_local)
    return [(each.version, (int(each.network_address), int(each.broadcast_address))) for each in networks]


def addresses_at(interface: str, world: World, *, is_with_virtual: bool = False) -> list[tuple[int, Range]]:
    """This node's own addresses at an interface, perhaps with those of its virtual hosts."""
    addresses = list(world.interfaces[interface].addresses)
    if is_with_virtual:
        for host in world.hosts.values():
            if host.interface == interface:
                addresses += [*host.addresses, *host.aliases]
    return [(each.version, (int(each.ip), int(each.ip))) for each in addresses]


@dataclass(frozen=True, slots=True)
class PortSide:
    """Source or destination ports of a rule."""

    is_any: bool = False
    inverted: bool = False
    ranges: Ranges = ()
    sets: tuple[str, ...] = ()


def read_ports(words: Sequence[str], world: World) -> tuple[PortSide, list[Mistake]]:
    """Source or destination ports as written."""
    if len(words) == 1 and words[0] == ANY:
        return PortSide(is_any=True), []
    plain, mistakes, inverted = _without_not(words)
    if plain == [ANY]:
        return PortSide(is_any=True), [*mistakes, Mistake(0, "!any matches nothing")]
    found: list[Range] = []
    sets: list[str] = []
    for place, word in enumerate(plain):
        try:
            if word == ANY:
                raise EntryError("any includes everything else in the list")
            if NAME.match(word):
                sets += _port_alias(word, world)
            else:
                found.append(parse_port(word))
        except EntryError as error:
            mistakes.append(Mistake(place, str(error)))
    return PortSide(inverted=inverted, ranges=collapse(found), sets=tuple(sets)), mistakes


def _port_alias(name: str, world: World) -> list[str]:
    if name not in world.declared_aliases:
        raise EntryError(_no_ports(name, world))
    alias = world.aliases.get(name)
    if alias is None:
        return []
    if alias.kind != "ports":
        raise EntryError(f"{name} is an alias of {alias.kind}; an alias of ports is needed")
    return [] if alias.is_empty else [f"alias_{name}_port"]


def _no_ports(name: str, world: World) -> str:
    """Only aliases of ports are offered. Names of services are what people try first (``http``), and there are none."""
    of_ports = [each for each, alias in world.aliases.items() if alias.kind == "ports"]
    return f"{unknown('port alias', name, of_ports)}; a port is a number, such as 443"


Kind = Literal["alias", "port alias", "interface", "virtual host", "gateway or group", "schedule"]


def unknown(kind: Kind, name: str, known: Iterable[str]) -> str:
    """The message for a name that nothing has."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"there is no {kind} {name!r}; did you mean {close[0]!r}?"
    if not names:
        return f"there is no {kind} {name!r}, and no other"
    more = f" and {len(names) - SHOWN_MAX} more" if len(names) > SHOWN_MAX else ""
    return f"there is no {kind} {name!r}; there are {', '.join(names[:SHOWN_MAX])}{more}"
