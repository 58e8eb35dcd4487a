"""The console commands ``show sync``, ``sync status``, ``sync now`` and ``sync diff``."""

from __future__ import annotations

from typing import Any

from appliance.errors import ApplianceError
from appliance.plugin import Argument, Command, CommandContext, ask
from appliance_xmlrpc_sync import report
from appliance_xmlrpc_sync.events import GetReceived
from appliance_xmlrpc_sync.preflight import rfc3339
from appliance_xmlrpc_sync.requests import DiffSync, GetSync, SyncNow

ANSWER_S = 5.0
"""The services answer from memory."""
PUSH_S = 310.0
"""A push of 10 MB takes some seconds; a peer that hangs, minutes."""


async def show_sync(context: CommandContext) -> dict[str, Any]:
    """How the configuration of the peers is, and what this node has received."""
    data: dict[str, Any] = await ask(context, GetSync(), table="xmlrpc_sync", within_s=ANSWER_S)
    if data["role"] == "secondary":
        data = _of_secondary(data, await ask(context, GetReceived(), table="xmlrpc_sync", within_s=ANSWER_S))
    return data


def _of_secondary(data: dict[str, Any], received: dict[str, Any]) -> dict[str, Any]:
    """The facts of a node that only receives: whether it still has what it has got."""
    got = {name: each for name, each in received["sections"].items() if each["origin"]}
    data = {**data, "received": received}
    if not got:
        return data
    drifted = [name for name, each in got.items() if each["drift"]]
    latest = max(got.values(), key=lambda each: each["at"])
    return data | {
        "peer": latest["origin"],
        "state": "behind" if drifted or received["phase"] != "idle" else "in-sync",
        "last_success": rfc3339(latest["at"]),
        "error": f"changed on this node since it was received: {', '.join(drifted)}" if drifted else None,
        "remedy": "Undo the change here, or make it on the primary: the next push overwrites it." if drifted else None,
    }


async def sync_now(context: CommandContext, *, force: bool = False) -> dict[str, Any]:
    """Push to every peer what it lacks, and wait for the result; exit 1 when one of them has not got it."""
    answer: dict[str, Any] = await ask(context, SyncNow(force=force), table="xmlrpc_sync", within_s=PUSH_S)
    return _judged(context, answer)


async def sync_diff(context: CommandContext) -> dict[str, Any]:
    """What each peer has and what it should have, key by key; exit 1 when one of them could not be asked."""
    answer: dict[str, Any] = await ask(context, DiffSync(), table="xmlrpc_sync", within_s=PUSH_S)
    return _judged(context, answer)


def _judged(context: CommandContext, answer: dict[str, Any]) -> dict[str, Any]:
    if not answer["peers"]:
        raise ApplianceError(
            "this node sends its configuration to nobody",
            hint="Run it on the primary, and name the other nodes there in `xmlrpc_sync.peers`.",
        )
    if any(row["error"] for row in answer["peers"]):
        context.exit_code = 1
    return answer


COMMANDS = (
    Command(
        path=("show", "sync"),
        help="Whether the other nodes have this node's configuration, section by section.",
        run=show_sync,
        reads=True,
        render=report.render,
    ),
    Command(path=("sync", "status"), help="The same as 'show sync'.", run=show_sync, reads=True, render=report.render),
    Command(
        path=("sync", "now"),
        help="Send every node what it lacks, now, and print what came of it.",
        run=sync_now,
        render=report.render_result,
        arguments=(
            Argument(name="--force", flag=True, help="overwrite what was changed there, whatever on_drift says"),
        ),
    ),
    Command(
        path=("sync", "diff"),
        help="What the other nodes have and what they should have, key by key; secrets are not shown.",
        run=sync_diff,
        reads=True,
        render=report.render_diff,
    ),
)
