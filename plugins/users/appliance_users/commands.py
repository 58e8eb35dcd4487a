"""The console commands ``show users`` and ``user password``."""

from __future__ import annotations

import getpass
import sys
from typing import Any

import trio

from appliance.errors import ApplianceError, UsageError
from appliance.identity.passwords import PASSWORD_MAX, hash_password
from appliance.plugin import Command, CommandContext, NoProvider, Where
from appliance_users.events import GetUsers

ANSWER_S = 2.0
"""The service answers from memory."""
LINE_MAX = 4 * PASSWORD_MAX
"""Characters of standard input that are looked at."""
NOBODY = (
    "no users: every member of the group `appliance` may do everything on this node\n"
    "Add some with [users.NAME]; if there is such a table, `appliance show plugins` says what is wrong."
)
Row = dict[str, Any]


async def show_users(context: CommandContext) -> list[Row]:
    """All users, without their hashes and keys."""
    try:
        with trio.fail_after(ANSWER_S):
            return await context.call(GetUsers())
    except NoProvider:
        return []
    except trio.TooSlowError:
        raise ApplianceError(
            f"the service of the users did not answer within {ANSWER_S:g} s", hint="See 'appliance show services'."
        ) from None


def user_password() -> Row:
    """Ask for a password, or read it from standard input, and make its hash.

    Raises:
        UsageError: The two passwords differ.
        ApplianceError: It cannot be a password.
    """
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
        if getpass.getpass("Again: ") != password:
            raise UsageError("the two passwords differ", hint="Try again.")
    else:
        password = sys.stdin.readline(LINE_MAX).rstrip("\r\n")
    return {"hash": hash_password(password)}


def render_users(rows: list[Row]) -> str:
    """One line a user."""
    head = ("NAME", "ROLE", "PASSWORD", "SSH KEYS", "STATE", "DESCRIPTION")
    lines = [head, *(_line(row) for row in rows)]
    if len(lines) == 1:
        return NOBODY
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _line(row: Row) -> tuple[str, ...]:
    state = "disabled" if row["disabled"] else "active"
    return (
        row["name"],
        row["role"],
        "yes" if row["has_password"] else "no",
        str(row["ssh_keys"] or "no"),
        f"{state}, this node only" if row["nosync"] else state,
        row["description"],
    )


def render_hash(data: Row) -> str:
    """As it goes into the file."""
    return f'hash = "{data["hash"]}"'


COMMANDS: tuple[Command, ...] = (
    Command(
        path=("show", "users"),
        help="Users, what they may do, and whether they have a password.",
        run=show_users,
        reads=True,
        render=render_users,
    ),
    Command(
        path=("user", "password"),
        help="Make the hash of a password for [users.NAME]: asked for twice, or a line of standard input.",
        run=user_password,
        render=render_hash,
        where=Where.LOCAL,
    ),
)
