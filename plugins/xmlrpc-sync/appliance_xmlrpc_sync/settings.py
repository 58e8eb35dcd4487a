"""What the services of this plugin are told: plain frozen values that are cheap to compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

PRODUCT = "ha-appliance"
"""What `appliance.host_firmware_version` calls this software."""
PORT = 8443
PAIRING_OFFSET = 1
"""The port for pairing is this much above the one for synchronization."""
PREFIX = "appliance."
"""Of the names of all methods."""

Privilege = Literal["sync", "viewer"]
OnDrift = Literal["overwrite", "refuse"]
Policy = Literal["auto", "manual"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user that other nodes present at this one."""

    name: str
    hashed: str | None = field(repr=False)
    """As `appliance.identity.passwords` makes it; ``None``: no password is right."""
    privilege: Privilege = "sync"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """Everything the service "listener" needs."""

    interface: str
    """Logical name of the sync interface."""
    device: str
    addresses: tuple[str, ...]
    """Own addresses there, without prefix length; it listens on each."""
    port: int = PORT
    peers: tuple[str, ...] = ()
    """Whom this node itself sends to: none of these may send to it."""
    accounts: tuple[Account, ...] = ()
    """Empty: the pinned certificate alone suffices."""
    on_drift: OnDrift = "overwrite"
    primary: str | None = None
    """Name of the only node that may send to this one; ``None``: whoever has sent what is here."""
    username: str = "admin"
    """As whom this node asks others when it leads a rotation of the pairing secret."""
    password_file: str | None = None

    @property
    def pairing_port(self) -> int:
        """Where a node is met for the first time, while somebody listens for it."""
        return self.port + PAIRING_OFFSET


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderSettings:
    """Everything the service "sender" needs."""

    interface: str
    device: str
    addresses: tuple[str, ...]
    """Own addresses there, without prefix length: a peer that sends to one of these makes a circle."""
    port: int = PORT
    """Of the peers: the same on all nodes."""
    peers: tuple[str, ...] = ()
    """Addresses of the nodes to send to; the rank of one is its place, from 1 on."""
    username: str = "admin"
    password_file: str | None = None
    """``None``: no second factor is sent."""
    policy: Policy = "auto"
    off: tuple[str, ...] = ()
    """Sections that are not sent."""
    on_drift: OnDrift = "overwrite"
    confirm_s: float = 10.0
    large: str = ""
    """What is to be said about the size of the configuration; empty while it is not large."""
