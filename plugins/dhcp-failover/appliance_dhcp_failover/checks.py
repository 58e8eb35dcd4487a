"""What `appliance doctor` looks at for DHCP, each with its remedy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio

from appliance.config import Config
from appliance.errors import ApplianceError
from appliance.events import Health
from appliance.plugin import Check, Finding, Probe, ask_if_running
from appliance_dhcp_failover.config import DhcpFailoverConfig
from appliance_dhcp_failover.events import GetDhcp
from appliance_dhcp_failover.link import CLOCKS_FAIL_S, CLOCKS_WARN_S, PeerState
from appliance_dhcp_failover.process import find_hooks, find_program
from appliance_dhcp_failover.verify import verify


def checks(config: Config) -> list[Check]:
    """The checks for this configuration."""
    made = [
        Check(name="dhcp-kea", help="Kea and its libraries are installed.", run=installed),
        Check(name="dhcp-service", help="Every interface is served, or on standby.", run=service),
        Check(name="dhcp-leases", help="There are free addresses.", run=free),
        Check(name="dhcp-gateway", help="Clients use virtual addresses.", run=gateway(config)),
    ]
    if any(each.failover_peer is not None for each in config[DhcpFailoverConfig].interface.values()):
        made += [
            Check(name="dhcp-peer", help="The other node has all leases.", run=peer),
            Check(name="dhcp-clocks", help="The clocks of the nodes agree.", run=clocks),
        ]
    return made


async def _answer(probe: Probe) -> dict[str, Any] | Finding:
    answer = await ask_if_running(probe, GetDhcp(leases=False), within_s=2)
    if answer is None:
        return Finding(
            health=Health.FAIL,
            what="the DHCP service does not answer",
            why="clients get no addresses from this node",
            fix="See 'appliance show services' for the error and restart the node.",
        )
    return answer


async def installed(_probe: Probe) -> Finding:
    """Kea's files."""
    await trio.lowlevel.checkpoint()
    try:
        program = find_program()
        find_hooks()
    except ApplianceError as error:
        return Finding(health=Health.FAIL, what=error.message, fix=error.hint)
    return Finding(health=Health.OK, what=f"{program} with its libraries")


async def service(probe: Probe) -> Finding:
    """States of all pools."""
    answer = await _answer(probe)
    if isinstance(answer, Finding):
        return answer
    for pool in answer["pools"]:
        if pool["refused"]:
            return Finding(
                health=Health.FAIL,
                what=f"the configuration of {pool['interface']} is not in force",
                why=pool["refused"],
                fix="Correct [dhcp_failover] and commit.",
            )
        if pool["my_state"] not in ("serving", "standby"):
            return Finding(
                health=Health.FAIL if pool["my_state"] == "down" else Health.WARN,
                what=f"{pool['interface']} is {pool['my_state']}",
                why=pool["reason"],
                fix="It is tried again by itself; 'appliance show log' has what Kea says.",
            )
    states = ", ".join(f"{pool['interface']} {pool['my_state']}" for pool in answer["pools"])
    return Finding(health=Health.OK, what=states or "no interface is served")


async def free(probe: Probe) -> Finding:
    """Pools that are full, or nearly so."""
    answer = await _answer(probe)
    if isinstance(answer, Finding):
        return answer
    for pool in answer["pools"]:
        if pool["size"] and pool["free"] * 10 < pool["size"]:
            return Finding(
                health=Health.FAIL if pool["free"] == 0 else Health.WARN,
                what=f"{pool['free']} of {pool['size']} addresses of {pool['interface']} are free",
                fix="Enlarge the range, shorten lease_time, or look for a client that takes many: 'show dhcp'.",
            )
    return Finding(health=Health.OK, what="every range has free addresses")


def gateway(config: Config) -> Callable[[Probe], Awaitable[Finding]]:
    """What the configuration's own warnings say: a gateway that goes away with its node."""

    async def run(_probe: Probe) -> Finding:
        await trio.lowlevel.checkpoint()
        warnings = [problem.message for problem in verify(config) if problem.severity == "warning"]
        if warnings:
            return Finding(health=Health.WARN, what=warnings[0], fix="Correct [dhcp_failover] and commit.")
        return Finding(health=Health.OK, what="gateways and name servers survive a takeover")

    return run


async def peer(probe: Probe) -> Finding:
    """Replication."""
    answer = await _answer(probe)
    if isinstance(answer, Finding):
        return answer
    if answer["replication"]:
        return Finding(
            health=Health.FAIL,
            what=f"leases stay on this node: {answer['replication']}",
            fix="Pair the nodes: 'appliance pair --listen' on one, 'appliance pair ADDRESS --code CODE' on the other.",
        )
    for each in answer["peers"]:
        if each["state"] == PeerState.UNREACHABLE:
            return Finding(
                health=Health.FAIL,
                what=f"{each['name']} does not take leases",
                why=each["error"],
                fix=f"Check the sync cable, and 'appliance show dhcp' on {each['name']}; it catches up by itself.",
            )
        if each["state"] != PeerState.SYNCHRONIZED:
            fix = "Wait some seconds; when it stays so, look at 'appliance show log' on both nodes."
            return Finding(health=Health.WARN, what=f"{each['name']} is {each['state']}", fix=fix)
    return Finding(health=Health.OK, what="the other node has all leases")


async def clocks(probe: Probe) -> Finding:
    """Times of day."""
    answer = await _answer(probe)
    if isinstance(answer, Finding):
        return answer
    worst = max((abs(each["clock_ahead_s"]) for each in answer["peers"]), default=0.0)
    if worst > CLOCKS_WARN_S:
        return Finding(
            health=Health.FAIL if worst > CLOCKS_FAIL_S else Health.WARN,
            what=f"the clocks of the nodes are {worst:.0f} s apart",
            why="leases are right all the same, but logs cannot be compared",
            fix="Let both nodes keep time by NTP.",
        )
    return Finding(health=Health.OK, what=f"the clocks of the nodes agree within {worst:.1f} s")
