"""``image upgrade-cluster`` and ``image upgrade-status``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance.events import Request
from appliance.plugin import Argument, Command, CommandContext, NoProvider
from appliance_images.cluster.events import GetUpgrade, UpgradeCluster

ANSWER_S = 5.0
EXAMINE_S = 180.0
"""A whole file is looked at, and the other node is asked."""
LOOK_S = 1.0
OVER = ("done", "failed", "none")


async def upgrade_cluster(context: CommandContext, *, file: str, dry_run: bool) -> AsyncIterator[dict[str, Any]]:
    """Begin, and tell how it goes until it is over or this node restarts; exits with 1 when it failed."""
    begun = await _ask(context, UpgradeCluster(file=file, dry_run=dry_run), EXAMINE_S)
    for what in begun["plan"]:
        yield {"what": f"plan: {what}"}
    if dry_run:
        return
    told, sent = 0, ""
    while True:
        now = await _ask(context, GetUpgrade(), ANSWER_S)
        for note in now["notes"][told:]:
            yield {"what": note["what"]}
        told = len(now["notes"])
        if now["phase"] in OVER:
            context.exit_code = 0 if now["phase"] == "done" else 1
            return
        if now["phase"] == "send" and now["sent"] != sent:
            sent = now["sent"]
            yield {"what": f"sent {sent}"}
        await trio.sleep(LOOK_S)


async def upgrade_status(context: CommandContext) -> dict[str, Any]:
    """How far it is; exits with 1 when it failed."""
    now = await _ask(context, GetUpgrade(), ANSWER_S)
    context.exit_code = 1 if now["phase"] == "failed" else 0
    return now


def render_status(now: dict[str, Any]) -> str:
    """Phase, and the story."""
    if now["phase"] == "none":
        return "no upgrade of the cluster was begun on this node"
    return "\n".join([f"{now['phase']}: to {now['version']}", *(f"  {note['what']}" for note in now["notes"])])


async def _ask(context: CommandContext, request: Request[dict[str, Any]], seconds: float) -> dict[str, Any]:
    try:
        with trio.fail_after(seconds):
            return await context.call(request)
    except NoProvider:
        raise ApplianceError(
            "this node does not take part in upgrades of a cluster",
            hint="It needs [upgrade] in its configuration and has to run from an image; see `appliance show services`.",
        ) from None
    except trio.TooSlowError:
        raise ApplianceError(
            f"no answer within {seconds:g} s",
            hint="See `appliance image upgrade-status` and `appliance show services`.",
        ) from None


COMMANDS = (
    Command(
        path=("image", "upgrade-cluster"),
        help="Upgrade both nodes, one after the other, from the MASTER; stops and goes back at the first doubt.",
        run=upgrade_cluster,
        render=lambda line: str(line["what"]),
        arguments=(
            Argument(name="file", required=True, help="an .upgrade file on this node, or a disk that holds one"),
            Argument(name="--dry-run", flag=True, help="check everything on both nodes and change nothing"),
        ),
    ),
    Command(
        path=("image", "upgrade-status"),
        help="How far the upgrade of the cluster is that was begun on this node.",
        run=upgrade_status,
        render=render_status,
        reads=True,
    ),
)
