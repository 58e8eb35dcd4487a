"""What the DHCP service is told: plain frozen values, cheap to compare and to send to its process."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

PORT = 8445
"""TCP port on the sync interface through which the nodes tell each other their leases."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticLease:
    """A client that always gets the same address."""

    address: IPv4Address
    mac: str = ""
    """``02:00:00:00:00:01``; empty: it is known by its client identifier."""
    client_id: str = ""
    """Hexadecimal digits with colons."""
    hostname: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """A DHCP option as it is on the wire."""

    code: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSettings:
    """One interface that gets addresses."""

    interface: str
    """Logical interface."""
    device: str
    """Where questions are heard and answered: that of the virtual MAC, or the interface's own."""
    address: IPv4Address
    """The server's own address there; clients renew at it, so a virtual one is answered by any MASTER."""
    vhid: int | None
    """Only the MASTER of this VHID answers; nothing: the interface has no virtual address, this node answers."""
    subnet: IPv4Network
    ranges: tuple[tuple[IPv4Address, IPv4Address], ...]
    options: tuple[Option, ...] = ()
    next_server: IPv4Address | None = None
    boot_file: str = ""
    lease_s: int = 7200
    max_lease_s: int = 86400
    static: tuple[StaticLease, ...] = ()
    deny_unknown: bool = False
    peer: IPv4Address | None = None
    """Address of the other node in this subnet; nothing: leases stay on this node."""

    @property
    def size(self) -> int:
        """Addresses in all ranges."""
        return sum(int(last) - int(first) + 1 for first, last in self.ranges)

    def includes(self, address: IPv4Address) -> bool:
        """Whether a range has this address."""
        return any(first <= address <= last for first, last in self.ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSettings:
    """Where the nodes tell each other their leases."""

    device: str
    addresses: tuple[str, ...]
    """Own addresses there; the service listens on each."""
    port: int = PORT


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the service needs."""

    node: str
    pools: tuple[PoolSettings, ...] = ()
    channel: ChannelSettings | None = None
    """Nothing: no pool is replicated."""
