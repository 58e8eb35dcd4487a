"""How a plugin learns which logical interfaces a configuration has, without knowing who declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class LogicalInterface:
    """A logical interface as configured."""

    name: str
    """Logical name: ``wan``, ``lan``, ``sync``."""
    device: str
    """Kernel device that carries it (for a VLAN: the VLAN's own device)."""
    parent: str = ""
    """Of a VLAN: the kernel device that it is made on."""
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    mtu: int | None = None
    """As configured; `None` leaves the device's own."""
    gateways: tuple[IPv4Address | IPv6Address, ...] = ()
    """Of the default routes that are configured on it."""
    routes: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that further static routes reach through it."""


@runtime_checkable
class ProvidesInterfaces(Protocol):
    """A table that declares logical interfaces."""

    def logical_interfaces(self) -> Mapping[str, LogicalInterface]:
        """All of them by logical name."""
        ...
