"""What the service is told: plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

PORT = 22
IDLE_S = 3600
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One own address of one chosen interface."""

    interface: str
    """Logical name."""
    device: str
    address: str
    port: int = PORT
    sources: tuple[Network, ...]
    """Whose connections are answered."""

    def admits(self, source: str) -> bool:
        """Whether a client with this address may connect."""
        address = ip_address(source.partition("%")[0])
        return any(address in network for network in self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Somebody who may log in."""

    name: str
    keys: tuple[str, ...]
    """``TYPE BASE64`` each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where, who, and how long."""

    places: tuple[Place, ...] = ()
    accounts: tuple[Account, ...] = ()
    idle_s: int = IDLE_S
    """A session in which nothing is said for so long ends; 0: never."""
