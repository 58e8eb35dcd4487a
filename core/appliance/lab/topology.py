"""What the laboratory consists of: networks, nodes, hosts, switches and cables, as plain values.

The addresses are those of the example cluster that all documentation uses. Nothing here touches the
kernel; `plan` turns these values into commands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from appliance.errors import UsageError

NODES_MAX = 3
"""The addresses of the example cluster reserve three per network."""
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")
"""Short, because the name becomes part of file names of namespaces and of socket paths (108 bytes at most)."""
HOST_MEMBER = 4
ROGUE_MEMBER = 5
HOST_PORT_OFFSET = 100
"""Client and server are no subject of a test: unequal indexes make the kernel report their links at once."""
TRUNK_MEMBER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network of the example cluster."""

    name: str
    """Logical name in `appliance.toml`."""
    device: str
    """Device that carries it inside every node."""
    ordinal: int
    """Makes device indexes and MAC addresses."""
    prefix4: str
    """First three bytes, ``192.168.1``; always a /24."""
    first4: int
    """Last byte of the first node's address; the others follow."""
    prefix6: str = ""
    """``2001:db8:1``; always a /64. Empty: the network has no IPv6."""
    first6: str = ""
    vips: tuple[tuple[str, int, tuple[str, ...]], ...] = ()
    """Name, VHID and addresses of each virtual host."""
    host: str = ""
    """The machine that is no node."""
    host_device: str = "eth0"
    host4: int = 0
    host6: str = ""

    def node4(self, ordinal: int) -> str:
        """Address with prefix length of the node number 1, 2 or 3."""
        return f"{self.prefix4}.{self.first4 + ordinal - 1}/24"

    def node6(self, ordinal: int) -> str:
        """IPv6 address of a node; the last group counts in hexadecimal digits as written."""
        return f"{self.prefix6}::{int(self.first6) + ordinal - 1}/64"

    def addresses(self, ordinal: int, *, ipv6: bool) -> tuple[str, ...]:
        """All own addresses of a node on this network."""
        return (self.node4(ordinal), *((self.node6(ordinal),) if ipv6 and self.prefix6 else ()))


LAN = Network(
    name="lan", device="lan0", ordinal=1, prefix4="192.168.1", first4=2, prefix6="2001:db8:1", first6="2",
    vips=(("lan", 1, ("192.168.1.1/24", "2001:db8:1::1/64")),), host="client", host4=100, host6="100",
)  # fmt: skip
WAN = Network(
    name="wan", device="wan0", ordinal=2, prefix4="198.51.100", first4=201, prefix6="2001:db8:ffff", first6="201",
    vips=(("wan", 200, ("198.51.100.200/24", "2001:db8:ffff::200/64")),), host="server", host4=1, host6="1",
)  # fmt: skip
SYNC = Network(name="sync", device="sync0", ordinal=3, prefix4="172.16.1", first4=2)
WAN2 = Network(
    name="wan2", device="wan1", ordinal=4, prefix4="203.0.113", first4=12,
    vips=(("wan2", 10, ("203.0.113.10/24",)), ("wan2nat", 11, ("203.0.113.11/24",))),
    host="server", host_device="eth1", host4=1,
)  # fmt: skip
DMZ = Network(
    name="dmz", device="dmz0", ordinal=5, prefix4="192.168.2", first4=2,
    vips=(("dmz", 2, ("192.168.2.1/24",)),), host="dmzhost", host4=100,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """A veth pair: one end in a machine, the other a port of a switch."""

    network: Network
    member: str
    """Namespace role at the machine's end: ``fw1``, ``client``."""
    device: str
    switch: str
    """Namespace role of the switch: ``lansw``."""
    port: str
    index: int
    """Interface index at the machine's end."""
    port_index: int
    """Interface index at the switch's end. For nodes it is the same: the kernel then treats link events as
    those of a real network card, whose index equals its link, and reports a lost carrier late."""

    @property
    def device_mac(self) -> str:
        """MAC address of the machine's end."""
        return f"02:fc:00:{self.network.ordinal:02x}:{self.index % 10:02x}:01"

    @property
    def port_mac(self) -> str:
        """MAC address of the switch port."""
        return f"02:fc:00:{self.network.ordinal:02x}:{self.index % 10:02x}:02"


@dataclass(frozen=True, kw_only=True)
class Topology:
    """Which parts a laboratory has. The default is the example cluster."""

    name: str = "default"
    nodes: int = 2
    ipv6: bool = True
    second_wan: bool = False
    dmz: bool = False
    second_switch: bool = False
    """Two switches per network, joined by a trunk: fw1 on the first, everybody else on the second."""

    def __post_init__(self) -> None:
        if not NAME_PATTERN.fullmatch(self.name):
            raise UsageError(
                f"{self.name!r} cannot be the name of a lab",
                hint="Use 1 to 24 lower-case letters, digits and dashes, starting with a letter or digit.",
            )
        if not 1 <= self.nodes <= NODES_MAX:
            raise UsageError(f"a lab of {self.nodes} nodes is not possible", hint="Ask for 1, 2 or 3 nodes.")

    def namespace(self, role: str) -> str:
        """Full name of a namespace."""
        return f"lab-{self.name}-{role}"

    @cached_property
    def node_names(self) -> tuple[str, ...]:
        """``fw1``, ``fw2`` …"""
        return tuple(f"fw{number}" for number in range(1, self.nodes + 1))

    @cached_property
    def networks(self) -> tuple[Network, ...]:
        """The networks of every node, WAN first."""
        return (WAN, LAN, *((WAN2,) if self.second_wan else ()), *((DMZ,) if self.dmz else ()), SYNC)

    @cached_property
    def hosts(self) -> tuple[str, ...]:
        """Machines that are no nodes: ``client``, ``server``, perhaps ``dmzhost``."""
        return tuple(dict.fromkeys(sorted(network.host for network in self.networks if network.host)))

    @property
    def machines(self) -> tuple[str, ...]:
        """Everything that is not a switch."""
        return (*self.hosts, *self.node_names)

    @cached_property
    def switches(self) -> tuple[str, ...]:
        """Namespace roles of all switches."""
        return tuple(switch for network in self.networks for switch in self.switches_of(network))

    def switches_of(self, network: Network) -> tuple[str, ...]:
        """The switches of one network."""
        first = self.first_switch(network)
        return (first, f"{first}2") if self.has_trunk(network) else (first,)

    def first_switch(self, network: Network) -> str:
        """``lansw``; a direct sync cable is called ``synccable``."""
        return "synccable" if self.is_direct(network) else f"{network.name}sw"

    def is_direct(self, network: Network) -> bool:
        """Whether it is a cable between two nodes: a link lost at one end is lost at the other."""
        return network is SYNC and self.nodes <= 2

    def has_trunk(self, network: Network) -> bool:
        """Whether the network has a second switch."""
        return self.second_switch and network is not SYNC

    @cached_property
    def cables(self) -> tuple[Cable, ...]:
        """All cables between machines and switches."""
        made: list[Cable] = []
        for network in self.networks:
            switches = self.switches_of(network)
            for number, node in enumerate(self.node_names, 1):
                switch = switches[0] if number == 1 else switches[-1]
                made.append(self._cable(network, node, network.device, switch, number))
            if network.host:
                made.append(self._cable(network, network.host, network.host_device, switches[-1], HOST_MEMBER))
        return tuple(made)

    @staticmethod
    def _cable(network: Network, member: str, device: str, switch: str, number: int) -> Cable:
        index = 10 * network.ordinal + number
        port_index = index + (HOST_PORT_OFFSET if number == HOST_MEMBER else 0)
        return Cable(
            network=network,
            member=member,
            device=device,
            switch=switch,
            port=member,
            index=index,
            port_index=port_index,
        )

    def network(self, name: str) -> Network:
        """A network by logical name or device."""
        for network in self.networks:
            if name in (network.name, network.device):
                return network
        names = ", ".join(network.name for network in self.networks)
        raise UsageError(f"this lab has no network {name!r}", hint=f"It has {names}.")

    def cable(self, member: str, network: str) -> Cable:
        """The cable of a machine on a network."""
        wanted = self.network(network)
        for cable in self.cables:
            if cable.member == member and cable.network is wanted:
                return cable
        raise UsageError(
            f"{member!r} has no cable on {wanted.name!r}",
            hint=f"Machines of this lab: {', '.join(self.machines)}.",
        )

    def cables_of(self, member: str) -> tuple[Cable, ...]:
        """All cables of one machine."""
        return tuple(cable for cable in self.cables if cable.member == member)

    def ordinal(self, node: str) -> int:
        """1 for ``fw1``."""
        if node not in self.node_names:
            raise UsageError(f"{node!r} is not a node of this lab", hint=f"The nodes are {', '.join(self.node_names)}.")
        return self.node_names.index(node) + 1

    def role(self, name: str) -> str:
        """Checks that a namespace role exists; returns it."""
        if name not in (*self.machines, *self.switches):
            known = ", ".join((*self.machines, *self.switches))
            raise UsageError(f"this lab has no {name!r}", hint=f"It has {known}.")
        return name
