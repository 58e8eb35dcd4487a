"""The console command ``show metrics``."""

from __future__ import annotations

from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance.plugin import Command, CommandContext, NoProvider
from appliance_metrics.events import GetExporter

ANSWER_S = 2.0
"""The service answers from memory."""
Rows = list[dict[str, Any]]


async def show_metrics(context: CommandContext) -> Rows:
    """Where the numbers can be read."""
    try:
        with trio.fail_after(ANSWER_S):
            return await context.call(GetExporter())
    except NoProvider:
        raise ApplianceError(
            "metrics are not served on this node",
            hint="Add [metrics] with listen = [\"lan\"]; if it is there, see 'appliance show services'.",
        ) from None
    except trio.TooSlowError:
        raise ApplianceError(
            f"the metrics service did not answer within {ANSWER_S:g} s", hint="See 'appliance show services'."
        ) from None


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
