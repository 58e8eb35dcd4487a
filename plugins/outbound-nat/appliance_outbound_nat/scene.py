"""What the rest of a configuration says that translation depends on: interfaces, virtual hosts, aliases, WANs. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, collapse_addresses

from appliance.config import (
    Address,
    Alias,
    Config,
    LogicalInterface,
    ProvidesAliases,
    ProvidesClusterLink,
    ProvidesGateways,
    ProvidesInterfaces,
    ProvidesVirtualHosts,
    VirtualHost,
)

Network = IPv4Network | IPv6Network
Segment = tuple[str, Network]
"""An interface and one of its networks."""
Version = int
"""4 or 6."""
BOTH = frozenset({4, 6})
FAMILY = {4: "ip", 6: "ip6"}
"""nftables' word for each family."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """Everything by its name. Without slots: what thousands of rules ask for is worked out once."""

    interfaces: Mapping[str, LogicalInterface]
    vips: Mapping[str, VirtualHost]
    aliases: Mapping[str, Alias]
    alias_families: Mapping[str, frozenset[Version]]
    """Families of the addresses of each alias; of an empty one both."""
    wans: tuple[str, ...]
    """Interfaces with a gateway, in the order of the file."""
    inside: tuple[str, ...]
    """All others but the sync interface."""

    @cached_property
    def own(self) -> frozenset[Address]:
        """This node's own addresses."""
        return frozenset(each.ip for interface in self.interfaces.values() for each in interface.addresses)

    @cached_property
    def held(self) -> frozenset[Address]:
        """All addresses of the cluster that this configuration knows: own and virtual ones."""
        return frozenset(each for addresses in self._addresses.values() for each in addresses)

    @cached_property
    def _segments(self) -> Mapping[tuple[Version, int], Mapping[int, Segment]]:
        """Segments by family and length of the prefix, longest first, then by the network's address."""
        found: dict[tuple[Version, int], dict[int, Segment]] = {}
        for name, networks in self._networks.items():
            for each in networks:
                same = found.setdefault((each.version, each.prefixlen), {})
                same.setdefault(int(each.network_address), (name, each))
        return dict(sorted(found.items(), reverse=True))

    @cached_property
    def _spans(self) -> Mapping[tuple[str, Version], tuple[list[int], list[int]]]:
        """Networks of each interface and family as ascending first and last addresses, without overlaps."""
        spans = {}
        for name, networks in self._networks.items():
            for version in (4, 6):
                merged = collapsed(each for each in networks if each.version == version)
                firsts = [int(each.network_address) for each in merged]
                spans[name, version] = (firsts, [int(each.broadcast_address) for each in merged])
        return spans

    @cached_property
    def _sorted_addresses(self) -> Mapping[tuple[str, Version], list[int]]:
        return {
            (name, version): sorted({int(each) for each in addresses if each.version == version})
            for name, addresses in self._addresses.items()
            for version in (4, 6)
        }

    @cached_property
    def _hosts(self) -> Mapping[str, tuple[VirtualHost, ...]]:
        found: dict[str, list[VirtualHost]] = {name: [] for name in self.interfaces}
        for host in self.vips.values():
            found[host.interface].append(host)
        return {name: tuple(hosts) for name, hosts in found.items()}

    @cached_property
    def _addresses(self) -> Mapping[str, tuple[Address, ...]]:
        return {
            name: tuple(dict.fromkeys([each.ip for each in (*interface.addresses, *_virtual(self._hosts[name]))]))
            for name, interface in self.interfaces.items()
        }

    @cached_property
    def _networks(self) -> Mapping[str, tuple[Network, ...]]:
        return {
            name: tuple(
                network
                for network in dict.fromkeys(
                    each.network for each in (*interface.addresses, *_virtual(self._hosts[name]))
                )
                if network.prefixlen < network.max_prefixlen and not network.is_link_local
            )
            for name, interface in self.interfaces.items()
        }

    def hosts_on(self, interface: str) -> tuple[VirtualHost, ...]:
        """The virtual hosts of an interface, in the order of the file."""
        return self._hosts[interface]

    def addresses(self, interface: str) -> tuple[Address, ...]:
        """Own and virtual addresses of an interface."""
        return self._addresses[interface]

    def networks(self, interface: str) -> tuple[Network, ...]:
        """Networks behind an interface, with those that only virtual hosts have; no single addresses."""
        return self._networks[interface]

    def is_answered(self, interface: str, first: Address, last: Address) -> bool:
        """Whether all addresses of a range are held on an interface, or are of no network there and so routed."""
        start, end, key = int(first), int(last), (interface, first.version)
        firsts, lasts = self._spans[key]
        place = bisect_right(firsts, end) - 1
        if place < 0 or lasts[place] < start:
            return True
        held = self._sorted_addresses[key]
        return bisect_right(held, end) - bisect_left(held, start) == end - start + 1

    def segment_of(self, address: Address) -> Segment | None:
        """The smallest network here that an address is in, with its interface; ``None`` behind a router."""
        for (version, prefixlen), segments in self._segments.items():
            if version == address.version:
                kept = int(address) >> (address.max_prefixlen - prefixlen) << (address.max_prefixlen - prefixlen)
                if kept in segments:
                    return segments[kept]
        return None

    def own_address(self, interface: str, version: Version) -> Address | None:
        """This node's own first address there."""
        found = self.interfaces[interface].addresses
        return next((each.ip for each in found if each.version == version and not each.ip.is_link_local), None)

    def shared_host(self, interface: str, version: Version) -> VirtualHost | None:
        """The virtual host that stands for an interface in this family: the first one there."""
        return next((host for host in self.hosts_on(interface) if vip_address(host, version) is not None), None)

    def shared_address(self, interface: str, version: Version, near: Address | None = None) -> Address | None:
        """An address that moves in a takeover, in the network of `near` if there is one; else the node's own."""
        if near is not None:
            for host in self.hosts_on(interface):
                for each in (*host.addresses, *host.aliases):
                    if each.version == version and near in each.network:
                        return each.ip
        first = self.shared_host(interface, version)
        shared = vip_address(first, version) if first is not None else None
        return shared or self.own_address(interface, version)

    def devices(self, interface: str) -> tuple[str, ...]:
        """Devices at which packets of an interface come in: its own and those of its virtual hosts."""
        parent = self.interfaces[interface]
        return tuple(dict.fromkeys([parent.device, *(host.device(parent) for host in self.hosts_on(interface))]))


def scene_of(config: Config) -> Scene:
    """The scene of a configuration; it may have nothing of all this."""
    provider = config.providing(ProvidesInterfaces)
    interfaces = dict(provider.logical_interfaces()) if provider else {}
    vips = {name: host for each in config.all_providing(ProvidesVirtualHosts) for name, host in _named_hosts(each)}
    aliases = {name: a for each in config.all_providing(ProvidesAliases) for name, a in each.aliases().items()}
    links = [each.cluster_link() for each in config.all_providing(ProvidesClusterLink)]
    sync = {link.interface for link in links if link is not None}
    gateways = [g for each in config.all_providing(ProvidesGateways) for g in each.gateways().values()]
    outside = {gateway.interface for gateway in gateways}
    outside |= {name for name, interface in interfaces.items() if interface.gateways}
    return Scene(
        interfaces=interfaces,
        vips={name: host for name, host in vips.items() if host.interface in interfaces},
        aliases=aliases,
        alias_families={name: _families(alias) for name, alias in aliases.items()},
        wans=tuple(name for name in interfaces if name in outside),
        inside=tuple(name for name in interfaces if name not in outside and name not in sync),
    )


def collapsed(networks: Iterable[Network]) -> list[Network]:
    """The same addresses as networks that do not overlap, in order, IPv4 first."""
    listed = list(networks)
    v4 = collapse_addresses(each for each in listed if isinstance(each, IPv4Network))
    v6 = collapse_addresses(each for each in listed if isinstance(each, IPv6Network))
    return [*v4, *v6]


def _virtual(hosts: Iterable[VirtualHost]) -> list[IPv4Interface | IPv6Interface]:
    return [each for host in hosts for each in (*host.addresses, *host.aliases)]


def _families(alias: Alias) -> frozenset[Version]:
    return frozenset(each[0].version if isinstance(each, tuple) else each.version for each in alias.addresses) or BOTH


def _named_hosts(provider: ProvidesVirtualHosts) -> list[tuple[str, VirtualHost]]:
    return list(provider.virtual_hosts().items())


def vip_address(host: VirtualHost, version: Version) -> Address | None:
    """The address of a virtual host that others see: not a link-local one."""
    return next((each.ip for each in host.addresses if each.version == version and not each.ip.is_link_local), None)
