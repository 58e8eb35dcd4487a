"""``[upgrade]``: whether and where the nodes of a cluster may upgrade each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from appliance.config import (
    ClusterLink,
    Config,
    LogicalInterface,
    Model,
    ProvidesInterfaces,
    ProvidesPairing,
    Traffic,
    neighbours,
)
from appliance.config.types import InterfaceName
from appliance.errors import Problem
from appliance_images.cluster.settings import PATIENCE_S, PORT, Settings


class UpgradeConfig(Model):
    """``[upgrade]``: this node and the one it is paired with may upgrade each other."""

    interface: InterfaceName
    """Logical interface between the nodes."""
    port: Annotated[int, Field(ge=1, le=65535)] = PORT
    """TCP port on it, for paired nodes only."""
    patience: Annotated[int, Field(ge=60, le=3600)] = int(PATIENCE_S)
    """Seconds for a node to restart and prove healthy; after that the old system is brought back."""

    def cluster_link(self) -> ClusterLink:
        """The sync interface (`appliance.config.ProvidesClusterLink`)."""
        return ClusterLink(interface=self.interface)

    def own_traffic(self, interfaces: Mapping[str, LogicalInterface]) -> tuple[Traffic, ...]:
        """Calls of the other node (`appliance.config.ProvidesTraffic`)."""
        traffic = Traffic(
            name="upgrade",
            interface=self.interface,
            protocol="tcp",
            port=self.port,
            sources=neighbours(interfaces.get(self.interface)),
            description="upgrade of the cluster",
        )
        return (traffic,)


def verify(config: Config) -> list[Problem]:
    """What is wrong with the table in the light of the whole configuration."""
    table = config[UpgradeConfig]
    link = _interfaces(config).get(table.interface)
    if link is None:
        there = ", ".join(sorted(_interfaces(config))) or "none"
        message = f"there is no interface {table.interface!r}; [interfaces] has {there}"
        return [Problem(path=("upgrade", "interface"), message=message)]
    if not link.addresses:
        message = f"{table.interface} has no address of its own, where the other node could call"
        return [Problem(path=("upgrade", "interface"), message=message)]
    if not any(provider.pairs_nodes() for provider in config.all_providing(ProvidesPairing)):
        message = "nothing pairs the nodes, so they could not know each other: add [xmlrpc_sync]"
        return [Problem(path=("upgrade",), message=message)]
    return []


def settings_of(config: Config) -> Settings:
    """The service's settings of a verified configuration."""
    table = config[UpgradeConfig]
    link = _interfaces(config)[table.interface]
    return Settings(
        device=link.device,
        addresses=tuple(str(each.ip) for each in link.addresses),
        port=table.port,
        patience_s=float(table.patience),
    )


def _interfaces(config: Config) -> Mapping[str, LogicalInterface]:
    provider = config.providing(ProvidesInterfaces)
    return provider.logical_interfaces() if provider else {}
