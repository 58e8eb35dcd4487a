"""The console command ``show metrics``."""

from __future__ import annotations

from typing import Any

from appliance.plugin import Command, CommandContext, ask
from appliance_metrics.events import GetExporter

ANSWER_S = 2.0
"""The service answers from memory."""
Rows = list[dict[str, Any]]


async def show_metrics(context: CommandContext) -> Rows:
    """Where the numbers can be read."""
    return await ask(context, GetExporter(), table="metrics", within_s=ANSWER_S)


def render(rows: Rows) -> str:
    """A line for each address."""
    lines = []
    for row in rows:
        state = "listening" if row["listening"] else f"NOT LISTENING: {row['waiting_for']}"
        readers = ", ".join(row["readers"]) or "nobody"
        lines.append(f"{row['url']} on {row['interface']}: {state}")
        lines.append(f"  served {row['served']}, refused {row['refused']}; may be read by {readers}")
    return "\n".join(lines) or "no address to listen on"


COMMANDS: tuple[Command, ...] = (
    Command(
        path=("show", "metrics"),
        help="Where Prometheus can read the numbers of this node.",
        run=show_metrics,
        reads=True,
        render=render,
    ),
)
