"""The console commands ``show notify`` and ``notify test``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from appliance.plugin import Argument, Command, CommandContext, ask
from appliance_notify.events import GetNotify, SendTestNotice
from appliance_notify.vocabulary import DELIVER_S

ANSWER_S = 2.0
"""The service answers from memory."""
TEST_S = DELIVER_S + 5.0
Rows = list[dict[str, Any]]


async def show_notify(context: CommandContext) -> Rows:
    """How each target is."""
    return await ask(context, GetNotify(), table="notify", within_s=ANSWER_S)


async def notify_test(context: CommandContext, *, target: str | None = None) -> Rows:
    """Send a test and say what became of it; exits with 1 when one was not delivered."""
    rows = await ask(context, SendTestNotice(target=target), table="notify", within_s=TEST_S)
    if not all(row["delivered"] for row in rows):
        context.exit_code = 1
    return rows


def render_targets(rows: Rows) -> str:
    """A line for each target, and why the last attempt failed."""
    if not rows:
        return "no targets are configured"
    head = ("NAME", "KIND", "WHERE", "FROM", "SENT", "LOST", "QUEUED", "LAST SENT")
    lines = _table([head, *(_target(row) for row in rows)])
    errors = [
        f"{row['name']}: failed {row['failures']} times in a row: {row['last_error']}"
        for row in rows
        if row["failures"]
    ]
    return "\n".join([*lines, *([""] if errors else []), *errors])


def _target(row: dict[str, Any]) -> tuple[str, ...]:
    classes = f" of {' '.join(row['classes'])}" if row["classes"] else ""
    return (
        row["name"],
        row["kind"],
        row["where"],
        f"{row['severity']}{classes}",
        str(row["sent"]),
        str(row["lost"]),
        str(row["queued"]),
        "never" if row["last_sent"] is None else row["last_sent"][:19] + "Z",
    )


def render_test(rows: Rows) -> str:
    """What became of each."""
    if not rows:
        return "no targets are configured"
    return "\n".join(
        f"{row['name']}: delivered to {row['where']} in {row['ms']} ms"
        if row["delivered"]
        else f"{row['name']}: NOT delivered: {row['error']}"
        for row in rows
    )


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


COMMANDS: tuple[Command, ...] = (
    Command(
        path=("show", "notify"),
        help="Who is notified, what was sent, and what could not be.",
        run=show_notify,
        reads=True,
        render=render_targets,
    ),
    Command(
        path=("notify", "test"),
        help="Send a test to all targets or to one, and say what became of it.",
        run=notify_test,
        render=render_test,
        arguments=(Argument(name="target", help="Only this target"),),
    ),
)
