"""The pydantic models of ``[gateways]`` and their translation into the service's settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from appliance.config import (
    Address,
    Config,
    Gateway,
    LogicalInterface,
    Model,
    ProvidesInterfaces,
    ProvidesVirtualHosts,
    VirtualHost,
)
from appliance.config.types import InterfaceName, Ip, Ipv4, Ipv6
from appliance_gateways.groups import Group, Member, Trigger
from appliance_gateways.monitor import Limits
from appliance_gateways.numbers import numbers
from appliance_gateways.settings import GatewaySettings, Settings, Target

GatewayName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,30}$")]
"""Lower-case letter first, then letters, digits and underscores, at most 31 characters: it names nftables chains."""
Percent = Annotated[float, Field(gt=0, le=100, strict=False)]
Milliseconds = Annotated[float, Field(gt=0, le=10_000, strict=False)]
Weight = Annotated[int, Field(ge=1, le=30)]
DEMOTE_MAX = 240
"""More than this means nothing in CARP (`appliance.plugin.Context.demoted`)."""
MEMBERS_MAX = 16


class GatewayTable(Model):
    """``[gateways.gateway.NAME]``: a router on a WAN."""

    interface: InterfaceName
    """Logical interface it is reached through."""
    address: Ipv4 | None = None
    """Its IPv4 address."""
    address6: Ipv6 | None = None
    """Its IPv6 address. One monitor judges both families; where they can fail separately, make two gateways."""
    monitoring: bool = True
    """Whether it is probed. One that is not counts as usable as long as its interface has a link."""
    monitor: Literal[""] | Ip = ""
    """Address that is probed through it, such as one of the provider's servers; the default is the gateway itself."""
    probe_interval: Annotated[float, Field(ge=0.05, le=60, strict=False)] = 0.5
    """Seconds between probes."""
    reply_within: Annotated[float, Field(ge=0.1, le=10, strict=False)] = 2.0
    """Seconds after which a probe without an answer is lost."""
    loss_window: Annotated[float, Field(ge=1, le=3600, strict=False)] = 60.0
    """Seconds over which loss and latency are averaged; 10 to 3600 probes have to fit."""
    loss_warn: Percent = 10.0
    """Percent of lost probes from which the gateway has the state ``loss``."""
    loss_down: Percent = 20.0
    """Percent of lost probes from which it is ``down``."""
    latency_warn: Milliseconds = 200.0
    """Average round trip in milliseconds from which it has the state ``latency``."""
    latency_down: Milliseconds = 500.0
    """Average round trip in milliseconds from which it is ``down``."""
    weight: Weight = 1
    """Its share in groups that do not say otherwise, 1 to 30."""
    demote: Annotated[int, Field(ge=0, le=DEMOTE_MAX)] = 0
    """Demotion of this node, 0 to 240, while the gateway is down and a peer that is demoted less could take over."""
    description: Annotated[str, Field(max_length=200)] = ""
    """For people."""

    @model_validator(mode="after")
    def _needs_an_address(self) -> Self:
        if self.address is None and self.address6 is None:
            raise ValueError('a gateway needs address = "…", address6 = "…", or both')
        return self

    @property
    def addresses(self) -> tuple[Address, ...]:
        """IPv4, then IPv6."""
        return tuple(each for each in (self.address, self.address6) if each is not None)

    @property
    def monitored(self) -> Address | None:
        """What is probed."""
        if not self.monitoring:
            return None
        return self.addresses[0] if self.monitor == "" else self.monitor

    @property
    def limits(self) -> Limits:
        """For the monitor."""
        return Limits(
            interval_s=self.probe_interval,
            reply_within_s=self.reply_within,
            window_s=self.loss_window,
            loss_warn=self.loss_warn,
            loss_down=self.loss_down,
            latency_warn_ms=self.latency_warn,
            latency_down_ms=self.latency_down,
        )


class MemberTable(Model):
    """``{ gateway = "wan_gw", tier = 1 }``: a gateway in a group."""

    gateway: GatewayName
    """Name of the gateway."""
    tier: Annotated[int, Field(ge=1, le=16)] = 1
    """The lowest tier with a usable member carries everything; members of one tier share."""
    weight: Weight | None = None
    """Its share among its tier, 1 to 30; the default is the gateway's."""


class GroupTable(Model):
    """``[gateways.group.NAME]``: gateways that share the load or stand in for each other."""

    members: Annotated[list[MemberTable], Field(max_length=MEMBERS_MAX)] = []
    """The gateways."""
    trigger: Trigger = "down"
    """What makes a member unusable: ``down``, or earlier ``loss``, ``latency`` or ``loss-or-latency``."""
    sticky: bool = False
    """Choose by the source address only, so that one host always leaves by one WAN."""
    description: Annotated[str, Field(max_length=200)] = ""
    """For people."""


class GatewaysConfig(Model):
    """``[gateways]``: monitored routers on the WANs, and groups of them."""

    default4: Literal[""] | GatewayName = ""
    """Gateway or group for IPv4 that no rule sends elsewhere; empty: the routes of ``[interfaces]``."""
    default6: Literal[""] | GatewayName = ""
    """The same for IPv6."""
    kill_states: bool = False
    """When a gateway goes down, end the connections that use it, so that they begin anew elsewhere."""
    gateway: dict[GatewayName, GatewayTable] = {}
    """Gateways by name."""
    group: dict[GatewayName, GroupTable] = {}
    """Groups by name; gateways and groups share their names."""

    def gateways(self) -> Mapping[str, Gateway]:
        """All gateways by name (`appliance.config.ProvidesGateways`)."""
        return {
            name: Gateway(name=name, interface=table.interface, addresses=table.addresses, mark=number)
            for name, table, number in self.numbered()
        }

    def policies(self) -> Mapping[str, str]:
        """The chain of each gateway and group (`appliance.config.ProvidesGateways`)."""
        return {name: f"gw_to_{name}" for name in [*self.gateways(), *self.group]}

    def numbered(self) -> Iterable[tuple[str, GatewayTable, int]]:
        """Gateways with their numbers, in file order; more than 255 have none (refused by verify)."""
        known = numbers(self.gateway)
        return [(name, table, known[name]) for name, table in self.gateway.items() if name in known]

    def groups(self) -> tuple[Group, ...]:
        """All groups, in file order, without members that do not exist (refused by verify)."""
        return tuple(
            Group(
                name=name,
                members=tuple(self._member(each) for each in table.members if each.gateway in self.gateway),
                trigger=table.trigger,
                sticky=table.sticky,
            )
            for name, table in self.group.items()
        )

    def _member(self, table: MemberTable) -> Member:
        weight = self.gateway[table.gateway].weight if table.weight is None else table.weight
        return Member(gateway=table.gateway, tier=table.tier, weight=weight)

    def families(self, name: str) -> frozenset[int]:
        """IP versions that a gateway or group can carry: of a group, those of all its members."""
        if name in self.gateway:
            return frozenset(each.version for each in self.gateway[name].addresses)
        members = [self.families(each.gateway) for each in self.group[name].members if each.gateway in self.gateway]
        return frozenset[int].intersection(*members) if members else frozenset()


def virtual_hosts(config: Config) -> tuple[VirtualHost, ...]:
    """All virtual hosts of the configuration."""
    found = config.all_providing(ProvidesVirtualHosts)
    return tuple(host for provider in found for host in provider.virtual_hosts().values())


def settings_of(config: Config) -> Settings:
    """The service's settings of a verified configuration."""
    table = config[GatewaysConfig]
    provider = config.providing(ProvidesInterfaces)
    known = provider.logical_interfaces() if provider else {}
    hosts = virtual_hosts(config)
    return Settings(
        gateways=tuple(
            GatewaySettings(
                name=name,
                interface=gateway.interface,
                device=known[gateway.interface].device,
                addresses=gateway.addresses,
                number=number,
                target=_target(gateway, known[gateway.interface], hosts),
                limits=gateway.limits,
                demote=gateway.demote,
            )
            for name, gateway, number in table.numbered()
            if gateway.interface in known
        ),
        groups=table.groups(),
        default4=table.default4,
        default6=table.default6,
        kill_states=table.kill_states,
    )


def _target(table: GatewayTable, interface: LogicalInterface, hosts: Iterable[VirtualHost]) -> Target | None:
    """What to probe and from where: the address next to the gateway, else the first, else a virtual one."""
    address = table.monitored
    if address is None:
        return None
    version = address.version
    own = [each for each in interface.addresses if each.version == version]
    gateway = next((each for each in table.addresses if each.version == version), None)
    near = [each for each in own if gateway is not None and gateway in each.network]
    if near or own:
        return Target(address=address, source=(near or own)[0].ip)
    for host in hosts:
        source = host.address(version)
        if host.interface == table.interface and source is not None:
            return Target(address=address, source=source, vhid=host.vhid)
    return Target(address=address, source=None)
