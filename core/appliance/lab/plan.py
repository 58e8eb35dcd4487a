"""The commands that build a laboratory: pure text, computed from a `Topology`.

Three steps, each one process per namespace: create the namespaces, create all cables in place from
the main namespace, then configure every namespace by itself. About 35 ms together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from appliance.lab.topology import HOST_PORT_OFFSET, LAN, TRUNK_MEMBER, WAN, Cable, Network, Topology

SWITCH = "sw0"
"""Name of the bridge inside a switch's namespace."""
RETRANS_MS = 100
"""The client's and server's neighbour discovery retries quickly, so that one lost question costs 0.1 s, not 1 s."""


class Software(StrEnum):
    """What runs on the nodes."""

    APPLIANCE = "appliance"
    """The product; it configures its own addresses."""
    ROUTER = "router"
    """Nothing; fw1 is a plain router that holds the virtual addresses. For tests of the lab itself."""
    BARE = "bare"
    """Nothing; own addresses and forwarding only. For other implementations, in benchmarks."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What has to be run, in the order of the fields."""

    namespaces: tuple[str, ...]
    """Full names, to be added."""
    main: tuple[str, ...]
    """Lines for ``ip -batch`` in the main namespace."""
    sysctls: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By full namespace name, keys with slashes below ``/proc/sys``."""
    inside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Lines for ``ip -batch`` by full namespace name."""
    settle: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The same, when all of the above is done: asking for a link makes the kernel process its pending link
    event, which it would otherwise delay by up to a second (real cards: "linkwatch")."""


def build_plan(topology: Topology, software: Software = Software.APPLIANCE) -> Plan:
    """The whole laboratory."""
    roles = (*topology.machines, *topology.switches)
    main = [cable_line(topology, cable) for cable in topology.cables]
    main += [trunk_line(topology, network) for network in topology.networks if topology.has_trunk(network)]
    inside: dict[str, tuple[str, ...]] = {}
    for host in topology.hosts:
        inside[topology.namespace(host)] = host_lines(topology, host)
    for node in topology.node_names:
        inside[topology.namespace(node)] = node_lines(topology, node, software)
    for network in topology.networks:
        for switch in topology.switches_of(network):
            inside[topology.namespace(switch)] = switch_lines(topology, network, switch)
    return Plan(
        namespaces=tuple(topology.namespace(role) for role in roles),
        main=tuple(main),
        sysctls={topology.namespace(role): sysctls_of(topology, role, software) for role in roles},
        inside=inside,
        settle=settle_lines(topology, topology.cables),
    )


def node_plan(topology: Topology, node: str, software: Software) -> Plan:
    """One node that comes back after a power failure: its namespace is new, its cables are new."""
    namespace = topology.namespace(node)
    cables = topology.cables_of(node)
    inside = {topology.namespace(cable.switch): tuple(port_lines(cable.port)) for cable in cables}
    for cable in cables:
        if topology.is_direct(cable.network):
            others = [other.port for other in topology.cables if other.switch == cable.switch]
            inside[topology.namespace(cable.switch)] = (
                *port_lines(cable.port),
                *(f"link set {port} up" for port in others if port != cable.port),
            )
    inside[namespace] = node_lines(topology, node, software)
    return Plan(
        namespaces=(namespace,),
        main=tuple(cable_line(topology, cable) for cable in cables),
        sysctls={namespace: sysctls_of(topology, node, software)},
        inside=inside,
        settle=settle_lines(topology, cables),
    )


def settle_lines(topology: Topology, cables: tuple[Cable, ...]) -> dict[str, tuple[str, ...]]:
    """Asks for both ends of the nodes' cables."""
    lines: dict[str, tuple[str, ...]] = {}
    for cable in cables:
        if cable.member in topology.node_names:
            for role, device in ((cable.switch, cable.port), (cable.member, cable.device)):
                name = topology.namespace(role)
                lines[name] = (*lines.get(name, ()), f"link show dev {device}")
    return lines


def cable_line(topology: Topology, cable: Cable) -> str:
    """Creates a veth pair with both ends where they belong."""
    return (
        f"link add {cable.device} netns {topology.namespace(cable.member)} index {cable.index}"
        f" address {cable.device_mac} type veth peer name {cable.port} netns {topology.namespace(cable.switch)}"
        f" index {cable.port_index} address {cable.port_mac}"
    )


def trunk_line(topology: Topology, network: Network) -> str:
    """Creates the trunk between the two switches of a network."""
    first, second = topology.switches_of(network)
    index, far = 10 * network.ordinal + TRUNK_MEMBER, 10 * network.ordinal + TRUNK_MEMBER + HOST_PORT_OFFSET
    mac = f"02:fc:00:{network.ordinal:02x}:{TRUNK_MEMBER:02x}"
    return (
        f"link add trunk netns {topology.namespace(first)} index {index} address {mac}:01"
        f" type veth peer name trunk netns {topology.namespace(second)} index {far} address {mac}:02"
    )


def switch_lines(topology: Topology, network: Network, switch: str) -> tuple[str, ...]:
    """A bridge without spanning tree, snooping and addresses: an unmanaged switch."""
    ports = [cable.port for cable in topology.cables if cable.switch == switch]
    if topology.has_trunk(network):
        ports.append("trunk")
    lines = ["link set lo up", f"link add {SWITCH} type bridge forward_delay 0 mcast_snooping 0"]
    for port in ports:
        lines += port_lines(port)
    return (*lines, f"link set {SWITCH} up")


def port_lines(port: str) -> list[str]:
    """Puts a port into its switch."""
    return [f"link set {port} master {SWITCH}", f"link set {port} up"]


def host_lines(topology: Topology, host: str) -> tuple[str, ...]:
    """Addresses and routes of a machine that is no node; its gateway is the virtual address."""
    lines = ["link set lo up"]
    routes: list[str] = []
    for cable in topology.cables_of(host):
        network, device = cable.network, cable.device
        lines += [f"addr add {network.prefix4}.{network.host4}/24 dev {device}"]
        has6 = topology.ipv6 and network.prefix6
        if has6:
            lines += [f"addr add {network.prefix6}::{network.host6}/64 dev {device} nodad"]
        lines += [f"link set {device} up"]
        if network is not WAN and host != "server":
            routes += [f"route add default via {network.prefix4}.1"]
            routes += [f"route add default via {network.prefix6}::1"] if has6 else []
    if host == "server":
        routes += server_routes(topology)
    return (*lines, *routes)


def server_routes(topology: Topology) -> list[str]:
    """The way back to the inside, through the WAN's virtual addresses: the example needs no NAT yet."""
    routes = [
        f"route add {network.prefix4}.0/24 via {WAN.prefix4}.200"
        for network in topology.networks
        if network.host and network.host != "server"
    ]
    if topology.ipv6:
        routes.append(f"route add {LAN.prefix6}::/64 via {WAN.prefix6}::200")
    return routes


def node_lines(topology: Topology, node: str, software: Software) -> tuple[str, ...]:
    """Inside a node. The product sets its addresses by itself; without it the lab does.

    Links are up before the software starts, so that the switches are already forwarding: how long a
    switch port takes to come up is no subject of the lab.
    """
    lines = ["link set lo up"]
    for cable in topology.cables_of(node):
        lines += [f"link set {cable.device} up"]
    if software is Software.APPLIANCE:
        return tuple(lines)
    ordinal = topology.ordinal(node)
    for cable in topology.cables_of(node):
        network = cable.network
        addresses = list(network.addresses(ordinal, ipv6=topology.ipv6))
        if software is Software.ROUTER and ordinal == 1:
            addresses += virtual_addresses(topology, network)
        for address in addresses:
            lines.append(f"addr add {address} dev {cable.device}{' nodad' if ':' in address else ''}")
    lines.append(f"route add default via {WAN.prefix4}.{WAN.host4}")
    return tuple(lines)


def virtual_addresses(topology: Topology, network: Network) -> list[str]:
    """All virtual addresses of a network that this lab uses."""
    found = [address for _, _, addresses in network.vips for address in addresses]
    return [address for address in found if topology.ipv6 or ":" not in address]


def sysctls_of(topology: Topology, role: str, software: Software) -> dict[str, str]:
    """Kernel settings of one namespace."""
    off = "0" if topology.ipv6 else "1"
    if role in topology.switches:
        return {"net/ipv6/conf/all/disable_ipv6": "1", "net/ipv6/conf/default/disable_ipv6": "1"}
    devices = [cable.device for cable in topology.cables_of(role)]
    settings: dict[str, str] = {}
    for scope in ("all", "default", *devices):
        settings[f"net/ipv6/conf/{scope}/disable_ipv6"] = off
        settings[f"net/ipv6/conf/{scope}/accept_dad"] = "0"
        settings[f"net/ipv6/conf/{scope}/accept_ra"] = "0"
    forward = "1" if role in topology.node_names and software is not Software.APPLIANCE else "0"
    settings["net/ipv4/conf/all/forwarding"] = forward
    settings["net/ipv6/conf/all/forwarding"] = forward
    if role in topology.hosts:
        settings["net/ipv4/ping_group_range"] = "0 0"  # the ping probe uses ping sockets
        for device in devices:
            settings[f"net/ipv4/neigh/{device}/retrans_time_ms"] = str(RETRANS_MS)
            settings[f"net/ipv6/neigh/{device}/retrans_time_ms"] = str(RETRANS_MS)
            settings[f"net/ipv4/conf/{device}/rp_filter"] = "0"
    return settings
