"""Checks of the doctor that look at what gets through between the nodes, and at who is MASTER where. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.events import Health
from appliance.plugin import Finding, Probe, ask_if_running
from appliance_carp.events import GetReach

REACH_S = 2.0
"""For the answer: what is sent is waited for a fifth of a second."""
Row = Mapping[str, Any]


async def _reach(probe: Probe) -> list[dict[str, Any]] | None:
    return await ask_if_running(probe, GetReach(), within_s=REACH_S)


def _no_answer() -> Finding:
    return Finding(
        health=Health.FAIL,
        what="the carp service does not answer",
        why="what the nodes hear of each other cannot be measured",
        fix="See 'appliance show services' for the error and restart the node.",
    )


async def everything_arrives(probe: Probe) -> Finding:
    """ARP, hellos, adverts and frames to the virtual MAC are tried one by one: what is missing names who loses it."""
    rows = await _reach(probe)
    if rows is None:
        return _no_answer()
    for judge in _FINDINGS:
        if bad := [row for row in rows if judge(row)]:
            return _FINDINGS[judge](bad)
    networks = sorted({row["interface"] for row in rows})
    return Finding(
        health=Health.OK,
        what=f"everything arrives on {', '.join(networks)}" if networks else "no other node is known to be asked",
    )


def unreachable(row: Row) -> bool:
    """Not even ARP gets through, though the node lives."""
    return bool(row["alive"] and row["arp"] is False and not row["hello"])


def multicast_filtered(row: Row) -> bool:
    """It answers ARP, and what it sends to the CARP group does not come, at least not over the family of its hellos."""
    is_mute = row["hello"] is False or (row["hello"] is None and bool(row["unheard"]))
    return bool(row["alive"] and row["arp"] is not False and is_mute and not row["refused"])


def silent(row: Row) -> bool:
    """It answers ARP, and its carp service is heard nowhere."""
    return bool(not row["alive"] and row["arp"])


def virtual_source_dropped(row: Row) -> bool:
    """What it sends to the CARP group from its own MAC arrives, from the virtual MAC not."""
    return bool(row["hello"] and row["unheard"])


def virtual_target_dropped(row: Row) -> bool:
    """It answers ARP at its own MAC and not at the virtual one."""
    return bool(row["arp"] and row["deaf"])


def _places(rows: Sequence[Row]) -> str:
    return ", ".join(f"{row['peer']} ({row['address']}) on {row['interface']}" for row in rows)


def _unreachable(rows: Sequence[Row]) -> Finding:
    return Finding(
        health=Health.FAIL,
        what=f"not even ARP reaches {_places(rows)}, although the link is up and the node is alive",
        why="each node becomes MASTER of what is on that network",
        fix="Put both ports into the same network: VLAN, trunk between the switches, port group. A virtual switch that "
        "has lost its uplink shows the node no lost link: let it take the port down, too.",
    )


def _multicast(rows: Sequence[Row]) -> Finding:
    return Finding(
        health=Health.FAIL,
        what=f"multicast does not arrive from {_places(rows)}, although it answers ARP",
        why="a node that hears no adverts becomes MASTER",
        fix="Let the switch pass the groups 224.0.0.18 and ff02::12 with IP protocol 112: IGMP or MLD snooping, storm "
        "control or a filter of a hypervisor drops them. Where that cannot be, set 'peers' of the VIPs on both nodes.",
    )


def _silent(rows: Sequence[Row]) -> Finding:
    return Finding(
        health=Health.WARN,
        what=f"no heartbeat comes from {_places(rows)}, although it answers ARP",
        why="the machine runs and its carp service does not, or multicast is dropped on every network",
        fix="Look at 'appliance show services' on that node; if carp runs there, at multicast in the switches.",
    )


def _virtual_source(rows: Sequence[Row]) -> Finding:
    return Finding(
        health=Health.FAIL,
        what=f"adverts do not arrive from {_places(rows)}, although multicast from its own MAC does",
        why="something drops frames from the virtual MAC, and both nodes become MASTER",
        fix='Allow "forged transmits" and "MAC address changes" at the virtual switch of that node, or more than one '
        "MAC per port where a switch has port security.",
    )


def _virtual_target(rows: Sequence[Row]) -> Finding:
    return Finding(
        health=Health.FAIL,
        what=f"frames to the virtual MAC do not reach {_places(rows)}, although it is MASTER and answers ARP",
        why="clients reach the node and not its virtual addresses",
        fix='Allow "promiscuous mode" at the virtual switch of that node, or MAC learning; with port mirroring, turn '
        "it off and on again. On a real switch look in its table for the port of 00:00:5e:00:01:xx.",
    )


_FINDINGS = {
    unreachable: _unreachable,
    multicast_filtered: _multicast,
    silent: _silent,
    virtual_source_dropped: _virtual_source,
    virtual_target_dropped: _virtual_target,
}


async def one_master(probe: Probe) -> Finding:
    """Two nodes that hold the same address cut connections at random."""
    rows = await _reach(probe)
    if rows is None:
        return _no_answer()
    both = sorted({f"{row['interface']}@{vhid} with {row['peer']}" for row in rows for vhid in row["both"]})
    if both:
        return Finding(
            health=Health.FAIL,
            what=f"two nodes are MASTER of {', '.join(both)}",
            why="the nodes do not hear, or do not believe, each other's adverts on that network",
            fix="carp-reach of both nodes says what does not arrive, the alarms what is not believed (password, "
            "addresses): 'appliance doctor --peers'.",
        )
    return Finding(health=Health.OK, what="no other node is MASTER of what this node holds")
