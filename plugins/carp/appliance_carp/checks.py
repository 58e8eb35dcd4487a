"""What `appliance doctor` looks at for CARP, each with its remedy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

import trio

from appliance.config import Config, ProvidesInterfaces
from appliance.events import Health, PeerChanged, Role, RoleChanged
from appliance.plugin import Check, Finding, NoProvider, Probe
from appliance_carp.config import CarpConfig
from appliance_carp.events import GetCarp


def checks(config: Config) -> list[Check]:
    """The checks for this configuration."""
    provider = config.providing(ProvidesInterfaces)
    known = provider.logical_interfaces() if provider else {}
    used = sorted({vip.interface for vip in config[CarpConfig].vip} & set(known))
    devices = [known[name].device for name in used]
    return [
        Check(name="carp-service", help="The heartbeat process answers.", run=service_answers),
        Check(name="carp-roles", help="All virtual hosts of the node have the same role.", run=roles_agree),
        Check(name="carp-peer", help="Another node could take over.", run=peer_is_ready),
        Check(
            name="carp-arp", help="The parents answer ARP only for their own addresses.", run=_arp_is_careful(devices)
        ),
    ]


async def service_answers(probe: Probe) -> Finding:
    """Ask the heartbeat process for its state."""
    try:
        with trio.fail_after(1):
            answer = await probe.call(GetCarp())
    except (NoProvider, trio.TooSlowError):
        return Finding(
            health=Health.FAIL,
            what="the carp service does not answer",
            why="this node can neither hold nor take over a virtual address",
            fix="See 'appliance show services' for the error and restart the node.",
        )
    bad = sum(vip["counters"].get("bad_auth", 0) for vip in answer["vips"])
    if bad:
        return Finding(
            health=Health.WARN,
            what=f"{bad} adverts failed authentication since start",
            why="nodes with different passwords or address lists both become MASTER",
            fix="'appliance show ha' names the VHID and the source; compare the two configurations.",
        )
    return Finding(health=Health.OK, what="the heartbeat process answers, no advert failed authentication")


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
