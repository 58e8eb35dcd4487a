"""How tables speak of each other's things without knowing whose they are: capabilities of a configuration.

A table's model offers a capability by having the method of its protocol; whoever needs it asks
``config.providing(…)`` or ``config.all_providing(…)``. See also `appliance.config.interfaces`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Literal, Protocol, runtime_checkable

from appliance.config.interfaces import LogicalInterface
from appliance.net.virtualmac import virtual_device

Address = IPv4Address | IPv6Address
AddressRange = IPv4Network | IPv6Network | tuple[Address, Address]
"""A network, or the first and the last address of a range."""
LINK_LOCAL = IPv6Network("fe80::/10")
PortRange = tuple[int, int]
"""The first and the last port, which may be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualHost:
    """Addresses that move between nodes together."""

    name: str
    """Other tables refer to it as ``vip:NAME``."""
    interface: str
    """Logical interface."""
    vhid: int
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    aliases: tuple[IPv4Interface | IPv6Interface, ...] = ()

    def device(self, parent: LogicalInterface) -> str:
        """Device at which packets to it come in; they leave through the parent's."""
        return virtual_device(parent.device, self.vhid)

    def address(self, version: int) -> Address | None:
        """Its first address of this family."""
        return next((each.ip for each in self.addresses if each.version == version), None)


@runtime_checkable
class ProvidesVirtualHosts(Protocol):
    """A table that declares virtual hosts."""

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        """All of them by name."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A name for many addresses or ports, with all aliases that it names resolved."""

    name: str
    kind: Literal["address", "port"]
    addresses: tuple[AddressRange, ...] = ()
    ports: tuple[PortRange, ...] = ()

    def set_name(self, version: int | None = None) -> str:
        """The nftables set that holds its IPv4 or IPv6 addresses, or its ports; all three always exist as needed."""
        return f"alias_{self.name}_{'port' if self.kind == 'port' else f'v{version}'}"


@runtime_checkable
class ProvidesAliases(Protocol):
    """A table that declares aliases. Its plugin's fragment declares their sets."""

    def aliases(self) -> Mapping[str, Alias]:
        """All of them by name; those that are wrong are left out (its own `verify` reports them)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A router on a WAN."""

    name: str
    interface: str
    """Logical interface."""
    addresses: tuple[Address, ...]
    """At most one of each family."""
    mark: int
    """Its number, 1 to 255: the low byte of the mark of connections that use it, the same on all nodes."""


@runtime_checkable
class ProvidesGateways(Protocol):
    """A table that declares gateways and groups of them."""

    def gateways(self) -> Mapping[str, Gateway]:
        """All gateways by name."""
        ...

    def policies(self) -> Mapping[str, str]:
        """Chain of table ``inet appliance`` that sends a new connection to a gateway or group, by its name.

        Rules of hook POLICY ``goto`` it; it leaves alone what is for local networks.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterLink:
    """The network between the nodes."""

    interface: str
    """Logical name of the sync interface."""
    peers: tuple[Address, ...] = ()
    """The other nodes there; empty: not known by address."""


@runtime_checkable
class ProvidesClusterLink(Protocol):
    """A table that names the sync interface."""

    def cluster_link(self) -> ClusterLink | None:
        """It, or ``None`` when the table names none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Packets that a plugin's own service needs to receive; a firewall passes them by an automatic rule."""

    name: str
    """What for: ``carp``, ``pfsync``. An operator may replace all rules of one name by own ones."""
    interface: str
    """Logical interface at which they come in."""
    protocol: str
    """``carp``, ``pfsync``, ``tcp``, ``udp``, ``icmp`` (echo requests), or a number."""
    port: int | None = None
    sources: tuple[Address | IPv4Network | IPv6Network, ...] = ()
    """Of one family or both; empty: of any address."""
    destinations: tuple[Address, ...] = ()
    description: str = ""
    is_way_in: bool = False
    """Operators or other nodes come in by it and change this one: what ends it has to be confirmed."""


def neighbours(interface: LogicalInterface | None) -> tuple[IPv4Network | IPv6Network, ...]:
    """Sources of what a direct neighbour sends: the networks of an interface, and link-local ones when it has IPv6."""
    addresses = interface.addresses if interface is not None else ()
    networks = dict.fromkeys(each.network for each in addresses)
    if any(each.version == 6 for each in networks):
        networks[LINK_LOCAL] = None
    return tuple(networks)


@runtime_checkable
class ProvidesTraffic(Protocol):
    """A table whose plugin has to receive something."""

    def own_traffic(self, interfaces: Mapping[str, LogicalInterface]) -> tuple[Traffic, ...]:
        """All of it; `interfaces` are the configured ones by name, perhaps not all that the table names."""
        ...


@runtime_checkable
class NamesSections(Protocol):
    """A table that names sections of the synchronized configuration; the core checks that there are such."""

    def named_sections(self) -> Mapping[tuple[str | int, ...], str]:
        """Names by the path at which they stand."""
        ...


@runtime_checkable
class ProvidesPairing(Protocol):
    """A table whose plugin pairs the nodes and answers `appliance.events.GetKeys`."""

    def pairs_nodes(self) -> bool:
        """Whether it does."""
        ...
