"""The example cluster on paper, and a kernel that only evaluates compiled steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface
from typing import Any

from appliance.config import (
    Address,
    ClusterLink,
    Config,
    Gateway,
    LogicalInterface,
    Model,
    Traffic,
    VirtualHost,
)
from appliance.config.model import NodeTable
from appliance_firewall.aliases import Range, Ranges
from appliance_firewall.config import FirewallConfig
from appliance_firewall.matching import Condition, Field, Step
from appliance_firewall.merge import Lookup
from appliance_firewall.resolve import World, world_of

INTERFACES = {
    "wan": ("wan0", ["198.51.100.201/24", "2001:db8:ffff::201/64"], ["198.51.100.1"]),
    "lan": ("lan0", ["192.168.1.2/24", "2001:db8:1::2/64", "fe80::2/64"], []),
    "dmz": ("dmz0", ["192.168.2.2/24"], []),
    "sync": ("sync0", ["172.16.1.2/24"], []),
}
HOSTS = {
    "wan": VirtualHost(
        name="wan",
        interface="wan",
        vhid=200,
        addresses=(ip_interface("198.51.100.200/24"), ip_interface("2001:db8:ffff::200/64")),
    ),
    "lan": VirtualHost(
        name="lan",
        interface="lan",
        vhid=1,
        addresses=(ip_interface("192.168.1.1/24"), ip_interface("2001:db8:1::1/64")),
        aliases=(ip_interface("192.168.9.1/24"),),
    ),
}


class Cluster(Model):
    """Stands for all plugins that declare something: the firewall knows only the protocols."""

    names: tuple[str, ...] = tuple(INTERFACES)
    peers: tuple[str, ...] = ()
    sync: str = "sync"
    traffic: tuple[str, ...] = ("carp", "pfsync")

    def logical_interfaces(self) -> Mapping[str, LogicalInterface]:
        return {
            name: LogicalInterface(
                name=name,
                device=INTERFACES[name][0],
                addresses=tuple(map(ip_interface, INTERFACES[name][1])),
                gateways=tuple(map(ip_address, INTERFACES[name][2])),
            )
            for name in self.names
        }

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        return {name: host for name, host in HOSTS.items() if name in self.names}

    def cluster_link(self) -> ClusterLink | None:
        peers: tuple[Address, ...] = tuple(map(ip_address, self.peers))
        return ClusterLink(interface=self.sync, peers=peers) if self.sync else None

    def own_traffic(self, interfaces: Mapping[str, LogicalInterface]) -> tuple[Traffic, ...]:
        known = {
            "carp": Traffic(
                name="carp",
                interface="wan",
                protocol="carp",
                sources=(interfaces["wan"].addresses[0].network,) if "wan" in interfaces else (),
                destinations=(ip_address("224.0.0.18"),),
                description="heartbeats",
            ),
            "pfsync": Traffic(name="pfsync", interface="sync", protocol="pfsync"),
            "config": Traffic(name="config-sync", interface="sync", protocol="tcp", port=8443),
            "elsewhere": Traffic(name="elsewhere", interface="nowhere", protocol="udp", port=1),
        }
        return tuple(known[name] for name in self.traffic)


class Gateways(Model):
    """Stands for the plugin of gateways."""

    def gateways(self) -> Mapping[str, Gateway]:
        return {"wan_gw": Gateway(name="wan_gw", interface="wan", addresses=(ip_address("198.51.100.1"),), mark=1)}

    def policies(self) -> Mapping[str, str]:
        return {"wan_gw": "gateway_wan_gw", "balance": "gateway_balance"}


def config_of(
    *rules: Mapping[str, Any], cluster: Cluster | None = None, has_gateways: bool = True, **table: Any
) -> Config:
    firewall = FirewallConfig.model_validate({"rule": [dict(rule) for rule in rules]} | table)
    tables: dict[str, Model] = {"cluster": cluster or Cluster(), "firewall": firewall}
    if has_gateways:
        tables["gateways"] = Gateways()
    return Config(tables, node=NodeTable(name="fw1"))


def world(**table: Any) -> World:
    return world_of(config_of(**table))


def rule(**values: Any) -> dict[str, Any]:
    return {"interface": "lan", "action": "pass"} | values


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """The first packet of a connection."""

    source: str = "192.168.1.10"
    destination: str = "192.0.2.1"
    protocol: int = 6
    source_port: int = 40000
    destination_port: int = 443
    icmp: str = ""
    device_in: str = "lan0"
    device_out: str = "wan0"

    @property
    def version(self) -> int:
        return ip_address(self.source).version

    def number(self, field: Field) -> int | None:
        """The value of a field that is a number; none when the packet has no such field."""
        return {
            Field.PROTOCOL: self.protocol,
            Field.SOURCE_4 if self.version == 4 else Field.SOURCE_6: int(ip_address(self.source)),
            Field.DESTINATION_4 if self.version == 4 else Field.DESTINATION_6: int(ip_address(self.destination)),
            Field.SOURCE_PORT: self.source_port,
            Field.DESTINATION_PORT: self.destination_port,
        }.get(field)

    def name(self, field: Field) -> str | None:
        """The same for fields that are names."""
        return {
            Field.FAMILY: f"ipv{self.version}",
            Field.DEVICE_IN: self.device_in,
            Field.DEVICE_OUT: self.device_out,
            Field.ICMP_4 if self.version == 4 else Field.ICMP_6: self.icmp,
        }.get(field)


Sets = Mapping[str, Ranges | frozenset[str]]


def holds(condition: Condition, packet: Packet, sets: Sets) -> bool:
    """As nftables decides: a field that a packet does not have is never equal, and never unequal either."""
    number, name = packet.number(condition.field), packet.name(condition.field)
    if number is None and name is None:
        return False
    found = name in condition.names or any(_is_in(number, each) for each in condition.ranges)
    for each in condition.sets:
        content = sets[each]
        found |= name in content if isinstance(content, frozenset) else any(_is_in(number, one) for one in content)
    return found is not condition.inverted


def _is_in(number: int | None, numbers: Range) -> bool:
    return number is not None and numbers[0] <= number <= numbers[1]


def decision(steps: Sequence[Step | Lookup], packet: Packet, sets: Sets | None = None) -> Step | None:
    """The first step that matches."""
    known = sets or {}
    for step in steps:
        if not all(holds(condition, packet, known) for condition in step.conditions):
            continue
        if isinstance(step, Step):
            return step
        values = [packet.number(field) for field in step.key]
        matching = [
            inner
            for key, inner in step.elements
            if all(_is_in(value, numbers) for value, numbers in zip(values, key, strict=True))
        ]
        assert len(matching) <= 1, "the kernel refuses a map in which a value is twice"
        if matching:
            return matching[0]
    return None


def contents(of: World, *, schedules: Sequence[str] = ()) -> Sets:
    """The sets of the ruleset; schedules that are named apply."""
    found: dict[str, Ranges | frozenset[str]] = {
        f"fw_schedule_{name}": frozenset({"ipv4", "ipv6"} if name in schedules else ()) for name in of.schedules
    }
    for name, alias in of.aliases.items():
        found |= {f"alias_{name}_v4": alias.v4, f"alias_{name}_v6": alias.v6, f"alias_{name}_port": alias.ports}
    return found
