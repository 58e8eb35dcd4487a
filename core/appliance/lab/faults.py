"""Faults of the network as data: what to run to cause one, and what to run to undo it.

A fault is remembered by the lab until it is undone, also across processes: `appliance lab pull` and
`appliance lab plug` are two commands. Faults of processes and power are methods of `Lab`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from appliance.errors import UsageError
from appliance.lab.plan import SWITCH
from appliance.lab.topology import ROGUE_MEMBER, SYNC, Network, Topology

Tool = Literal["ip", "bridge", "nft"]
Direction = Literal["from", "to", "both"]
Side = Literal["switch", "node", "blocked"]
STP_DISABLED = 0
"""Not 4 (blocking): without spanning tree the kernel turns that back into forwarding at once."""
STP_FORWARDING = 3
ROGUE = "rogue"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One line (or one nft transaction) in one namespace."""

    tool: Tool
    role: str
    """Role of the namespace; empty for the main one."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault."""

    name: str
    """Unique and readable: ``pull fw1 wan``."""
    member: str
    """The machine it concerns, or the switch."""
    effect: str
    """What it means, for `lab status`."""
    apply: tuple[Step, ...]
    undo: tuple[Step, ...]

    def to_json(self) -> dict[str, object]:
        """Plain data for the lab's file."""
        return asdict(self)


def fault_from_json(data: Mapping[str, Any]) -> Fault:
    """The inverse of `Fault.to_json`."""
    return Fault(
        name=data["name"],
        member=data["member"],
        effect=data["effect"],
        apply=tuple(Step(**step) for step in data["apply"]),
        undo=tuple(Step(**step) for step in data["undo"]),
    )


def pull(topology: Topology, member: str, network: str, side: Side = "switch") -> Fault:
    """A cable is pulled.

    ``switch``: the machine loses its carrier, as with a pulled plug. ``node``: its interface is set
    down, the switch loses carrier. ``blocked``: nothing passes, but nobody loses carrier.
    """
    cable = topology.cable(member, network)
    name = f"pull {member} {cable.network.name}"
    ports = [cable.port]
    if topology.is_direct(cable.network):
        ports = [other.port for other in topology.cables if other.switch == cable.switch]
    if side == "blocked":
        return Fault(
            name=name,
            member=member,
            effect=f"{cable.switch} forwards nothing to or from {member}; the link stays up",
            apply=(_bridge(cable.switch, f"link set dev {cable.port} state {STP_DISABLED}"),),
            undo=(_bridge(cable.switch, f"link set dev {cable.port} state {STP_FORWARDING}"),),
        )
    down, up = _down_up(cable.switch, ports)
    if side == "node":
        others = [port for port in ports if port != cable.port]
        down, up = _down_up(cable.switch, others)
        own_down, own_up = _down_up(member, [cable.device])
        return Fault(
            name=name,
            member=member,
            effect=f"{cable.device} of {member} is set down",
            apply=own_down + down,
            undo=own_up + up,
        )
    return Fault(name=name, member=member, effect=f"{cable.device} of {member} has no carrier", apply=down, undo=up)


def cut_switch(topology: Topology, switch: str) -> Fault:
    """A switch loses its power: every port goes down."""
    network = _network_of(topology, switch)
    ports = [cable.port for cable in topology.cables if cable.switch == switch]
    down, up = _down_up(switch, [*ports, *(["trunk"] if topology.has_trunk(network) else [])])
    return Fault(name=f"cut {switch}", member=switch, effect=f"all ports of {switch} are down", apply=down, undo=up)


def cut_trunk(topology: Topology, network: str) -> Fault:
    """The cable between the two switches of a network is cut."""
    chosen = topology.network(network)
    if not topology.has_trunk(chosen):
        raise UsageError(f"{chosen.name} has one switch only", hint="Build the lab with --second-switch.")
    first = topology.first_switch(chosen)
    down, up = _down_up(first, ["trunk"])
    return Fault(name=f"cut-trunk {chosen.name}", member=first, effect="the trunk is down", apply=down, undo=up)


def lose(
    topology: Topology,
    member: str,
    network: str,
    direction: Direction = "from",
    *,
    percent: int = 100,
    match: str = "",
) -> Fault:
    """Frames of one direction are lost in the switch; the link stays up.

    ``from`` the machine, ``to`` it, or both. With `percent` below 100 it is random loss; `match` is an
    nftables expression that limits it, such as ``ip protocol 112``.
    """
    if not 1 <= percent <= 100:
        raise UsageError(f"{percent} percent of loss is not possible", hint="Use 1 to 100.")
    cable = topology.cable(member, network)
    table = f"netdev lab_{member}_{direction}"
    rule = " ".join(part for part in (match, _random(percent), "counter drop") if part)
    hooks = {"from": ("ingress",), "to": ("egress",), "both": ("ingress", "egress")}[direction]
    chains = "\n".join(
        f'  chain {hook} {{ type filter hook {hook} device "{cable.port}" priority 0; policy accept; {rule}; }}'
        for hook in hooks
    )
    return Fault(
        name=f"lose {direction} {member} {cable.network.name}",
        member=member,
        effect=f"{percent} % of the frames {direction} {member} are lost in {cable.switch} {match}".strip(),
        apply=(Step(tool="nft", role=cable.switch, text=f"table {table} {{\n{chains}\n}}\n"),),
        undo=(Step(tool="nft", role=cable.switch, text=f"delete table {table}\n"),),
    )


def loop(topology: Topology, member: str, network: str) -> Fault:
    """The switch echoes the machine's broadcasts back to it, as a loop behind it would."""
    cable = topology.cable(member, network)
    return Fault(
        name=f"loop {member} {cable.network.name}",
        member=member,
        effect=f"{cable.switch} sends the frames of {member} back to it",
        apply=(_bridge(cable.switch, f"link set dev {cable.port} hairpin on"),),
        undo=(_bridge(cable.switch, f"link set dev {cable.port} hairpin off"),),
    )


def flood(topology: Topology, switch: str) -> Fault:
    """A switch that has forgotten every address, and learns none: each frame goes to every port."""
    _network_of(topology, switch)
    ports = [cable.port for cable in topology.cables if cable.switch == switch]
    off = tuple(_bridge(switch, f"link set dev {port} learning off") for port in ports)
    on = tuple(_bridge(switch, f"link set dev {port} learning on") for port in ports)
    flush = Step(tool="ip", role=switch, text=f"link set {SWITCH} type bridge fdb_flush")
    return Fault(name=f"flood {switch}", member=switch, effect=f"{switch} floods", apply=(*off, flush), undo=on)


def duplicate(topology: Topology, network: str, address: str) -> Fault:
    """Another machine appears on a network and claims an address (with its prefix length)."""
    chosen = topology.network(network)
    if chosen is SYNC:
        raise UsageError("there is no room for another machine on the sync cable", hint="Choose lan or wan.")
    if "/" not in address:
        raise UsageError(f"{address} has no prefix length", hint=f"Write {address}/24.")
    switch, space = topology.switches_of(chosen)[-1], topology.namespace(ROGUE)
    index = 10 * chosen.ordinal + ROGUE_MEMBER
    mac = f"02:fc:00:{chosen.ordinal:02x}:{ROGUE_MEMBER:02x}"
    create = (
        f"link add eth0 netns {space} index {index} address {mac}:01 type veth"
        f" peer name {ROGUE} netns {topology.namespace(switch)} index {index} address {mac}:02"
    )
    nodad = " nodad" if ":" in address else ""
    return Fault(
        name=f"duplicate {chosen.name} {address}",
        member=ROGUE,
        effect=f"{space} on {switch} claims {address} with MAC {mac}:01",
        apply=(
            Step(tool="ip", role="", text=f"netns add {space}"),
            Step(tool="ip", role="", text=create),
            Step(tool="ip", role=switch, text=f"link set {ROGUE} master {SWITCH}"),
            Step(tool="ip", role=switch, text=f"link set {ROGUE} up"),
            Step(tool="ip", role=ROGUE, text=f"addr add {address} dev eth0{nodad}"),
            Step(tool="ip", role=ROGUE, text="link set eth0 up"),
        ),
        undo=(Step(tool="ip", role="", text=f"netns del {space}"),),
    )


def grouped(steps: tuple[Step, ...]) -> list[tuple[Tool, str, list[str]]]:
    """Neighbouring steps of one tool in one namespace, to be run by one process."""
    groups: list[tuple[Tool, str, list[str]]] = []
    for step in steps:
        if groups and groups[-1][:2] == (step.tool, step.role):
            groups[-1][2].append(step.text)
        else:
            groups.append((step.tool, step.role, [step.text]))
    return groups


def _network_of(topology: Topology, switch: str) -> Network:
    for network in topology.networks:
        if switch in topology.switches_of(network):
            return network
    raise UsageError(f"this lab has no switch {switch!r}", hint=f"Its switches: {', '.join(topology.switches)}.")


def _random(percent: int) -> str:
    return "" if percent == 100 else f"numgen random mod 100 < {percent}"


def _bridge(role: str, text: str) -> Step:
    return Step(tool="bridge", role=role, text=text)


def _down_up(role: str, devices: list[str]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    down = tuple(Step(tool="ip", role=role, text=f"link set {device} down") for device in devices)
    # Asking for the link afterwards makes a switch port forward at once; see `Plan.settle`.
    words = ("link set {} up", "link show dev {}")
    up = tuple(Step(tool="ip", role=role, text=text.format(device)) for text in words for device in devices)
    return down, up
