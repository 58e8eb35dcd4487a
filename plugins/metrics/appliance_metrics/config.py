"""The pydantic model of ``[metrics]`` and its translation into the service's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from appliance.config import Config, LogicalInterface, Model, ProvidesInterfaces, Traffic, neighbours
from appliance.config.types import InterfaceName, Network, Port
from appliance_metrics.settings import PORT, Place, Settings

INTERFACES_MAX = 16
READERS_MAX = 32


class MetricsConfig(Model):
    """``[metrics]``: numbers for Prometheus. Without the table nobody listens."""

    listen: Annotated[list[InterfaceName], Field(min_length=1, max_length=INTERFACES_MAX)]
    """Logical interfaces. The node listens on its own addresses there, never on a virtual one."""
    port: Port = PORT
    """TCP port."""
    allow: Annotated[list[Network], Field(max_length=READERS_MAX)] = []
    """Networks whose hosts may read; empty: those of the interface itself."""

    def readers(self, interface: LogicalInterface | None) -> tuple[Network, ...]:
        """Who may read at this interface."""
        return tuple(self.allow) or neighbours(interface)

    def own_traffic(self, interfaces: Mapping[str, LogicalInterface]) -> tuple[Traffic, ...]:
        """Connections of those who may read (`appliance.config.ProvidesTraffic`)."""
        return tuple(
            Traffic(
                name="metrics",
                interface=name,
                protocol="tcp",
                port=self.port,
                sources=self.readers(interfaces.get(name)),
                description="metrics for Prometheus",
            )
            for name in self.listen
        )


def settings_of(config: Config) -> Settings:
    """The settings of the service of a verified configuration."""
    table = config[MetricsConfig]
    provider = config.providing(ProvidesInterfaces)
    known = provider.logical_interfaces() if provider else {}
    return Settings(
        places=tuple(
            Place(
                interface=name,
                device=known[name].device,
                address=str(address.ip),
                readers=table.readers(known[name]),
            )
            for name in table.listen
            if name in known
            for address in known[name].addresses
        ),
        port=table.port,
    )
