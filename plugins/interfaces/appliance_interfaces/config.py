"""The pydantic models of ``[interfaces]`` and their translation into the service's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, RootModel, model_validator

from appliance.config import LogicalInterface, Model, Scope
from appliance.config.types import Cidr, DeviceName, InterfaceName, Ip, Mtu, Network, VlanId
from appliance_interfaces.settings import Settings, VlanSettings, WantedInterface, WantedRoute

DEFAULT_ROUTE = "default"


class VlanTable(Model):
    """``vlan = { parent = "lan0", id = 20 }``: a device made by the appliance."""

    parent: Annotated[DeviceName, Scope.LOCAL]
    """Kernel device that carries the tagged frames."""
    id: VlanId
    """802.1Q tag, 1..4094."""


class RouteTable(Model):
    """``[[interfaces.NAME.routes]]``: one static route."""

    to: Literal["default"] | Network
    """A network such as ``"10.0.0.0/8"``, or ``"default"``."""
    via: Ip | None = None
    """Gateway; it has to be in a network of this interface. Without one the network is on the link itself."""
    metric: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Preference among routes to the same place, lower wins; the default is the kernel's."""

    @model_validator(mode="after")
    def _needs_a_family(self) -> Self:
        if self.to == DEFAULT_ROUTE and self.via is None:
            raise ValueError('a default route needs a gateway: via = "…"')
        return self


class InterfaceTable(Model):
    """``[interfaces.NAME]``: one logical interface."""

    device: Annotated[DeviceName | None, Scope.LOCAL] = None
    """Kernel device; for a VLAN the default is ``PARENT.ID``."""
    vlan: VlanTable | None = None
    """Make the device as a VLAN of another one."""
    addresses: Annotated[list[Cidr], Scope.LOCAL] = []
    """This node's own addresses with their prefix length. Virtual addresses belong into ``[carp]``."""
    mtu: Mtu | None = None
    """Largest packet in bytes; left as it is when not given."""
    routes: list[RouteTable] = []
    """Static routes through this interface."""
    foreign_addresses: Literal["keep", "remove"] = "keep"
    """What happens to addresses on the device that neither this table nor the appliance put there."""
    description: Annotated[str, Field(max_length=200)] = ""
    """For people."""

    @model_validator(mode="after")
    def _needs_a_device(self) -> Self:
        if self.device is None and self.vlan is None:
            raise ValueError('an interface needs device = "…", or vlan = { parent = "…", id = … }')
        return self

    @property
    def device_name(self) -> str:
        """The kernel device that carries it."""
        if self.device is not None:
            return self.device
        assert self.vlan is not None
        return f"{self.vlan.parent}.{self.vlan.id}"


class InterfacesConfig(Model, RootModel[dict[InterfaceName, InterfaceTable]]):
    """``[interfaces]``: the logical interfaces by name; every other table speaks of these names."""

    # A root model has no keys of its own that could be forbidden.
    model_config = ConfigDict(extra=None)

    root: dict[InterfaceName, InterfaceTable]
    """Logical interfaces by name."""

    def logical_interfaces(self) -> Mapping[str, LogicalInterface]:
        """All of them by logical name (`appliance.config.ProvidesInterfaces`)."""
        return {
            name: LogicalInterface(
                name=name,
                device=table.device_name,
                parent=table.vlan.parent if table.vlan else "",
                addresses=tuple(table.addresses),
                mtu=table.mtu,
                gateways=tuple(route.via for route in table.routes if route.to == DEFAULT_ROUTE and route.via),
                routes=tuple(route.to for route in table.routes if not isinstance(route.to, str)),
            )
            for name, table in self.root.items()
        }


def settings_of(config: InterfacesConfig) -> Settings:
    """What the service has to see to, as plain values."""
    return Settings(interfaces=tuple(_wanted(name, table) for name, table in config.root.items()))


def _wanted(name: str, table: InterfaceTable) -> WantedInterface:
    networks = {address.network for address in table.addresses}
    return WantedInterface(
        name=name,
        device=table.device_name,
        vlan=VlanSettings(parent=table.vlan.parent, id=table.vlan.id) if table.vlan else None,
        addresses=tuple(table.addresses),
        mtu=table.mtu,
        routes=tuple(_route(route, has_address=_has_family(route, networks)) for route in table.routes),
        remove_foreign=table.foreign_addresses == "remove",
        description=table.description,
    )


def _has_family(route: RouteTable, networks: set[Network]) -> bool:
    return any(route.via is not None and network.version == route.via.version for network in networks)


def _route(table: RouteTable, *, has_address: bool) -> WantedRoute:
    # An interface may have a virtual address only: its gateway is then reachable without a network saying so.
    return WantedRoute.of(to=table.to, via=table.via, metric=table.metric, onlink=not has_address)
