"""The pydantic model of ``[pfsync]`` and its translation into the service's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from appliance.config import (
    ClusterLink,
    Config,
    LogicalInterface,
    Model,
    ProvidesInterfaces,
    Scope,
    Traffic,
    neighbours,
)
from appliance.config.types import InterfaceName, Ip
from appliance_pfsync.settings import MTU_MAX, PfsyncSettings

PEERS_MAX = 7
"""A cluster of eight nodes; every state is sent to each of them."""


class PfsyncConfig(Model):
    """``[pfsync]``: every connection state on every node, before it is needed."""

    interface: InterfaceName
    """Logical interface between the nodes that carries the states: the sync interface."""
    peers: Annotated[list[Ip], Field(max_length=PEERS_MAX), Scope.MIRRORED] = []
    """Unicast addresses of the other nodes on that interface; empty means multicast (224.0.0.240 or ff12::f0)."""
    version: Literal["auto", "native", "1301", "1400", "1500", "openbsd"] = "auto"
    """``auto`` is ``native``, the form between our own nodes. BSD peers: ``1301`` (FreeBSD 13), ``1400`` (14), ``1500``
    (15), ``openbsd``. All nodes of a cluster need the same dialect: native, FreeBSD's or OpenBSD's."""
    key_file: Annotated[str | None, Field(pattern=r"^/"), Scope.LOCAL] = None
    """File with the cluster's secrets, one ``name = 64 hex digits`` a line, the first one sends. Made by
    ``appliance pfsync key FILE``; the same file on every node. Unset: the keys come from the pairing of the nodes."""
    plain: bool = False
    """Replicate without authentication and encryption, as BSD does. Only for a cable between the nodes."""
    defer: bool = False
    """Hold the first packet of a new flow until a peer has its state, 20 ms at most. For asymmetric paths."""
    maxupd: Annotated[int, Field(ge=0, le=255)] = 128
    """BSD dialects: changes of one TCP state that are collected before an update is sent, 0..255."""
    max_states: Annotated[int | None, Field(ge=1024, le=16_777_216)] = None
    """Entries the kernel's table may hold (net.netfilter.nf_conntrack_max); unset leaves the kernel's own limit."""
    bulk_timeout: Annotated[float, Field(ge=5, le=3600, strict=False)] = 60.0
    """Seconds without progress after which a bulk update is given up and the node no longer demoted, with an alarm."""
    audit: Annotated[float, Field(ge=5, le=86400, strict=False)] = 30.0
    """Seconds between two comparisons of the tables of the nodes."""

    def cluster_link(self) -> ClusterLink:
        """The sync interface and the other nodes on it (`appliance.config.ProvidesClusterLink`)."""
        return ClusterLink(interface=self.interface, peers=tuple(self.peers))

    def own_traffic(self, interfaces: Mapping[str, LogicalInterface]) -> tuple[Traffic, ...]:
        """States of the other nodes (`appliance.config.ProvidesTraffic`)."""
        return (
            Traffic(
                name="pfsync",
                interface=self.interface,
                protocol="pfsync",
                # To the group, and what is meant for one node to its own address.
                sources=tuple(self.peers) or neighbours(interfaces.get(self.interface)),
                description="connection states of the other nodes",
            ),
        )


def settings_of(config: Config) -> PfsyncSettings:
    """The service's settings of a verified configuration."""
    table = config[PfsyncConfig]
    provider = config.providing(ProvidesInterfaces)
    known = provider.logical_interfaces() if provider else {}
    interface = known[table.interface]
    return PfsyncSettings(
        node=config.node.name,
        interface=table.interface,
        device=interface.device,
        family=_family(table, interface),
        peers=tuple(table.peers),
        version="native" if table.version == "auto" else table.version,
        key_file=None if table.plain else table.key_file,
        is_paired=not table.plain and table.key_file is None,
        defer=table.defer,
        maxupd=table.maxupd,
        max_states=table.max_states,
        bulk_timeout_s=table.bulk_timeout,
        audit_s=table.audit,
        mtu=min(interface.mtu or MTU_MAX, MTU_MAX),
    )


def _family(table: PfsyncConfig, interface: LogicalInterface) -> Literal[4, 6]:
    if table.peers:
        return 4 if table.peers[0].version == 4 else 6
    return 4 if any(each.version == 4 for each in interface.addresses) else 6
