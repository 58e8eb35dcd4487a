"""The pydantic model of ``[ssh]`` and its translation into the service's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from appliance.config import (
    Config,
    LogicalInterface,
    Model,
    ProvidesInterfaces,
    ProvidesUsers,
    Traffic,
    User,
    neighbours,
)
from appliance.config.types import InterfaceName, Network, Port
from appliance_ssh.settings import IDLE_S, PORT, Account, Place, Settings

INTERFACES_MAX = 16
SOURCES_MAX = 32
IDLE_MAX_S = 86400
ROLES = ("operator", "viewer")
"""Who logs in; the role ``sync`` is for programs of other nodes."""
ROOT = "root"


class SshConfig(Model):
    """``[ssh]``: the console over SSH, for users with keys. Without the table nobody listens."""

    listen: Annotated[list[InterfaceName], Field(min_length=1, max_length=INTERFACES_MAX)]
    """Logical interfaces. The node listens on its own addresses there, never on a virtual one."""
    port: Port = PORT
    """TCP port."""
    allow: Annotated[list[Network], Field(max_length=SOURCES_MAX)] = []
    """Networks whose hosts may connect; empty: those of the interface itself."""
    idle: Annotated[int, Field(ge=0, le=IDLE_MAX_S)] = IDLE_S
    """Seconds without a word in either direction after which a session ends; 0: never."""

    def sources(self, interface: LogicalInterface | None) -> tuple[Network, ...]:
        """Who may connect at this interface."""
        return tuple(self.allow) or neighbours(interface)

    def own_traffic(self, interfaces: Mapping[str, LogicalInterface]) -> tuple[Traffic, ...]:
        """Connections to own addresses (`appliance.config.ProvidesTraffic`)."""
        return tuple(
            Traffic(
                name="ssh",
                interface=name,
                protocol="tcp",
                port=self.port,
                sources=self.sources(interfaces[name]),
                destinations=tuple(each.ip for each in interfaces[name].addresses),
                description="the console over SSH",
                is_way_in=True,
            )
            for name in self.listen
            if name in interfaces and interfaces[name].addresses
        )


def settings_of(config: Config) -> Settings:
    """The settings of the service of a verified configuration."""
    table = config[SshConfig]
    provider = config.providing(ProvidesInterfaces)
    known = provider.logical_interfaces() if provider else {}
    return Settings(
        places=tuple(
            Place(
                interface=name,
                device=known[name].device,
                address=str(address.ip),
                port=table.port,
                sources=table.sources(known[name]),
            )
            for name in table.listen
            if name in known
            for address in known[name].addresses
        ),
        accounts=tuple(
            Account(name=user.name, keys=user.ssh_keys) for user in users_of(config).values() if may_log_in(user)
        ),
        idle_s=table.idle,
    )


def users_of(config: Config) -> dict[str, User]:
    """All users by name."""
    return {name: user for table in config.all_providing(ProvidesUsers) for name, user in table.users().items()}


def may_log_in(user: User) -> bool:
    """Whether it is somebody who logs in, and can."""
    return user.name != ROOT and user.role in ROLES and not user.disabled and bool(user.ssh_keys)
