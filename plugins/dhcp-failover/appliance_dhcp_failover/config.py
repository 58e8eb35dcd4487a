"""The pydantic models of ``[dhcp_failover]`` and their translation into the service's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Interface
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from appliance.config import (
    ClusterLink,
    Config,
    LogicalInterface,
    Model,
    ProvidesInterfaces,
    ProvidesPairing,
    ProvidesVirtualHosts,
    Scope,
    Traffic,
    VirtualHost,
    neighbours,
)
from appliance.config.types import InterfaceName, Ipv4
from appliance_dhcp_failover import options as encoding
from appliance_dhcp_failover.settings import PORT, ChannelSettings, Option, PoolSettings, Settings, StaticLease

RANGES_MAX, STATIC_MAX, OPTIONS_MAX, ADDRESSES_MAX = 16, 4096, 32, 4
LEASE_MIN_S, LEASE_MAX_S = 60, 30 * 86400
AUTO: Final = "auto"
_MAC = r"^[0-9a-f]{2}(:[0-9a-f]{2}){5}$"
_CLIENT_ID = r"^[0-9a-f]{2}(:[0-9a-f]{2}){1,254}$"


def _is_range(text: str) -> str:
    ends(text)
    return text


def ends(text: str) -> tuple[IPv4Address, IPv4Address]:
    """First and last address of ``192.168.1.100-192.168.1.199``.

    Raises:
        ValueError: It is no range.
    """
    first, dash, last = (part.strip() for part in text.partition("-"))
    try:
        begin, end = IPv4Address(first), IPv4Address(last if dash else first)
    except ValueError:
        raise ValueError(f'a range is two addresses, "192.168.1.100-192.168.1.199", not {text!r}') from None
    if begin > end:
        raise ValueError(f"the range {text} ends before it begins")
    return begin, end


Range = Annotated[str, AfterValidator(_is_range)]
HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$")]
DomainName = Annotated[str, Field(pattern=r"^([A-Za-z0-9-]{1,63}\.)*[A-Za-z0-9-]{1,63}$", max_length=253)]


class OptionTable(Model):
    """``{ code = 150, type = "address", value = "192.168.1.5" }``: any other DHCP option."""

    code: Annotated[int, Field(ge=1, le=254)]
    """Number of the option (IANA's list "BOOTP Vendor Extensions and DHCP Options")."""
    type: encoding.Kind = "text"
    """How `value` is written: ``text``, ``address``, ``number8``, ``number16``, ``number32`` or ``hex``; addresses and
    numbers may be several, separated by commas."""
    value: Annotated[str, Field(max_length=1024)]
    """The value."""

    @model_validator(mode="after")
    def _has_a_value(self) -> Self:
        encoding.encode(self.type, self.value)
        if self.code in encoding.RESERVED:
            raise ValueError(f"option {self.code} belongs to the protocol itself and cannot be set")
        return self


class StaticTable(Model):
    """``[[dhcp_failover.interface.NAME.static]]``: a client that always gets the same address."""

    address: Ipv4
    """Its address: in the subnet, in no range."""
    mac: Annotated[str, Field(pattern=_MAC)] | None = None
    """Its MAC, in lower case with colons."""
    client_id: Annotated[str, Field(pattern=_CLIENT_ID)] | None = None
    """Its client identifier (option 61), hexadecimal with colons; instead of `mac`."""
    hostname: HostName | None = None
    """The name it is given."""
    description: Annotated[str, Field(max_length=200)] = ""
    """For people."""

    @model_validator(mode="after")
    def _is_known_by_one_thing(self) -> Self:
        if (self.mac is None) == (self.client_id is None):
            raise ValueError('a client is known by mac = "…" or by client_id = "…", one of them')
        return self


class InterfaceTable(Model):
    """``[dhcp_failover.interface.NAME]``: clients on this logical interface get addresses."""

    range: Annotated[list[Range], Field(max_length=RANGES_MAX)] = []
    """Addresses for clients, ``"192.168.1.100-192.168.1.199"``, all in one subnet of the interface."""
    gateway: Literal["auto", "none"] | Ipv4 = AUTO
    """The router that clients use: ``auto`` is the virtual address of the interface, ``none`` tells them none."""
    dns: Annotated[list[Literal["auto"] | Ipv4], Field(max_length=ADDRESSES_MAX)] = [AUTO]
    """Name servers that clients use; ``auto`` is the virtual address of the interface."""
    lease_time: Annotated[int, Field(ge=LEASE_MIN_S, le=LEASE_MAX_S)] = 7200
    """Seconds a lease lasts when the client does not ask for another time."""
    max_lease_time: Annotated[int, Field(ge=LEASE_MIN_S, le=LEASE_MAX_S)] = 86400
    """Seconds a client can ask for."""
    domain: DomainName | None = None
    """Domain that clients search names in."""
    ntp: Annotated[list[Ipv4], Field(max_length=ADDRESSES_MAX)] = []
    """Time servers."""
    tftp_server: Annotated[str, Field(max_length=255, pattern=r"^[\x21-\x7e]+$")] | None = None
    """Name or address of the server that clients boot from (option 66, and the next server when it is an address)."""
    boot_file: Annotated[str, Field(max_length=127, pattern=r"^[\x21-\x7e]+$")] | None = None
    """File that clients boot (option 67)."""
    options: Annotated[list[OptionTable], Field(max_length=OPTIONS_MAX)] = []
    """Further options."""
    static: Annotated[list[StaticTable], Field(max_length=STATIC_MAX)] = []
    """Clients that always get the same address."""
    deny_unknown: bool = False
    """Give addresses to clients of `static` only."""
    failover_peer: Annotated[Ipv4 | None, Scope.MIRRORED] = None
    """Address of the other node in this subnet. With it every lease is on both nodes; without, this node is alone."""


class DhcpFailoverConfig(Model):
    """``[dhcp_failover]``: addresses for clients, whoever is MASTER."""

    sync_interface: InterfaceName | None = None
    """Logical interface between the nodes; every interface with a `failover_peer` needs it."""
    port: Annotated[int, Field(ge=1, le=65535)] = PORT
    """TCP port on the sync interface through which the nodes tell each other their leases."""
    interface: dict[InterfaceName, InterfaceTable] = {}
    """What is served, by logical interface."""

    def cluster_link(self) -> ClusterLink | None:
        """The sync interface (`appliance.config.ProvidesClusterLink`)."""
        return ClusterLink(interface=self.sync_interface) if self.sync_interface is not None else None

    def own_traffic(self, interfaces: Mapping[str, LogicalInterface]) -> tuple[Traffic, ...]:
        """Questions of clients, and leases of the other nodes (`appliance.config.ProvidesTraffic`)."""
        clients = tuple(
            Traffic(name="dhcp", interface=name, protocol="udp", port=67, description="DHCP clients")
            for name in self.interface
        )
        if self.sync_interface is None:
            return clients
        leases = Traffic(
            name="dhcp-leases",
            interface=self.sync_interface,
            protocol="tcp",
            port=self.port,
            sources=neighbours(interfaces.get(self.sync_interface)),
            description="DHCP leases of the other nodes",
        )
        return (*clients, leases)


def logical_interfaces(config: Config) -> Mapping[str, LogicalInterface]:
    """All logical interfaces of the configuration."""
    provider = config.providing(ProvidesInterfaces)
    return provider.logical_interfaces() if provider else {}


def virtual_hosts(config: Config, interface: str) -> Iterator[VirtualHost]:
    """The virtual hosts of an interface."""
    for provider in config.all_providing(ProvidesVirtualHosts):
        yield from (host for host in provider.virtual_hosts().values() if host.interface == interface)


def virtual_address(config: Config, interface: str) -> tuple[IPv4Interface, VirtualHost] | None:
    """The first virtual IPv4 address of an interface."""
    for host in virtual_hosts(config, interface):
        for each in host.addresses:
            if isinstance(each, IPv4Interface):
                return each, host
    return None


def home(config: Config, interface: LogicalInterface, table: InterfaceTable) -> IPv4Interface | None:
    """The address with the subnet that is served: that of the ranges, else of the virtual address, else the first."""
    virtual = virtual_address(config, interface.name)
    known = [each for each in interface.addresses if isinstance(each, IPv4Interface)]
    known = [*([virtual[0]] if virtual else []), *known]
    wanted = [ends(text)[0] for text in table.range] + [each.address for each in table.static]
    for each in known:
        if wanted and wanted[0] in each.network:
            return each
    return known[0] if known else None


def is_paired(config: Config) -> bool:
    """Whether a plugin pairs the nodes, so that they can know each other."""
    return any(provider.pairs_nodes() for provider in config.all_providing(ProvidesPairing))


def settings_of(config: Config) -> Settings:
    """The service's settings of a verified configuration."""
    table = config[DhcpFailoverConfig]
    known = logical_interfaces(config)
    pools = tuple(
        pool
        for name, each in table.interface.items()
        if name in known and (pool := _pool(config, known[name], each)) is not None
    )
    return Settings(node=config.node.name, pools=pools, channel=_channel(config, known, table, pools))


def _channel(
    config: Config,
    known: Mapping[str, LogicalInterface],
    table: DhcpFailoverConfig,
    pools: tuple[PoolSettings, ...],
) -> ChannelSettings | None:
    link = known.get(table.sync_interface or "")
    if link is None or not is_paired(config) or not any(pool.peer for pool in pools):
        return None
    return ChannelSettings(
        device=link.device, addresses=tuple(str(each.ip) for each in link.addresses), port=table.port
    )


def _pool(config: Config, interface: LogicalInterface, table: InterfaceTable) -> PoolSettings | None:
    place = home(config, interface, table)
    if place is None:
        return None
    virtual = virtual_address(config, interface.name)
    host = virtual[1] if virtual is not None and virtual[0].network == place.network else None
    address = virtual[0].ip if virtual is not None and host is not None else place.ip
    return PoolSettings(
        interface=interface.name,
        device=host.device(interface) if host is not None else interface.device,
        address=address,
        vhid=host.vhid if host is not None else None,
        subnet=place.network,
        ranges=tuple(ends(text) for text in table.range),
        options=tuple(_options(table, address)),
        next_server=_next_server(table),
        boot_file=table.boot_file or "",
        lease_s=table.lease_time,
        max_lease_s=max(table.max_lease_time, table.lease_time),
        static=tuple(
            StaticLease(
                address=each.address,
                mac=each.mac or "",
                client_id=each.client_id or "",
                hostname=each.hostname or "",
            )
            for each in table.static
        ),
        deny_unknown=table.deny_unknown,
        peer=table.failover_peer,
    )


def _options(table: InterfaceTable, address: IPv4Address) -> Iterator[Option]:
    """Everything that clients are told, in the order of the codes' tables."""
    if table.gateway != "none":
        router = address if table.gateway == AUTO else table.gateway
        assert isinstance(router, IPv4Address)
        yield Option(code=encoding.ROUTERS, data=router.packed)
    servers = [each if isinstance(each, IPv4Address) else address for each in table.dns]
    if servers:
        yield Option(code=encoding.DNS, data=encoding.addresses(servers))
    if table.domain is not None:
        yield Option(code=encoding.DOMAIN, data=table.domain.encode())
    if table.ntp:
        yield Option(code=encoding.NTP, data=encoding.addresses(list(table.ntp)))
    if table.tftp_server is not None:
        yield Option(code=encoding.TFTP, data=table.tftp_server.encode())
    if table.boot_file is not None:
        yield Option(code=encoding.BOOT_FILE, data=table.boot_file.encode())
    for each in table.options:
        yield Option(code=each.code, data=encoding.encode(each.type, each.value))


def _next_server(table: InterfaceTable) -> IPv4Address | None:
    try:
        return IPv4Address(table.tftp_server or "")
    except ValueError:
        return None
