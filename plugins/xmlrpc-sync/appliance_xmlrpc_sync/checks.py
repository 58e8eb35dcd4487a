"""What `appliance doctor` looks at for the synchronization, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network, ip_interface
from typing import Any

from appliance.config import Config
from appliance.events import Health
from appliance.events.config import GetConfig
from appliance.plugin import Check, Finding, Probe, ask_if_running
from appliance_xmlrpc_sync.alarms import SKEW_FAIL_S, SKEW_WARN_S
from appliance_xmlrpc_sync.facts import utc_offset_s
from appliance_xmlrpc_sync.requests import GetSync

ANSWER_S = 1.0
SHOWN_MAX = 8
"""Interfaces that are named in one finding."""
Network = IPv4Network | IPv6Network


def checks(config: Config) -> list[Check]:
    """The checks for this configuration."""
    del config
    return [
        Check(name="sync-peers", help="Every peer has this node's configuration.", run=peers_are_in_sync),
        Check(name="sync-clocks", help="Clocks and time zones of the nodes agree.", run=clocks_agree),
        Check(name="sync-interfaces", help="An interface name means the same network everywhere.", run=networks_agree),
    ]


async def _ask(probe: Probe) -> dict[str, Any] | None:
    return await ask_if_running(probe, GetSync(), within_s=ANSWER_S)


def _silent() -> Finding:
    return Finding(
        health=Health.FAIL,
        what="the service of the synchronization does not answer",
        why="changes on this node do not reach the others",
        fix="See 'appliance show services' for the error and restart the node.",
    )


async def peers_are_in_sync(probe: Probe) -> Finding:
    """A peer with an older configuration takes over with it."""
    data = await _ask(probe)
    if data is None:
        return _silent()
    late = [row for row in data["peers"] if row["state"] != "in-sync"]
    if late:
        first = late[0]
        return Finding(
            health=Health.WARN,
            what=f"{', '.join(row['name'] for row in late)}: {first['error'] or first['why']}",
            why="after a takeover another configuration than this node's would be in force",
            fix=first["remedy"] or "See 'appliance show sync'.",
        )
    if data["role"] == "primary" and not data["peers"]:
        return Finding(
            health=Health.WARN,
            what="this node is the primary and sends its configuration to nobody",
            why="every change has to be made on each node by hand",
            fix="Name the other nodes in `xmlrpc_sync.peers`, or remove the table.",
        )
    return Finding(health=Health.OK, what=f"{len(data['peers'])} peers, all in sync")


async def clocks_agree(probe: Probe) -> Finding:
    """Schedules, leases and logs go by the clock."""
    data = await _ask(probe)
    if data is None:
        return _silent()
    apart = {row["name"]: row["skew_s"] for row in data["peers"] if row["skew_s"] is not None}
    name = max(apart, key=lambda each: abs(apart[each]), default=None)
    if name is not None and abs(apart[name]) >= SKEW_WARN_S:
        return Finding(
            health=Health.FAIL if abs(apart[name]) >= SKEW_FAIL_S else Health.WARN,
            what=f"the clock of {name} is {abs(apart[name]):.0f} s {'ahead' if apart[name] > 0 else 'behind'}",
            why="schedules, leases and logs of the two nodes disagree",
            fix="Let both nodes synchronize their clocks with NTP.",
        )
    own = utc_offset_s()
    zones = [row for row in data["peers"] if row["utc_offset_s"] not in (None, own)]
    if zones:
        hours = (zones[0]["utc_offset_s"] - own) / 3600
        return Finding(
            health=Health.WARN,
            what=f"the time zone of {zones[0]['name']} is {abs(hours):g} h {'ahead' if hours > 0 else 'behind'}",
            why="schedules of the firewall begin at another time there, and the logs cannot be compared",
            fix="Set the same time zone on both nodes: 'timedatectl set-timezone ZONE'.",
        )
    return Finding(health=Health.OK, what=f"the clocks of {len(apart)} peers agree within {SKEW_WARN_S:g} s")


async def networks_agree(probe: Probe) -> Finding:
    """Rules name interfaces: where the names are swapped, or a mask is another one, they mean something else."""
    data = await _ask(probe)
    if data is None:
        return _silent()
    own = (await probe.call(GetConfig())).addresses
    known = [row for row in data["peers"] if row["addresses"] is not None]
    different = [line for row in known for line in _other_networks(row["name"], own, row["addresses"])]
    if different:
        return Finding(
            health=Health.FAIL,
            what="; ".join(different[:SHOWN_MAX]),
            why="what is configured for an interface is in force on another network there, and no VIP of it is common",
            fix="Correct devices, addresses and prefix lengths in [interfaces] of the wrong node, and its cables.",
        )
    return Finding(health=Health.OK, what=f"interfaces have the same networks on {len(known)} peers")


def _other_networks(peer: str, own: Mapping[str, Sequence[str]], theirs: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for name in own.keys() & theirs.keys():
        here, there = _networks(own[name]), _networks(theirs[name])
        for version in here.keys() & there.keys():
            if here[version] != there[version]:
                yield f"{name} is {_listed(there[version])} on {peer}, {_listed(here[version])} here"


def _networks(addresses: Sequence[str]) -> dict[int, set[Network]]:
    """By version; link-local ones are the same everywhere and say nothing."""
    found: dict[int, set[Network]] = {}
    for text in addresses:
        with suppress(ValueError):  # it comes from another node
            network = ip_interface(text).network
            if not network.is_link_local:
                found.setdefault(network.version, set()).add(network)
    return found


def _listed(networks: set[Network]) -> str:
    return " and ".join(sorted(map(str, networks)))
