"""What a drill on a cluster in use looks at, before and after: status, replication, synchronization, DHCP. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

JsonObject = dict[str, Any]
Judge = Callable[[JsonObject, "Situation"], tuple[str, str]]
"""From an answer of the node to what is wrong with it, or else what it says."""
STATES_APART = 0.2
"""Share by which the number of states of two nodes may differ: those of the nodes' own connections are not replicated,
and others come and go."""
STATES_FEW = 100
"""Fewer than this many are not compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """Who has what, as one node sees it."""

    node: str = ""
    """Which node that is."""
    master: str = ""
    """Who is MASTER of everything; empty when nobody is."""
    nodes: Mapping[str, bool] = field(default_factory=dict)
    """The other nodes, and whether they are heard."""
    trouble: str = ""
    """Why a drill must not begin."""
    since: float = 0.0
    """Unix time of this node's last change of a role; 0: it has not said."""
    silent_s: float | None = None
    """How long ago an advert of another node was heard; ``None`` when none has been."""

    @property
    def is_master(self) -> bool:
        """Whether it is the node that looks."""
        return bool(self.master) and self.master == self.node

    @property
    def text(self) -> str:
        """For people."""
        return f"MASTER of everything: {self.master or 'nobody'}"


def situation(show_carp: JsonObject) -> Situation:
    """Made of ``show carp``."""
    node, vips = str(show_carp["node"]), show_carp["vips"]
    wanted = {(vip["interface"], vip["vhid"]) for vip in vips}
    masters = [node] if vips and all(vip["state"] == "MASTER" for vip in vips) else []
    for other in show_carp["nodes"]:
        held = {(each["interface"], each["vhid"]) for each in other["states"] if each["state"] == "MASTER"}
        if other["alive"] and wanted and held >= wanted:
            masters.append(str(other["name"]))
    nodes = {str(other["name"]): bool(other["alive"]) for other in show_carp["nodes"]}
    return Situation(
        node=node,
        master=masters[0] if len(masters) == 1 else "",
        nodes=nodes,
        trouble=_trouble(show_carp, masters, nodes),
        since=max((datetime.fromisoformat(vip["since"]).timestamp() for vip in vips), default=0.0),
        silent_s=min((peer["last_seen_ms"] / 1000 for vip in vips for peer in vip["peers"]), default=None),
    )


def _trouble(show_carp: JsonObject, masters: list[str], nodes: Mapping[str, bool]) -> str:
    reasons = ", ".join(str(each["name"]) for each in show_carp["reasons"])
    if not show_carp["enabled"]:
        return "CARP is disabled on this node"
    if reasons or show_carp["maintenance"]:
        return f"this node has demoted itself: {reasons or 'maintenance'}"
    if show_carp["resigned"]:
        return "this node has handed over, `appliance ha enable` ends that"
    if not any(nodes.values()):
        return "no other node is heard"
    silent = ", ".join(name for name, alive in nodes.items() if not alive)
    if silent:
        return f"{silent} is not heard any more"
    if len(masters) != 1:
        return "nobody is MASTER of everything" if not masters else f"{' and '.join(masters)} are MASTER"
    return ""


def judge_status(show_ha: JsonObject, before: Situation) -> tuple[str, str]:
    """``show ha``."""
    bad = [problem["what"] for problem in show_ha["problems"] if problem["health"] == "fail"]
    sick = [f"{peer['peer']}: {peer['summary']}" for peer in show_ha["peers"] if not peer["alive"]]
    peers = ", ".join(f"{peer['peer']} {peer['summary']}" for peer in show_ha["peers"])
    return "; ".join([*bad, *sick]), f"{show_ha['summary']}; {peers}"


def judge_states(show_pfsync: JsonObject, before: Situation) -> tuple[str, str]:
    """``show pfsync``: the backup has the states, because it could not invent them later."""
    mine, theirs = show_pfsync["states"], show_pfsync["peer_states"]
    told = f"{mine} states here, {theirs} on {show_pfsync['peer']}"
    if show_pfsync["error"]:
        return str(show_pfsync["error"]), ""
    if show_pfsync["peer"] is None or theirs is None:
        return "no other node is heard by pfsync", ""
    if show_pfsync["bulk"] in ("running", "failed"):
        return f"the bulk update is {show_pfsync['bulk']}", ""
    if max(mine, theirs) > STATES_FEW and abs(mine - theirs) > STATES_APART * max(mine, theirs):
        return told, ""
    return "", told


def judge_sync(show_sync: JsonObject, before: Situation) -> tuple[str, str]:
    """``show sync``. Only the primary knows."""
    if show_sync["state"] == "off":
        return "", f"not looked at here: this node is {show_sync['role']}"
    state = show_sync["state"]
    wrong = "" if state == "in-sync" else f"{state}: {show_sync['error'] or 'no reason given'}"
    return wrong, f"{show_sync['peer']} has generation {show_sync['peer_generation']}"


def judge_dhcp(show_dhcp: JsonObject, before: Situation) -> tuple[str, str]:
    """``show dhcp``: served by the node with the addresses, and the other one has the leases."""
    wrong = dhcp_is_with(show_dhcp, "me" if before.is_master else "peer")
    late = [f"{each['interface']} {each['replication']}" for each in show_dhcp["pools"] if not _is_replicated(each)]
    told = f"leases: {show_dhcp['leases_total']}, pools: {len(show_dhcp['pools'])}"
    return wrong or "; ".join(late), f"{told}; the other node says it has them"


def dhcp_is_with(show_dhcp: JsonObject, who: str) -> str:
    """What is wrong with it: every pool has to be served by ``me`` or by a ``peer``, and by one only."""
    for pool in show_dhcp["pools"]:
        states = (pool["my_state"], pool["peer_state"])
        here, there = states if who == "me" else states[::-1]
        if here != "serving" or there == "serving":
            return f"{pool['interface']} is {states[0]} here and {states[1]} there"
    return ""


def _is_replicated(pool: JsonObject) -> bool:
    return bool(pool["replication"] == "synchronized")


CHECKS: tuple[tuple[str, tuple[str, ...], Judge], ...] = (
    ("status", ("show", "ha"), judge_status),
    ("replication", ("show", "pfsync"), judge_states),
    ("synchronization", ("show", "sync"), judge_sync),
    ("DHCP", ("show", "dhcp"), judge_dhcp),
)
"""Name, the question to the node, and who judges the answer."""
