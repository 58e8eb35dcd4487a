"""The console commands ``show ssh`` and ``ssh disconnect``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from appliance.plugin import Argument, Command, CommandContext, ask
from appliance_ssh.events import EndSession, GetSsh

ANSWER_S = 2.0
"""The service answers from memory."""
Data = dict[str, Any]


async def show_ssh(context: CommandContext) -> Data:
    """Where it listens, and who is in."""
    answer: Data = await ask(context, GetSsh(), table="ssh", within_s=ANSWER_S)
    return answer


async def disconnect(context: CommandContext, number: int) -> Data:
    """End a session."""
    return {"result": await ask(context, EndSession(number=number), table="ssh", within_s=ANSWER_S)}


def render(data: Data) -> str:
    """Addresses, the host key, users, sessions."""
    return "\n".join(_lines(data))


def _lines(data: Data) -> Iterator[str]:
    for row in data["listening"]:
        state = "listening" if row["listening"] else f"NOT LISTENING: {row['waiting_for']}"
        yield f"{row['address']} port {row['port']} on {row['interface']}: {state}"
        yield f"  for {', '.join(row['sources']) or 'nobody'}"
    yield f"host key: ED25519 {data['host_key']}"
    able = [row["name"] for row in data["users"] if not row["problem"]]
    yield f"users with keys: {', '.join(able) or 'none'}"
    yield from (f"{row['name']} CANNOT LOG IN: {row['problem']}" for row in data["users"] if row["problem"])
    if not data["sessions"]:
        yield "no sessions"
        return
    head = ("SESSION", "USER", "FROM", "INTERFACE", "SINCE")
    names = ("number", "user", "source", "interface", "since")
    rows = [head, *(tuple(str(row[name]) for name in names) for row in data["sessions"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


COMMANDS: tuple[Command, ...] = (
    Command(
        path=("show", "ssh"),
        help="Where people log in over SSH, the fingerprint of the host key, and who is in.",
        run=show_ssh,
        reads=True,
        render=render,
    ),
    Command(
        path=("ssh", "disconnect"),
        help="End a session.",
        run=disconnect,
        render=lambda data: str(data["result"]),
        arguments=(Argument(name="number", help="Its number in `show ssh`", type=int, required=True),),
    ),
)
