"""Configurations and leases that several tests read."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_interface
from typing import Any

from appliance.config import Config, LogicalInterface, Model, VirtualHost
from appliance.config.model import NodeTable
from appliance_dhcp_failover.config import DhcpFailoverConfig, settings_of
from appliance_dhcp_failover.leases import Lease
from appliance_dhcp_failover.settings import PoolSettings

RANGE = "192.168.1.100-192.168.1.199"
LAN: Mapping[str, Any] = {"range": [RANGE], "failover_peer": "192.168.1.3"}
EXAMPLE: Mapping[str, Any] = {"sync_interface": "sync", "interface": {"lan": LAN}}
NOW = 1_800_000_000.0


class Network(Model):
    """Interfaces with virtual addresses, on paired nodes or not."""

    addresses: dict[str, list[str]] = {
        "lan": ["192.168.1.2/24", "2001:db8:1::2/64"],
        "guest": ["192.168.9.2/24"],
        "sync": ["172.16.1.2/24"],
        "bare": [],
    }
    virtual: dict[str, list[str]] = {"lan": ["2001:db8:1::1/64", "192.168.1.1/24"]}
    aliases: dict[str, list[str]] = {}
    paired: bool = True

    def logical_interfaces(self) -> Mapping[str, LogicalInterface]:
        """`ProvidesInterfaces`; devices end with a 0."""
        return {
            name: LogicalInterface(name=name, device=f"{name}0", addresses=tuple(map(ip_interface, texts)))
            for name, texts in self.addresses.items()
        }

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        """`ProvidesVirtualHosts`: one on each interface, with VHIDs from 1."""
        return {
            name: VirtualHost(
                name=name,
                interface=name,
                vhid=number,
                addresses=tuple(map(ip_interface, texts)),
                aliases=tuple(map(ip_interface, self.aliases.get(name, ()))),
            )
            for number, (name, texts) in enumerate(self.virtual.items(), 1)
        }

    def pairs_nodes(self) -> bool:
        """`ProvidesPairing`."""
        return self.paired


def config_of(values: Mapping[str, Any] = EXAMPLE, network: Model | None = None) -> Config:
    """A whole configuration."""
    tables: dict[str, Model] = {
        "interfaces": network or Network(),
        "dhcp_failover": DhcpFailoverConfig.model_validate(values),
    }
    return Config(tables, node=NodeTable(name="fw1"))


def lan(**values: Any) -> dict[str, Any]:
    """The example with other keys of its interface; ``None`` leaves one out."""
    merged = {key: value for key, value in {**LAN, **values}.items() if value is not None}
    return {**EXAMPLE, "interface": {"lan": merged}}


def pool_of(values: Mapping[str, Any] = EXAMPLE, network: Model | None = None) -> PoolSettings:
    """The settings of its first interface."""
    return settings_of(config_of(values, network)).pools[0]


def lease(last: int = 100, *, client: int = 1, age: float = 10.0, **values: Any) -> Lease:
    """A lease of 192.168.1.LAST for a client, which is that many seconds old at `NOW`."""
    return Lease(
        **{
            "address": f"192.168.1.{last}",
            "mac": f"02:00:00:00:00:{client:02x}",
            "valid_s": 3600,
            "begun": NOW - age,
            **values,
        }
    )
