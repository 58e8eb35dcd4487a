"""What the service is told: plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address

PORT = 9640
PATH = "/metrics"
Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One own address of one chosen interface."""

    interface: str
    """Logical name."""
    device: str
    address: str
    readers: tuple[Network, ...]
    """Whose connections are answered."""

    def admits(self, source: str) -> bool:
        """Whether a client with this address may read."""
        address = ip_address(source.partition("%")[0])
        return any(address in network for network in self.readers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All places, which have the same port."""

    places: tuple[Place, ...] = ()
    port: int = PORT
