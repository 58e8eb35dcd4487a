"""What the gateways service is told: plain frozen values, cheap to compare."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from appliance_gateways.groups import Group
from appliance_gateways.monitor import Limits

Address = IPv4Address | IPv6Address
Cidr = IPv4Interface | IPv6Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is probed, and from which address."""

    address: Address
    source: Address | None
    """Nothing: no address of this family is known here, so it cannot be probed."""
    vhid: int | None = None
    """The source is a virtual address of this VHID: only its MASTER can probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """One gateway."""

    name: str
    interface: str
    """Logical interface."""
    device: str
    addresses: tuple[Address, ...]
    number: int
    target: Target | None
    """Nothing: it is not monitored."""
    limits: Limits = field(default_factory=Limits)
    demote: int = 0

    def address(self, version: int) -> Address | None:
        """Its address of this family."""
        return next((each for each in self.addresses if each.version == version), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the service needs."""

    gateways: tuple[GatewaySettings, ...] = ()
    groups: tuple[Group, ...] = ()
    default4: str = ""
    """Gateway or group; empty: the default route is not ours."""
    default6: str = ""
    kill_states: bool = False

    def gateway(self, name: str) -> GatewaySettings | None:
        """The gateway of this name."""
        return next((each for each in self.gateways if each.name == name), None)

    def group(self, name: str) -> Group | None:
        """The group of this name."""
        return next((each for each in self.groups if each.name == name), None)

    def default(self, version: int) -> str:
        """What carries traffic that no rule sends elsewhere."""
        return self.default4 if version == 4 else self.default6
