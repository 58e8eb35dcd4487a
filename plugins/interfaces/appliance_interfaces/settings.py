"""What the interfaces service has to see to, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network, ip_network
from typing import Self

Cidr = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

IPV6_METRIC = 1024
"""What the kernel makes of an IPv6 route without a metric (IP6_RT_PRIO_USER)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VlanSettings:
    """A VLAN device to make."""

    parent: str
    id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedRoute:
    """A static route; its device is the interface's."""

    to: Network
    via: Address | None
    metric: int
    """As the kernel will report it."""
    onlink: bool

    @classmethod
    def of(cls, *, to: str | Network, via: Address | None, metric: int | None, onlink: bool) -> Self:
        """With the default network of the gateway's family, and the kernel's default metric."""
        if isinstance(to, str):
            to = ip_network("::/0" if via is not None and via.version == 6 else "0.0.0.0/0")
        default = IPV6_METRIC if to.version == 6 else 0
        is_link_local = isinstance(via, IPv6Address) and via.is_link_local
        return cls(
            to=to,
            via=via,
            metric=default if metric is None else metric,
            onlink=onlink and via is not None and not is_link_local,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedInterface:
    """One logical interface."""

    name: str
    device: str
    vlan: VlanSettings | None = None
    addresses: tuple[Cidr, ...] = ()
    mtu: int | None = None
    routes: tuple[WantedRoute, ...] = ()
    remove_foreign: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of them, in file order."""

    interfaces: tuple[WantedInterface, ...] = ()
