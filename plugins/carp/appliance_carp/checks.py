"""What `appliance doctor` looks at for CARP, each with its remedy."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, cast

from appliance.config import Config, ProvidesInterfaces
from appliance.events import Health, PeerChanged, Role, RoleChanged
from appliance.plugin import Check, Finding, Probe, ask_if_running
from appliance_carp.config import CarpConfig
from appliance_carp.events import GetCarp
from appliance_carp.wiring import everything_arrives, one_master


def checks(config: Config) -> list[Check]:
    """The checks for this configuration."""
    provider = config.providing(ProvidesInterfaces)
    known = provider.logical_interfaces() if provider else {}
    table = config[CarpConfig]
    used = sorted({vip.interface for vip in table.vip} & set(known))
    devices = [known[name].device for name in used]
    return [
        Check(name="carp-service", help="The heartbeat process answers.", run=service_answers),
        Check(name="carp-roles", help="All virtual hosts of the node have the same role.", run=roles_agree),
        Check(name="carp-peer", help="Another node could take over.", run=peer_is_ready),
        Check(
            name="carp-reach", help="What the nodes send each other arrives on every network.", run=everything_arrives
        ),
        Check(name="carp-master", help="No address is held by two nodes.", run=one_master),
        Check(name="carp-demotion", help="Nothing keeps this node from being MASTER.", run=not_demoted),
        Check(name="carp-preferred", help="The primary is MASTER when it could be.", run=_primary_leads(table)),
        Check(name="carp-sync-link", help="The link between the nodes carries nothing else.", run=_own_link(table)),
        Check(
            name="carp-arp", help="The parents answer ARP only for their own addresses.", run=_arp_is_careful(devices)
        ),
    ]


async def _ask(probe: Probe) -> dict[str, Any] | None:
    return await ask_if_running(probe, GetCarp(), within_s=1)


async def service_answers(probe: Probe) -> Finding:
    """Ask the heartbeat process for its state. Adverts that it does not believe are alarms, as long as they come."""
    answer = await _ask(probe)
    if answer is None:
        return Finding(
            health=Health.FAIL,
            what="the carp service does not answer",
            why="this node can neither hold nor take over a virtual address",
            fix="See 'appliance show services' for the error and restart the node.",
        )
    return Finding(health=Health.OK, what=f"the heartbeat process answers for {len(answer['vips'])} virtual hosts")


async def roles_agree(probe: Probe) -> Finding:
    """A node that is MASTER here and BACKUP there is a black hole for whoever crosses it."""
    roles = [cast(RoleChanged, event) for event in probe.retained(RoleChanged)]
    kinds = {event.role for event in roles} - {Role.INIT, Role.DISABLED, Role.REMOVED}
    if len(kinds) > 1:
        split = ", ".join(f"{event.interface}@{event.vhid} {event.role}" for event in roles)
        return Finding(
            health=Health.FAIL,
            what=f"the virtual hosts disagree: {split}",
            why="traffic that enters on one node leaves on the other",
            fix="Check multicast between the nodes on the network that differs ('appliance capture DEVICE').",
        )
    return Finding(health=Health.OK, what=f"{len(roles)} virtual hosts, all in the same role")


async def peer_is_ready(probe: Probe) -> Finding:
    """Redundancy is there only while another node is."""
    peers = [cast(PeerChanged, event) for event in probe.retained(PeerChanged)]
    if any(peer.healthy for peer in peers):
        return Finding(health=Health.OK, what="a healthy peer is heard")
    known = "; ".join(f"{peer.peer}: {peer.summary}" for peer in peers) or "no other node has been heard"
    return Finding(
        health=Health.WARN,
        what=f"nobody could take over from this node ({known})",
        why="a failure of this node would now be an outage",
        fix="Start the other node, take it out of maintenance, or look at its 'appliance show ha'.",
    )


REMEDIES = {
    "link": "Check the cable and the switch port of that interface.",
    "maintenance": "'appliance ha maintenance off' when the work is done.",
    "send": "Sending failed: check the driver, the link and the firewall's own rules for CARP on that interface.",
    "service": "'appliance show services' says why that service is down.",
    "gateway": "'appliance show gateways' says what its probes meet.",
    "ruleset": "The rules could not be loaded: 'appliance show alarms' says why.",
    "dhcp": "'appliance show dhcp' says which interface is not served, or whose leases are missing.",
    "required-plugin": "'appliance show plugins' says why a required plugin does not run.",
    "bulk": "It ends by itself when the states have been received: 'appliance show pfsync'.",
}
"""By the first word of a demotion's name."""


async def not_demoted(probe: Probe) -> Finding:
    """A primary that is stuck as BACKUP has demoted itself, and a demoted BACKUP would take over badly."""
    answer = await _ask(probe)
    if answer is None:
        return await service_answers(probe)
    if not answer["enabled"]:
        return Finding(
            health=Health.WARN,
            what="CARP is disabled on this node by command",
            why="it holds no virtual address and cannot take over",
            fix="'appliance ha enable' lets it take part again.",
        )
    reasons = [each for each in answer["reasons"] if each["weight"]]
    if not reasons:
        return Finding(health=Health.OK, what="this node has not demoted itself")
    names = ", ".join(f"{each['name']} {each['weight']}" for each in reasons)
    fixes = (REMEDIES.get(each["name"].partition(":")[0], "") for each in reasons)
    return Finding(
        health=Health.WARN,
        what=f"this node is demoted: {names}",
        why="it stays BACKUP while another node is better",
        fix=" ".join(dict.fromkeys(filter(None, fixes))) or "'appliance show ha' says since when and by what.",
    )


SETTLED_S = 60.0
"""A node that has just come back waits for its states before it takes its addresses back."""


def _primary_leads(table: CarpConfig) -> Callable[[Probe], Awaitable[Finding]]:
    async def run(probe: Probe) -> Finding:
        answer = await _ask(probe)
        if answer is None:
            return await service_answers(probe)
        idle = probe.node.role != "primary" or not table.preempt or answer["resigned"] or answer["demotion"]
        now = time.time()
        stuck = [
            vip for vip in answer["vips"] if not idle and vip["state"] == "BACKUP" and now - _when(vip) > SETTLED_S
        ]
        if not stuck:
            return Finding(health=Health.OK, what="no virtual host waits for this node to become MASTER")
        first = stuck[0]
        better = [each for each in first["peers"] if each["advskew"] <= first["advskew"]]
        said = f"{better[0]['address']} advertises advskew {better[0]['advskew']}" if better else first["reason"]
        return Finding(
            health=Health.WARN,
            what=f"this primary is BACKUP of {', '.join(vip['name'] for vip in stuck)} ({said})",
            why="preempt is on and this node has not demoted itself, so it should be MASTER",
            fix="Give the primary the lowest advskew (0, and 100 on the secondary). If it has that, look for a layer 2 "
            "loop that brings its own heartbeats back: 'appliance show alarms', 'appliance capture'.",
        )

    return run


def _when(vip: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(vip["since"]).timestamp()


def _own_link(table: CarpConfig) -> Callable[[Probe], Awaitable[Finding]]:
    async def run(_: Probe) -> Finding:
        name = table.sync_interface
        shared = [vip.name for vip in table.vip if vip.interface == name]
        if name is not None and shared:
            return Finding(
                health=Health.WARN,
                what=f"the sync interface {name} also carries the virtual hosts {', '.join(shared)}",
                why="whoever is on that network sees states and configuration pass, and a flood there parts the nodes",
                fix="Connect the nodes by a cable of its own and name that interface in carp.sync_interface, "
                "pfsync.interface and xmlrpc_sync.interface.",
            )
        return Finding(health=Health.OK, what="the link between the nodes carries no virtual host")

    return run


def _arp_is_careful(devices: list[str]) -> Callable[[Probe], Awaitable[Finding]]:
    async def run(probe: Probe) -> Finding:
        for device in devices:
            if probe.read(f"/proc/sys/net/ipv4/conf/{device}/arp_ignore").strip() == "0":
                return Finding(
                    health=Health.FAIL,
                    what=f"{device} has arp_ignore=0 and answers for virtual addresses with its own MAC",
                    why="clients would learn the wrong MAC and lose the address at a failover",
                    fix=f"sysctl net.ipv4.conf.{device}.arp_ignore=1",
                )
        return Finding(health=Health.OK, what="parents answer ARP only for their own addresses")

    return run
