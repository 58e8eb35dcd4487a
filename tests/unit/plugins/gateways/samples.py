"""Configurations that several tests read."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface
from typing import Any

from appliance.config import Config, LogicalInterface, Model, VirtualHost
from appliance.config.model import NodeTable
from appliance_gateways.config import GatewaysConfig

WAN_GW: Mapping[str, Any] = {"interface": "wan", "address": "198.51.100.1"}
WAN2_GW: Mapping[str, Any] = {"interface": "wan2", "address": "203.0.113.1"}
SIX_GW: Mapping[str, Any] = {"interface": "wan", "address6": "2001:db8:ffff::1"}
TWO: Mapping[str, Any] = {"wan_gw": WAN_GW, "wan2_gw": WAN2_GW}
BALANCED: Mapping[str, Any] = {"members": [{"gateway": "wan_gw"}, {"gateway": "wan2_gw"}]}
EXAMPLE: Mapping[str, Any] = {
    "default4": "balanced",
    "default6": "six",
    "gateway": {**TWO, "six": SIX_GW},
    "group": {"balanced": BALANCED},
}


class Network(Model):
    """Interfaces, with default routes and virtual addresses as needed."""

    addresses: dict[str, list[str]] = {
        "wan": ["198.51.100.201/24", "2001:db8:ffff::201/64"],
        "wan2": ["203.0.113.12/24"],
        "lan": ["192.168.1.2/24", "2001:db8:1::2/64"],
        "bare": [],
    }
    defaults: dict[str, list[str]] = {}
    virtual: dict[str, list[str]] = {}

    def logical_interfaces(self) -> Mapping[str, LogicalInterface]:
        """`ProvidesInterfaces`; devices end with a 0."""
        return {
            name: LogicalInterface(
                name=name,
                device=f"{name}0",
                addresses=tuple(ip_interface(text) for text in texts),
                gateways=tuple(ip_address(text) for text in self.defaults.get(name, ())),
            )
            for name, texts in self.addresses.items()
        }

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        """`ProvidesVirtualHosts`: one on each interface, with VHIDs from 1."""
        return {
            name: VirtualHost(
                name=name, interface=name, vhid=number, addresses=tuple(ip_interface(text) for text in texts)
            )
            for number, (name, texts) in enumerate(self.virtual.items(), 1)
        }


def config_of(values: Mapping[str, Any] = EXAMPLE, network: Model | None = None, *, bare: bool = False) -> Config:
    """A whole configuration; `bare` has no interfaces at all."""
    tables: dict[str, Model] = {} if bare else {"interfaces": network or Network()}
    return Config(tables | {"gateways": GatewaysConfig.model_validate(values)}, node=NodeTable(name="fw1"))
