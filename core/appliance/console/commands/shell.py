"""What the console shell asks a node for: the commands there are, the role for the prompt, and the live screen."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Protocol

import trio

from appliance.console.commands.configure import EditingNode
from appliance.console.ha_screen import render_ha
from appliance.console.shell.names import existing_names
from appliance.console.shell.snapshot import described
from appliance.events import ConfigApplied, ConfigRefused, RoleChanged
from appliance.plugin import Argument, Command, CommandContext, Overflow
from appliance.status import ha_status

Data = dict[str, Any]
LOOK_S = 1.0
"""Between two looks at what has no event: a confirmation, an editor who leaves."""
CHANGES_MAX = 64
"""Queued changes; only the state after the last one counts."""
INTERVAL_MIN_S = 0.2


class ShellContext(CommandContext, Protocol):
    """The context of these commands."""

    @property
    def appliance(self) -> EditingNode: ...


async def grammar(ctx: ShellContext) -> Data:
    """Every command of the node, and the names of existing things by kind."""
    from appliance.console.commands import daemon_commands

    contributed = [entry.command for entry in ctx.appliance.plugins.commands()]
    names = existing_names(ctx.appliance.config)
    return {
        "commands": [described(command) for command in (*daemon_commands(), *contributed)],
        "names": {kind: list(found) for kind, found in names.items()},
    }


async def watch(ctx: ShellContext) -> AsyncGenerator[Data, None]:
    """What the prompt shows, again whenever it changes."""
    node, last = ctx.appliance, None
    with (
        node.bus.subscribe(
            RoleChanged, ConfigApplied, ConfigRefused,
            name="shell", capacity=CHANGES_MAX, overflow=Overflow.DROP_OLDEST, replay=False,
        ) as changes
    ):  # fmt: skip
        while True:
            now, reloader = trio.current_time(), node.reloader
            left = reloader.unconfirmed_s
            seen = {
                "node": ctx.node.name,
                "role": ha_status(node, now=now)["role"],
                "revision": reloader.revision,
                "unconfirmed": left is not None,
                "editors": [each.who for each in node.editing.all()],
            }
            if seen != last:
                last = seen
                yield seen | {"unconfirmed_s": left}
            event = None
            with trio.move_on_after(LOOK_S):
                event = await changes.receive()
            if isinstance(event, ConfigRefused) and seen["unconfirmed"]:
                yield {"notice": f"{event.reason}; what was in force before it is again"}


async def monitor_ha(ctx: ShellContext, interval: float) -> AsyncGenerator[Data, None]:
    """The screen of `show ha`, again and again."""
    node = ctx.appliance
    while True:
        yield ha_status(node, now=trio.current_time())
        await trio.sleep(max(interval, INTERVAL_MIN_S))


COMMANDS: tuple[Command, ...] = (
    Command(
        path=("shell", "grammar"),
        help="The commands of this node, for the console shell.",
        run=grammar,
        reads=True,
    ),
    Command(
        path=("shell", "watch"),
        help="What the prompt of the console shell shows, whenever it changes.",
        run=watch,
        reads=True,
    ),
    Command(
        path=("monitor", "ha"),
        help="The screen of `show ha`, live.",
        run=monitor_ha,
        reads=True,
        arguments=(Argument(name="--interval", type=float, default=1.0, help="seconds between two looks"),),
        render=render_ha,
    ),
)
