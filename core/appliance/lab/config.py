"""Writes each node's `appliance.toml`: the example cluster, with what a test wants different."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.lab.topology import LAN, SYNC, WAN, Network, Topology

ADVSKEW_STEP = 100
"""The book's convention: primary 0, secondary 100, third 200."""
PASSWORD = "lab-secret"
LABS_DIR = Path("/run/appliance-lab")
"""Where labs keep their files, one directory each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vip:
    """One ``[[carp.vip]]`` entry."""

    name: str
    interface: str
    vhid: int
    addresses: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    password: str = ""
    advbase: int = 1
    advskew: int | None = None
    """``None``: 0, 100 or 200, by node."""
    peers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """How one node's file differs from the example's."""

    profile: str = "book"
    preempt: bool = True
    password: str = PASSWORD
    sync_interface: str | None = SYNC.name
    extra_vips: tuple[Vip, ...] = ()
    vips: tuple[Vip, ...] | None = None
    """Replaces all virtual hosts."""
    carp: Mapping[str, object] | None = None
    """Further keys of ``[carp]``, or other values for these."""
    pfsync: Mapping[str, object] | None = None
    """Keys of ``[pfsync]``; ``{}`` is the sync interface with the lab's own key. ``None``: no such table."""
    firewall: bool = False
    """Whether the node is a firewall: the example's rules, outbound NAT and a watched gateway."""
    xmlrpc_sync: bool = False
    """Whether the first node's configuration goes to all others, once they are paired."""
    dhcp: Mapping[str, object] | None = None
    """Keys of ``[dhcp_failover.interface.lan]``; ``{}`` is the example's range, and with `xmlrpc_sync` its leases are
    on all nodes. ``None``: no such table."""
    extra: str = ""
    """More TOML, appended."""
    text: str | None = None
    """Replaces the whole file."""


def whole(topology: Topology, *, profile: str = "book", preempt: bool = True) -> NodeSettings:
    """A firewall with all that belongs to it; DHCP where Kea is installed."""
    return NodeSettings(
        profile=profile,
        preempt=preempt,
        pfsync={},
        firewall=True,
        xmlrpc_sync=topology.nodes > 1,
        dhcp={} if shutil.which("kea-dhcp4", path=f"{os.defpath}:/usr/sbin:/sbin") else None,
    )


def node_toml(topology: Topology, node: str, settings: NodeSettings | None = None) -> str:
    """The complete `appliance.toml` of a node."""
    chosen = settings or NodeSettings()
    if chosen.text is not None:
        return chosen.text
    ordinal = topology.ordinal(node)
    role = "primary" if ordinal == 1 else "secondary"
    parts = [
        f"# Written by `appliance lab` for node {node} of lab {topology.name}.",
        table("node", {"name": node, "role": role}),
    ]
    for network in topology.networks:
        parts.append(interface_table(topology, network, ordinal))
    carp: dict[str, object] = {
        "password": chosen.password,
        "preempt": chosen.preempt,
        "profile": chosen.profile,
        "sync_interface": chosen.sync_interface,
    }
    parts.append(table("carp", carp | dict(chosen.carp or {})))
    vips = standard_vips(topology) if chosen.vips is None else chosen.vips
    parts += [vip_table(vip, ordinal) for vip in (*vips, *chosen.extra_vips)]
    if chosen.pfsync is not None:
        parts.append(pfsync_table(topology, chosen.pfsync))
    if chosen.firewall:
        parts += firewall_tables(topology)
    if chosen.xmlrpc_sync:
        parts.append(sync_table(topology, ordinal))
    if chosen.dhcp is not None:
        parts += dhcp_tables(ordinal, chosen.dhcp, is_shared=chosen.xmlrpc_sync and topology.nodes > 1)
    if chosen.extra:
        parts.append(chosen.extra.strip() + "\n")
    return "\n".join(parts)


def interface_table(topology: Topology, network: Network, ordinal: int) -> str:
    """``[interfaces.NAME]`` of one network, and on the WAN the way to everything else."""
    addresses = network.addresses(ordinal, ipv6=topology.ipv6)
    parts = [table(f"interfaces.{network.name}", {"device": network.device, "addresses": addresses})]
    if network is WAN:
        gateways = [f"{WAN.prefix4}.{WAN.host4}", *([f"{WAN.prefix6}::{WAN.host6}"] if topology.ipv6 else [])]
        parts += [table("interfaces.wan.routes", {"to": "default", "via": via}, many=True) for via in gateways]
    return "\n".join(parts)


def standard_vips(topology: Topology) -> tuple[Vip, ...]:
    """The virtual hosts of the example cluster, LAN first; one VHID carries IPv4 and IPv6."""
    networks = sorted((n for n in topology.networks if n.vips), key=lambda n: (n is not LAN, n is not WAN, n.ordinal))
    return tuple(
        Vip(
            name=name,
            interface=network.name,
            vhid=vhid,
            addresses=tuple(a for a in addresses if topology.ipv6 or ":" not in a),
        )
        for network in networks
        for name, vhid, addresses in network.vips
    )


def vip_table(vip: Vip, ordinal: int) -> str:
    """One ``[[carp.vip]]`` of the node with this number."""
    skew = (ordinal - 1) * ADVSKEW_STEP if vip.advskew is None else vip.advskew
    values = {
        "name": vip.name,
        "interface": vip.interface,
        "vhid": vip.vhid,
        "addresses": vip.addresses,
        "advbase": vip.advbase,
        "advskew": skew,
        "aliases": vip.aliases or None,
        "password": vip.password or None,
        "peers": vip.peers or None,
    }
    return table("carp.vip", values, many=True)


def key_path(topology: Topology) -> Path:
    """The file with the secret that the nodes of a lab share; `Lab` makes it."""
    return LABS_DIR / topology.name / "pfsync.key"


def pfsync_table(topology: Topology, wanted: Mapping[str, object]) -> str:
    """``[pfsync]`` on the sync interface, authenticated unless plain datagrams are asked for."""
    secured = {} if wanted.get("plain") else {"key_file": str(key_path(topology))}
    return table("pfsync", {"interface": SYNC.name, **secured, **wanted})


def sync_table(topology: Topology, ordinal: int) -> str:
    """``[xmlrpc_sync]``: the first node sends, all others only listen."""
    others = [SYNC.node4(number).partition("/")[0] for number in range(2, topology.nodes + 1)]
    return table("xmlrpc_sync", {"interface": SYNC.name, "peers": others if ordinal == 1 else None})


def dhcp_tables(ordinal: int, wanted: Mapping[str, object], *, is_shared: bool) -> list[str]:
    """Addresses for clients on the LAN; the peer of the first node is the second, of all others the first."""
    peer = LAN.node4(2 if ordinal == 1 else 1).partition("/")[0]
    lan = {"range": [f"{LAN.prefix4}.100-{LAN.prefix4}.199"], "failover_peer": peer if is_shared else None}
    return [
        table("dhcp_failover", {"sync_interface": SYNC.name if is_shared else None}),
        table("dhcp_failover.interface.lan", lan | dict(wanted)),
    ]


def firewall_tables(topology: Topology) -> list[str]:
    """The LAN may go anywhere, as the WAN's virtual address; the way out is watched."""
    nodes = [SYNC.node4(number).partition("/")[0] for number in range(1, topology.nodes + 1)]
    gateway = {"interface": WAN.name, "address": f"{WAN.prefix4}.{WAN.host4}"}
    if topology.ipv6:
        gateway["address6"] = f"{WAN.prefix6}::{WAN.host6}"
    lan = {"interface": LAN.name, "action": "pass", "source": "net:lan"}
    return [
        table("firewall", {"nodes": nodes}),
        table("firewall.rule", {**lan, "description": "Default allow LAN to any rule"}, many=True),
        table("outbound_nat", {"mode": "automatic"}),
        table("gateways.gateway.wan_gw", gateway),
    ]


def table(header: str, values: Mapping[str, object], *, many: bool = False) -> str:
    """A TOML table; ``None`` leaves a key out."""
    head = f"[[{header}]]" if many else f"[{header}]"
    lines = [f"{key} = {literal(value)}" for key, value in values.items() if value is not None]
    return "\n".join([head, *lines]) + "\n"


def literal(value: object) -> str:
    """A TOML value of a bool, number, text or list of these."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Sequence):
        return "[" + ", ".join(literal(item) for item in value) + "]"
    raise TypeError(f"no TOML for {type(value).__qualname__}")
