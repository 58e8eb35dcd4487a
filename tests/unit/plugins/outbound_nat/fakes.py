"""The example cluster as other tables would describe it, and configurations with a table of outbound NAT in it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

from appliance.config import (
    Address,
    Alias,
    ClusterLink,
    Config,
    Gateway,
    LogicalInterface,
    Model,
    VirtualHost,
)
from appliance.config.model import NodeTable
from appliance_outbound_nat.config import OutboundNatConfig
from appliance_outbound_nat.scene import Scene, scene_of


class Cluster(Model):
    """Everything that rules may name."""

    interfaces: dict[str, list[str]] = {
        "wan": ["198.51.100.201/24", "2001:db8:ffff::201/64"],
        "lan": ["192.168.1.2/24", "2001:db8:1::2/64"],
        "sync": ["172.16.1.2/24"],
    }
    vips: dict[str, list[str]] = {
        "wan": ["wan", "198.51.100.200/24", "2001:db8:ffff::200/64"],
        "lan": ["lan", "192.168.1.1/24", "2001:db8:1::1/64"],
    }
    """Interface, then addresses."""
    stacked: dict[str, list[str]] = {}
    """Aliases of virtual hosts."""
    names: dict[str, list[str]] = {
        "web": ["192.168.1.10"],
        "mail": ["192.168.1.20", "192.168.1.21"],
        "six": ["2001:db8:1::10"],
        "empty": [],
    }
    """Aliases of addresses."""
    ports: dict[str, list[int]] = {"web_ports": [80, 443]}
    routers: dict[str, str] = {"wan": "198.51.100.1"}
    """Of default routes, by interface."""
    gateway_interfaces: list[str] = []

    def logical_interfaces(self) -> Mapping[str, LogicalInterface]:
        return {
            name: LogicalInterface(
                name=name,
                device=f"{name}0",
                addresses=tuple(ip_interface(text) for text in texts),
                gateways=(ip_address(self.routers[name]),) if name in self.routers else (),
            )
            for name, texts in self.interfaces.items()
        }

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        return {
            name: VirtualHost(
                name=name,
                interface=interface,
                vhid=number,
                addresses=tuple(ip_interface(text) for text in texts),
                aliases=tuple(ip_interface(text) for text in self.stacked.get(name, [])),
            )
            for number, (name, (interface, *texts)) in enumerate(self.vips.items(), 1)
        }

    def aliases(self) -> Mapping[str, Alias]:
        found = {
            name: Alias(name=name, kind="address", addresses=tuple(_entry(text) for text in texts))
            for name, texts in self.names.items()
        }
        ports = {
            name: Alias(name=name, kind="port", ports=tuple((each, each) for each in numbers))
            for name, numbers in self.ports.items()
        }
        return found | ports

    def gateways(self) -> Mapping[str, Gateway]:
        return {
            f"{name}_gw": Gateway(name=f"{name}_gw", interface=name, addresses=(), mark=number)
            for number, name in enumerate(self.gateway_interfaces, 1)
        }

    def policies(self) -> Mapping[str, str]:
        return {}

    def cluster_link(self) -> ClusterLink | None:
        return ClusterLink(interface="sync")


def _entry(text: str) -> Any:
    if "-" in text:
        first, last = text.split("-")
        ends: tuple[Address, Address] = (ip_address(first), ip_address(last))
        return ends
    return ip_network(text)


MULTI_WAN: dict[str, Any] = {
    "interfaces": {
        "wan": ["198.51.100.201/24"],
        "wan2": ["203.0.113.12/24"],
        "lan": ["192.168.1.2/24"],
        "dmz": ["192.168.2.2/24"],
        "sync": ["172.16.1.2/24"],
    },
    "vips": {
        "wan": ["wan", "198.51.100.200/24"],
        "wan2": ["wan2", "203.0.113.10/24"],
        "wan2nat": ["wan2", "203.0.113.11/24"],
        "lan": ["lan", "192.168.1.1/24"],
        "dmz": ["dmz", "192.168.2.1/24"],
    },
    "routers": {"wan": "198.51.100.1", "wan2": "203.0.113.1"},
}
"""Two WANs and a DMZ."""


def config(toml: str = "", **cluster: Any) -> Config:
    """A configuration; `toml` is what stands below ``[outbound_nat]``, with tables named without it."""
    table = OutboundNatConfig.model_validate(tomllib.loads(toml))
    tables: dict[str, Model] = {"interfaces": Cluster.model_validate(cluster), "outbound_nat": table}
    return Config(tables, node=NodeTable(name="fw1"))


def scene(**cluster: Any) -> Scene:
    """What the cluster looks like to the plugin."""
    return scene_of(config("", **cluster))
