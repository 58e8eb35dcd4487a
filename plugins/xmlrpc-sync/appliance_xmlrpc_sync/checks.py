"""What `appliance doctor` looks at for the synchronization, each with its remedy."""

from __future__ import annotations

from typing import Any

import trio

from appliance.config import Config
from appliance.events import Health
from appliance.plugin import Check, Finding, NoProvider, Probe
from appliance_xmlrpc_sync.alarms import SKEW_FAIL_S, SKEW_WARN_S
from appliance_xmlrpc_sync.requests import GetSync

ANSWER_S = 1.0


def checks(config: Config) -> list[Check]:
    """The checks for this configuration."""
    del config
    return [
        Check(name="sync-peers", help="Every peer has this node's configuration.", run=peers_are_in_sync),
        Check(name="sync-clocks", help="The clocks of the nodes agree.", run=clocks_agree),
    ]


async def _ask(probe: Probe) -> dict[str, Any] | None:
    try:
        with trio.fail_after(ANSWER_S):
            return await probe.call(GetSync())
    except (NoProvider, trio.TooSlowError):
        return None


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
    return Finding(health=Health.OK, what=f"the clocks of {len(apart)} peers agree within {SKEW_WARN_S:g} s")
