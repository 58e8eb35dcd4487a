"""The service ``stage``: a `Stage` on the devices of this node."""

from __future__ import annotations

from contextlib import ExitStack

import trio

from appliance.net.rtnl import Rtnl
from appliance.plugin import Context, Started
from appliance_drill.events import Begin, End
from appliance_drill.stage import Stage


async def set_link(device: str, up: bool) -> None:
    """Take a device up or down; one that is gone cannot be down.

    Raises:
        SystemCallError: The kernel refuses.
    """
    with Rtnl() as rtnl:
        index = next((link.index for link in await rtnl.links() if link.name == device), None)
        if index is not None:
            await rtnl.set_link(index, up=up)


async def run(ctx: Context, task_status: Started) -> None:
    """Answer until told to stop; what is rehearsed then is put back at the next start."""
    stage = Stage(ctx, set_link)
    with ExitStack() as stack:
        stack.enter_context(ctx.serve(Begin, stage.begin))
        stack.enter_context(ctx.serve(End, stage.end))
        stage.recover()
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.guard)
            await ctx.stopping.wait()
            nursery.cancel_scope.cancel(reason=f"{ctx.name} is stopping")
