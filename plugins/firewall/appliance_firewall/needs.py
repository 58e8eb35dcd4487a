"""What the appliance itself has to receive, and whether a rule passes it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.config import Config, ProvidesTraffic
from appliance.errors import Problem
from appliance_firewall.automatic import IPV6, LOCKOUT_PORTS, PING
from appliance_firewall.config import FirewallConfig, RuleTable
from appliance_firewall.expand import Conditions, protocol_numbers
from appliance_firewall.matching import NUMBERS, Field
from appliance_firewall.reading import Reading, reading_of
from appliance_firewall.resolve import ANY, World, lockout_interface


def missing(config: Config, reading: Reading) -> tuple[tuple[str, str], ...]:
    """Kinds of automatic rules that are replaced while no rule does their work, each with its interface."""
    table = config[FirewallConfig]
    return tuple(
        dict.fromkeys(
            (kind, interface)
            for kind, interface, protocol, port in _needed(config, reading.world)
            if (not table.automatic or kind in table.replace)
            and not _is_never_locked(table, reading.world, interface, protocol, port)
            and not any(passes(table, reading, interface, protocol, port))
        )
    )


def cuts(config: Config, reading: Reading, old: Config | None) -> Iterator[Problem]:
    """By which part of a change the other nodes of the cluster, or operators, may be shut out.

    Args:
        config: The candidate.
        reading: Its rules.
        old: The configuration in force.
    """
    if old is not None:
        yield from _unpassed(config, reading, old)
        yield from _unnamed(config, reading, old)


def _unpassed(config: Config, reading: Reading, old: Config) -> Iterator[Problem]:
    links = {link.interface for link in reading.world.links}
    ways = _ways_in(config, reading.world)
    found = [
        (kind, at)
        for kind, at in missing(config, reading)
        if (at in links and kind not in (PING, IPV6)) or (kind, at) in ways
    ]
    if not found:
        return
    # The rules of the old one are read again only now: there may be fifty thousand.
    known = missing(old, reading_of(old)) if old.get(FirewallConfig) is not None else ()
    for kind, at in found:
        if (kind, at) not in known:
            key = "replace" if kind in config[FirewallConfig].replace else "automatic"
            who = "the other nodes do not reach this one" if at in links else "whoever comes in there is cut off"
            message = f"no rule would pass {kind} at {at} any more: {who}"
            yield Problem(path=("firewall", key), message=message, severity="confirm")


def _unnamed(config: Config, reading: Reading, old: Config) -> Iterator[Problem]:
    before, nodes = old.get(FirewallConfig), config[FirewallConfig].nodes
    if not nodes or (before is not None and before.nodes == nodes):
        return
    peers = dict.fromkeys(str(peer) for link in reading.world.links for peer in link.peers if peer not in nodes)
    if peers:
        message = f"{', '.join(peers)} is not named here and a node: it does not reach this one any more"
        yield Problem(path=("firewall", "nodes"), message=message, severity="confirm")


def _ways_in(config: Config, world: World) -> frozenset[tuple[str, str]]:
    """Kinds and interfaces of what somebody comes in by and changes this node."""
    return frozenset(
        (each.name, each.interface)
        for provider in config.all_providing(ProvidesTraffic)
        for each in provider.own_traffic(world.interfaces)
        if each.is_way_in
    )


def _is_never_locked(table: FirewallConfig, world: World, interface: str, protocol: int, port: int | None) -> bool:
    is_listed = protocol == NUMBERS["tcp"] and port in LOCKOUT_PORTS
    return is_listed and interface == lockout_interface(table, world)


def _needed(config: Config, world: World) -> Iterator[tuple[str, str, int, int | None]]:
    """Kind of the automatic rule, interface, number of the protocol, and port."""
    for provider in config.all_providing(ProvidesTraffic):
        for each in provider.own_traffic(world.interfaces):
            families = {source.version for source in each.sources} or {4, 6}
            for number in protocol_numbers(each.protocol) or ():
                version = 6 if number == NUMBERS["icmpv6"] else 4
                if each.protocol != "icmp" or version in families:
                    yield each.name, each.interface, number, each.port
    for link in world.links:
        if link.interface in world.interfaces:
            versions = {address.version for address in world.interfaces[link.interface].addresses}
            yield from ((PING, link.interface, NUMBERS["icmp" if v == 4 else "icmpv6"], None) for v in sorted(versions))
    for name, interface in world.interfaces.items():
        if any(address.version == 6 for address in interface.addresses):
            yield IPV6, name, NUMBERS["icmpv6"], None


def passes(
    table: FirewallConfig, reading: Reading, interface: str | None, protocol: int, port: int | None
) -> Iterator[RuleTable]:
    """Rules that pass packets of this kind, at least some of them, to this node."""
    for rule, meaning in zip(table.rule, reading.meanings, strict=True):
        if rule.disabled or (rule.action, rule.direction) != ("pass", "in"):
            continue
        if interface is not None and not {interface, ANY}.intersection(meaning.interfaces):
            continue
        if any(_may_match(conditions, protocol, port) for conditions in meaning.matches):
            yield rule


def _may_match(conditions: Conditions, protocol: int, port: int | None) -> bool:
    wanted = {Field.PROTOCOL: protocol, Field.DESTINATION_PORT: port}
    for condition in conditions:
        number = wanted.get(condition.field)
        if condition.field is Field.DESTINATION_PORT and number is None:
            return False  # ports are asked for, and this protocol has none
        if number is None or condition.sets:
            continue
        if any(first <= number <= last for first, last in condition.ranges) is condition.inverted:
            return False
    return True
