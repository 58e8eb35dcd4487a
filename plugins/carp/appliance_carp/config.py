"""The pydantic models of ``[carp]`` and their translation into the service's settings."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from appliance.config import (
    ClusterLink,
    Config,
    LogicalInterface,
    Model,
    ProvidesInterfaces,
    Scope,
    Traffic,
    VirtualHost,
    neighbours,
)
from appliance.config.types import Cidr, InterfaceName, Ip, Vhid
from appliance_carp.settings import CarpSettings, PortSettings, VipSettings
from appliance_carp.wire import GROUP_V4, GROUP_V6

PASSWORD_MAX = 19
"""FreeBSD and ucarp keep 19 significant bytes; longer passwords would silently differ between nodes."""


def _fits_every_peer(secret: SecretStr) -> SecretStr:
    raw = secret.get_secret_value().encode()
    if not 1 <= len(raw) <= PASSWORD_MAX:
        raise ValueError(f"a password has 1 to {PASSWORD_MAX} bytes (FreeBSD and ucarp keep no more)")
    if b"\0" in raw:
        raise ValueError("a password cannot contain a NUL byte")
    return secret


Password = Annotated[SecretStr, AfterValidator(_fits_every_peer)]


class VipTable(Model):
    """``[[carp.vip]]``: one virtual host."""

    name: InterfaceName
    """Name of the virtual host, unique; other tables refer to it as ``vip:NAME``."""
    interface: InterfaceName
    """Logical interface it lives on."""
    vhid: Vhid
    """Virtual host id 1..255, unique on its broadcast domain; also the last byte of the virtual MAC."""
    addresses: Annotated[list[Cidr], Field(min_length=1)]
    """Virtual addresses with the prefix length of the interface's network; IPv4, IPv6 or both."""
    aliases: list[Cidr] = []
    """Further addresses that follow this virtual host, also from other networks; no heartbeat of their own."""
    password: Password | None = None
    """Password of this VHID, 1..19 bytes; the default is the table's."""
    advbase: Annotated[int, Field(ge=0, le=255)] = 1
    """Seconds between heartbeats, 1..255; 0 only with ``profile = "custom"``."""
    advskew: Annotated[int, Field(ge=0, le=254), Scope.MIRRORED] = 0
    """Handicap in 1/256 s, 0..254: the node with the lowest is preferred (primary 0, secondary 100)."""
    dead_ratio: Annotated[int, Field(ge=3, le=10)] = 3
    """Missed heartbeats before a master is declared dead; other than 3 only with ``profile = "custom"``."""
    peers: Annotated[list[Ip], Scope.MIRRORED] = []
    """Unicast addresses of the other nodes; empty means multicast."""


class CarpConfig(Model):
    """``[carp]``: virtual addresses that move between nodes."""

    password: Password | None = None
    """Default password for all VHIDs, 1..19 bytes; also authenticates the messages between our own nodes. Unset on
    paired nodes: VHIDs without a password of their own get one that is derived from the pairing."""
    preempt: bool = True
    """Whether the preferred node takes its addresses back when it returns."""
    preempt_delay: Annotated[float, Field(ge=0, le=3600, strict=False)] = 0.0
    """Seconds a returning node waits before it preempts."""
    profile: Literal["book", "fast", "custom"] = "book"
    """``book``: 1 s heartbeats. ``fast``: 100 ms between nodes that both speak it. ``custom``: as written per VIP."""
    sync_interface: InterfaceName | None = None
    """Logical interface of the direct link between the nodes; a dead peer is found in milliseconds with it."""
    hello: Literal["all", "sync"] = "all"
    """Where nodes tell each other how they are: on every CARP interface too, or on the sync interface alone."""
    on_absent_peer: Literal["wait", "force"] = "wait"
    """Whether a change of addresses, passwords or VHIDs waits for a node that is away, or takes place without it."""
    realtime: bool = True
    """Run the heartbeat process with real-time priority, so that load cannot delay it."""
    vip: Annotated[list[VipTable], Field(max_length=1024)] = []
    """The virtual hosts."""

    def secret_of(self, vip: VipTable) -> str:
        """The configured password of a virtual host; empty when the pairing gives it, or there is none."""
        secret = vip.password or self.password
        return secret.get_secret_value() if secret else ""

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        """All of them by name (`appliance.config.ProvidesVirtualHosts`)."""
        return {
            vip.name: VirtualHost(
                name=vip.name,
                interface=vip.interface,
                vhid=vip.vhid,
                addresses=tuple(vip.addresses),
                aliases=tuple(vip.aliases),
            )
            for vip in self.vip
        }

    def cluster_link(self) -> ClusterLink | None:
        """The direct link between the nodes (`appliance.config.ProvidesClusterLink`)."""
        return ClusterLink(interface=self.sync_interface) if self.sync_interface else None

    def own_traffic(self, interfaces: Mapping[str, LogicalInterface]) -> tuple[Traffic, ...]:
        """Heartbeats of the other nodes (`appliance.config.ProvidesTraffic`)."""
        ports = dict.fromkeys([*(vip.interface for vip in self.vip), *filter(None, [self.sync_interface])])
        return tuple(each for name in ports for each in self._heartbeats(name, interfaces.get(name)))

    def _heartbeats(self, name: str, interface: LogicalInterface | None) -> Iterator[Traffic]:
        peers = dict.fromkeys(peer for vip in self.vip if vip.interface == name for peer in vip.peers)
        networks = neighbours(interface)
        if networks:
            groups = [ip_address(GROUP_V4), ip_address(GROUP_V6)]
            families = {each.version for each in networks}
            yield Traffic(
                name="carp",
                interface=name,
                protocol="carp",
                sources=networks,
                destinations=tuple(group for group in groups if group.version in families),
                description="heartbeats of the other nodes",
            )
        if peers:
            yield Traffic(
                name="carp",
                interface=name,
                protocol="carp",
                sources=tuple(peers),
                description="heartbeats of the other nodes by unicast",
            )


def settings_of(config: Config) -> CarpSettings:
    """The service's settings of a verified configuration."""
    table = config[CarpConfig]
    provider = config.providing(ProvidesInterfaces)
    known = provider.logical_interfaces() if provider else {}
    used = dict.fromkeys(vip.interface for vip in table.vip)

    def port(name: str) -> PortSettings:
        return PortSettings(interface=name, device=known[name].device, addresses=known[name].addresses)

    secrets = [table.secret_of(vip) for vip in table.vip]
    return CarpSettings(
        node=config.node.name,
        vips=tuple(_vip(table, vip, known[vip.interface].addresses) for vip in table.vip),
        ports=tuple(port(name) for name in used),
        sync=port(table.sync_interface) if table.sync_interface else None,
        password=table.password.get_secret_value() if table.password else min(filter(None, secrets), default=""),
        preempt=table.preempt,
        preempt_delay_s=table.preempt_delay,
        profile=table.profile,
        hello=table.hello,
        on_absent_peer=table.on_absent_peer,
        realtime=table.realtime,
    )


def _vip(table: CarpConfig, vip: VipTable, own: Iterable[Cidr]) -> VipSettings:
    return VipSettings(
        name=vip.name,
        interface=vip.interface,
        vhid=vip.vhid,
        addresses=tuple(vip.addresses),
        aliases=tuple(vip.aliases),
        password=table.secret_of(vip),
        advbase=vip.advbase,
        advskew=vip.advskew,
        dead_ratio=vip.dead_ratio,
        fast=table.profile == "fast",
        peers=tuple(vip.peers),
        own_networks=tuple(dict.fromkeys(each.network for each in own)),
    )
