"""What ``[gateways]`` must satisfy beyond its own models, in the light of the whole configuration.

Pure. Each rule is one function with a message of its own; the path names the offending key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address

from appliance.config import Address, Config, LogicalInterface, ProvidesInterfaces
from appliance.config.types import Network
from appliance.errors import Problem
from appliance_gateways.config import GatewaysConfig, GatewayTable, GroupTable, virtual_hosts
from appliance_gateways.numbers import NUMBERS

Path = tuple[str | int, ...]
Interfaces = Mapping[str, LogicalInterface]
PROBES_MIN, PROBES_MAX = 10, 3600
"""Fewer make one lost probe a disaster, more cost memory and say nothing new."""


def verify(config: Config) -> list[Problem]:
    """Every problem of the table."""
    table = config[GatewaysConfig]
    provider = config.providing(ProvidesInterfaces)
    if provider is None:
        return [Problem(path=("gateways",), message="gateways need an [interfaces] table that declares their WANs")]
    known = provider.logical_interfaces()
    problems = [*_count(table), *_names(table), *_defaults(table, known), *_monitored_twice(table), *_shared(table)]
    for name, gateway in table.gateway.items():
        path: Path = ("gateways", "gateway", name)
        problems += [*_limits(gateway, path), *_monitor(gateway, known, path)]
        if gateway.interface not in known:
            there = ", ".join(sorted(known)) or "none"
            message = f"there is no interface {gateway.interface!r}; [interfaces] has {there}"
            problems.append(Problem(path=(*path, "interface"), message=message))
            continue
        interface = known[gateway.interface]
        problems += _on_the_link(gateway, interface, _virtual(config, interface), path)
    for name, group in table.group.items():
        problems += _members(table, group, ("gateways", "group", name))
    return problems


def _virtual(config: Config, interface: LogicalInterface) -> dict[Address, Network]:
    """Virtual addresses on an interface with their networks."""
    hosts = [host for host in virtual_hosts(config) if host.interface == interface.name]
    return {each.ip: each.network for host in hosts for each in (*host.addresses, *host.aliases)}


def _keys(gateway: GatewayTable) -> Iterator[tuple[str, Address]]:
    if gateway.address is not None:
        yield "address", gateway.address
    if gateway.address6 is not None:
        yield "address6", gateway.address6


def _count(table: GatewaysConfig) -> Iterator[Problem]:
    if len(table.gateway) > NUMBERS:
        message = f"{len(table.gateway)} gateways are too many: the mark of a connection has room for {NUMBERS}"
        yield Problem(path=("gateways", "gateway"), message=message)


def _names(table: GatewaysConfig) -> Iterator[Problem]:
    for name in table.group:
        if name in table.gateway:
            message = f"{name} already is a gateway; rules name gateways and groups alike, so give one another name"
            yield Problem(path=("gateways", "group", name), message=message, also=(("gateways", "gateway", name),))


def _defaults(table: GatewaysConfig, known: Interfaces) -> Iterator[Problem]:
    for key, version, name in (("default4", 4, table.default4), ("default6", 6, table.default6)):
        if not name:
            continue
        path: Path = ("gateways", key)
        if name not in table.gateway and name not in table.group:
            there = ", ".join([*table.gateway, *table.group]) or "nothing"
            yield Problem(path=path, message=f"there is no gateway or group {name!r}; [gateways] has {there}")
        elif version not in table.families(name):
            yield Problem(path=path, message=f"{name} has no IPv{version} address, so it cannot carry IPv{version}")
        for interface in known.values():
            if any(via.version == version for via in interface.gateways):
                message = (
                    f"[interfaces.{interface.name}] also has an IPv{version} default route; remove it there, "
                    f'or leave the default to it with {key} = ""'
                )
                yield Problem(path=path, message=message, also=(("interfaces", interface.name, "routes"),))


def _monitored_twice(table: GatewaysConfig) -> Iterator[Problem]:
    first: dict[Address, str] = {}
    for name, gateway in table.gateway.items():
        address = gateway.monitored
        if address is None or (isinstance(address, IPv6Address) and address.is_link_local):
            continue  # the same link-local address on several links is usual
        other = first.setdefault(address, name)
        if other != name:
            key = "address" if gateway.monitor == "" else "monitor"
            message = f"{address} is probed for {other} already: when it fails both gateways are down"
            also = (("gateways", "gateway", other),)
            yield Problem(path=("gateways", "gateway", name, key), message=message, also=also, severity="warning")


def _shared(table: GatewaysConfig) -> Iterator[Problem]:
    first: dict[tuple[str, int], str] = {}
    for name, gateway in table.gateway.items():
        for key, address in _keys(gateway):
            other = first.setdefault((gateway.interface, address.version), name)
            if other != name:
                message = (
                    f"{gateway.interface} has the IPv{address.version} gateway {other} already; connections that come "
                    f"in there are answered through {other}"
                )
                also = (("gateways", "gateway", other),)
                yield Problem(path=("gateways", "gateway", name, key), message=message, also=also, severity="warning")


def _limits(gateway: GatewayTable, path: Path) -> Iterator[Problem]:
    for what, unit in (("loss", "%"), ("latency", "ms")):
        warn, down = getattr(gateway, f"{what}_warn"), getattr(gateway, f"{what}_down")
        if warn > down:
            message = f"warns at {warn:g} {unit}, after it is down at {down:g} {unit}: the first has to be lower"
            yield Problem(path=(*path, f"{what}_warn"), message=message, also=((*path, f"{what}_down"),))
    probes = gateway.loss_window / gateway.probe_interval
    if not PROBES_MIN <= probes <= PROBES_MAX:
        message = (
            f"{probes:g} probes fit into {gateway.loss_window:g} s, one every {gateway.probe_interval:g} s; "
            f"{PROBES_MIN} to {PROBES_MAX} are needed"
        )
        yield Problem(path=(*path, "loss_window"), message=message)
    if gateway.latency_down > gateway.reply_within * 1000:
        message = (
            f"can never be reached: a probe is lost after {gateway.reply_within:g} s; "
            f"{gateway.reply_within * 1000:g} is the most"
        )
        yield Problem(path=(*path, "latency_down"), message=message, also=((*path, "reply_within"),))


def _monitor(gateway: GatewayTable, known: Interfaces, path: Path) -> Iterator[Problem]:
    if not gateway.monitoring:
        if gateway.monitor != "":
            yield Problem(path=(*path, "monitor"), message="has no effect: monitoring = false", severity="warning")
        if gateway.demote:
            message = "has no effect: a gateway that is not monitored is down only with its link, which demotes anyway"
            yield Problem(path=(*path, "demote"), message=message, severity="warning")
        return
    address = gateway.monitored
    if address is None or gateway.monitor == "":
        return
    where = (*path, "monitor")
    families = sorted({each.version for each in gateway.addresses})
    if address.version not in families:
        message = f"{address} is IPv{address.version}, but the gateway has an IPv{families[0]} address only"
        yield Problem(path=where, message=message)
    if address.is_multicast or address.is_unspecified or address.is_loopback:
        yield Problem(path=where, message=f"{address} is not the address of a host that could answer")
    for interface in known.values():
        if interface.name != gateway.interface and any(address in each.network for each in interface.addresses):
            message = f"{address} is in a network of {interface.name}: probing it says nothing about this gateway"
            yield Problem(path=where, message=message)


def _on_the_link(
    gateway: GatewayTable, interface: LogicalInterface, virtual: Mapping[Address, Network], path: Path
) -> Iterator[Problem]:
    for key, address in _keys(gateway):
        where, version = (*path, key), address.version
        if address.is_multicast or address.is_unspecified or address.is_loopback:
            yield Problem(path=where, message=f"{address} is not the address of a router")
            continue
        if address in virtual or any(address == each.ip for each in interface.addresses):
            yield Problem(path=where, message=f"{address} is an address of this cluster; name the provider's router")
            continue
        if address.is_link_local:
            continue
        networks = [each.network for each in interface.addresses if each.version == version]
        networks += [each for each in virtual.values() if each.version == version]
        if not networks:
            message = f"{interface.name} has no IPv{version} address, neither its own nor a virtual one"
            yield Problem(path=where, message=message, also=(("interfaces", interface.name),))
        elif not any(address in each for each in networks):
            listed = ", ".join(dict.fromkeys(str(each) for each in networks))
            message = f"{address} is in no network of {interface.name} ({listed})"
            yield Problem(path=where, message=message, also=(("interfaces", interface.name),))


def _members(table: GatewaysConfig, group: GroupTable, path: Path) -> Iterator[Problem]:
    if not group.members:
        yield Problem(path=path, message='a group needs members = [{ gateway = "…" }]')
    first: dict[str, Path] = {}
    for index, member in enumerate(group.members):
        where = (*path, "members", index, "gateway")
        if member.gateway not in table.gateway:
            kind = "a group; groups have no groups in them" if member.gateway in table.group else "no gateway"
            there = ", ".join(table.gateway) or "none"
            yield Problem(path=where, message=f"{member.gateway} is {kind}; gateways are {there}")
        elif first.setdefault(member.gateway, where) != where:
            message = f"{member.gateway} is a member already; its share is its weight"
            yield Problem(path=where, message=message, also=(first[member.gateway],))
    members = [(each.gateway, table.families(each.gateway)) for each in group.members if each.gateway in table.gateway]
    for name, families in members[1:]:
        if families != members[0][1]:
            message = (
                f"{members[0][0]} carries {_words(members[0][1])}, {name} carries {_words(families)}: "
                "the members of a group have to stand in for each other; make a group for each family"
            )
            yield Problem(path=(*path, "members"), message=message)
            return


def _words(families: frozenset[int]) -> str:
    return " and ".join(f"IPv{version}" for version in sorted(families))
