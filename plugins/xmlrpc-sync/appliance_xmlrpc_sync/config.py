"""The pydantic models of ``[xmlrpc_sync]`` and their translation into the services' settings."""

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
    ProvidesUsers,
    Scope,
    Traffic,
    neighbours,
)
from appliance.config.types import InterfaceName, Ip
from appliance_xmlrpc_sync.settings import PAIRING_OFFSET, PORT, Account, ListenerSettings, SenderSettings

PEERS_MAX = 7
"""A cluster of eight nodes."""
SECTIONS_MAX = 64
LARGE = 4_000_000
"""Characters of a configuration from which on it is said that it is large."""
SECTIONS_BYTES_MAX = 12 << 20
"""Of all sections of a push: they travel as base64 in a body of at most `appliance.rpc.BODY_MAX`."""
UserName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._@-]{0,63}$")]
"""No colon: HTTP separates user and password by it."""
NodeName = Annotated[str, Field(min_length=1, max_length=63)]
SectionName = Annotated[str, Field(min_length=1, max_length=64)]


class XmlrpcSyncConfig(Model):
    """``[xmlrpc_sync]``: the shared configuration of the primary, on all nodes."""

    interface: InterfaceName
    """Logical interface between the nodes. The node listens on its own addresses there and nowhere else."""
    port: Annotated[int, Field(ge=1, le=65534)] = PORT
    """TCP port, the same on all nodes. Pairing uses the next one while somebody listens for it."""
    peers: Annotated[list[Ip], Field(max_length=PEERS_MAX), Scope.LOCAL] = []
    """The nodes that this one sends to. Empty on every secondary: two nodes that send to each other are a circle."""
    primary: Annotated[NodeName | None, Scope.LOCAL] = None
    """On a secondary: name of the only node whose configuration it takes. Unset: the one that sent first, while that is
    paired, so that no other node of the cluster can take its place unnoticed."""
    username: Annotated[UserName, Scope.LOCAL] = "admin"
    """User at the peers, in their ``[users]``."""
    password_file: Annotated[str | None, Field(pattern=r"^/"), Scope.LOCAL] = None
    """File with its password, mode 0600. Unset: only the certificate is shown."""
    policy: Literal["auto", "manual"] = "auto"
    """``auto`` sends after every commit; ``manual`` only at ``sync now``."""
    off: Annotated[list[SectionName], Field(max_length=SECTIONS_MAX)] = []
    """Names of sections that are not synchronized."""
    on_drift: Literal["overwrite", "refuse"] = "overwrite"
    """What happens to a change that was made on a secondary: it is overwritten and a copy of it kept, or the
    synchronization of its section is refused."""
    confirm: Annotated[float, Field(ge=2, le=120, strict=False)] = 10.0
    """Seconds a peer waits for the confirmation over a new connection before it takes a change back."""

    def cluster_link(self) -> ClusterLink:
        """The sync interface and the nodes this one sends to (`appliance.config.ProvidesClusterLink`)."""
        return ClusterLink(interface=self.interface, peers=tuple(self.peers))

    def named_sections(self) -> dict[tuple[str | int, ...], str]:
        """Sections that are off (`appliance.config.NamesSections`)."""
        return {("xmlrpc_sync", "off", place): name for place, name in enumerate(self.off)}

    def pairs_nodes(self) -> bool:
        """Keys of the cluster come from here (`appliance.config.ProvidesPairing`)."""
        return True

    def own_traffic(self, interfaces: Mapping[str, LogicalInterface]) -> tuple[Traffic, ...]:
        """Calls of the other nodes (`appliance.config.ProvidesTraffic`)."""
        sources = neighbours(interfaces.get(self.interface))
        return (
            Traffic(
                name="sync",
                interface=self.interface,
                protocol="tcp",
                port=self.port,
                sources=sources,
                description="configuration of the other nodes",
                is_way_in=True,
            ),
            Traffic(
                name="sync",
                interface=self.interface,
                protocol="tcp",
                port=self.port + PAIRING_OFFSET,
                sources=sources,
                description="pairing; nobody listens unless an operator does",
            ),
        )


def listener_settings(config: Config) -> ListenerSettings:
    """The settings of the service "listener" of a verified configuration."""
    table = config[XmlrpcSyncConfig]
    interface = _interface(config)
    return ListenerSettings(
        interface=table.interface,
        device=interface.device,
        addresses=_own(interface),
        port=table.port,
        peers=tuple(str(peer) for peer in table.peers),
        accounts=accounts_of(config),
        on_drift=table.on_drift,
        primary=table.primary,
        username=table.username,
        password_file=table.password_file,
    )


def accounts_of(config: Config) -> tuple[Account, ...]:
    """The users that other nodes have to present here, as a second factor: own ones with a password.

    Not those that are synchronized: a push that brings another password could not be confirmed with the old one, and
    would restart the listener that has received it. A disabled one stays as an account that no password opens: when
    the only one is disabled, nodes without a password must not get in.
    """
    users = [user for table in config.all_providing(ProvidesUsers) for user in table.users().values()]
    return tuple(
        Account(
            name=user.name,
            hashed=None if user.disabled else user.hash,
            privilege="sync" if user.may_change else "viewer",
        )
        for user in users
        if user.own and user.hash is not None
    )


def sender_settings(config: Config) -> SenderSettings:
    """The settings of the service "sender" of a verified configuration."""
    table = config[XmlrpcSyncConfig]
    interface = _interface(config)
    return SenderSettings(
        interface=table.interface,
        device=interface.device,
        addresses=_own(interface),
        port=table.port,
        peers=tuple(str(peer) for peer in table.peers),
        username=table.username,
        password_file=table.password_file,
        policy=table.policy,
        off=tuple(table.off),
        on_drift=table.on_drift,
        confirm_s=table.confirm,
        large=size_warning(config),
    )


def size_warning(config: Config) -> str:
    """What is to be said about the size of the configuration; empty while it is not large."""
    size = len(config.text)
    if size <= LARGE:
        return ""
    return (
        f"the configuration has {size / 1e6:.1f} MB: a push takes seconds, and above {SECTIONS_BYTES_MAX / 1e6:.0f} MB "
        "the peers refuse it; make large aliases smaller, or turn sections off (`xmlrpc_sync.off`)"
    )


def _interface(config: Config) -> LogicalInterface:
    provider = config.providing(ProvidesInterfaces)
    known = provider.logical_interfaces() if provider else {}
    return known[config[XmlrpcSyncConfig].interface]


def _own(interface: LogicalInterface) -> tuple[str, ...]:
    return tuple(str(address.ip) for address in interface.addresses)
