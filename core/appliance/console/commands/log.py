"""`appliance show log`: the end of this node's log, read back from where the node and its processes write it.

Nothing is kept besides: services in processes of their own, and programs such as Kea, write to the same place. That is
a file, or the journal of systemd; from a terminal or a pipe nothing can be read back.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

import trio

from appliance.console.render import visible
from appliance.errors import ApplianceError, RefusedError
from appliance.logs import LEVELS
from appliance.plugin import Argument, Command, CommandContext

Row = dict[str, Any]
COUNT, COUNT_MAX = 50, 2000
LOOKED_AT = 20_000
"""Lines of the journal among which is searched."""
TAIL_BYTES = 4 << 20
"""Bytes at the end of a file among which is searched."""
ANSWER_S = 10.0
STDERR = 2
OWN = frozenset({"timestamp", "level", "event", "node", "service", "part"})
"""Fields of an entry that have a column."""


async def show_log(_: CommandContext, *, count: int, level: str, words: tuple[str, ...] | None = None) -> list[Row]:
    """The last entries that have all words and at least this level, oldest first."""
    if not 1 <= count <= COUNT_MAX:
        raise RefusedError(f"{count} entries cannot be shown", hint=f"Give 1 to {COUNT_MAX}.")
    with trio.move_on_after(ANSWER_S):
        lines = await _lines()
        # Thousands of lines take a moment that the loop of the node does not have.
        return await trio.to_thread.run_sync(last, lines, count, level, words or (), abandon_on_cancel=True)
    raise ApplianceError("the log could not be read in time", hint="See it there: `journalctl -u appliance`.")


async def _lines() -> list[str]:
    found = os.fstat(STDERR)
    if f"{found.st_dev}:{found.st_ino}" == os.environ.get("JOURNAL_STREAM"):
        return await _of_journal(os.environ.get("INVOCATION_ID", ""))
    if stat.S_ISREG(found.st_mode):
        return await trio.to_thread.run_sync(tail, f"/proc/self/fd/{STDERR}", abandon_on_cancel=True)
    raise RefusedError(
        "this node writes its log to a terminal or a pipe, where nothing can be read back",
        hint="Look there, or start it as a service or with 2>FILE; `appliance events` has what happened.",
    )


async def _of_journal(invocation: str) -> list[str]:
    """What this very run of the service has written, its children included."""
    which = f"_SYSTEMD_INVOCATION_ID={invocation}" if invocation else "_SYSTEMD_UNIT=appliance.service"
    argv = ["journalctl", "--quiet", "--no-pager", "--output=cat", f"--lines={LOOKED_AT}", which]
    try:
        done = await trio.run_process(argv, capture_stdout=True, stderr=subprocess.DEVNULL, check=False)
    except OSError as error:
        raise ApplianceError(f"journalctl cannot be run: {error.strerror}", hint="Install systemd's tools.") from None
    return done.stdout.decode(errors="replace").splitlines()


def tail(path: str) -> list[str]:
    """The whole lines at the end of a file, at most `TAIL_BYTES` of them."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = file.seek(max(size - TAIL_BYTES, 0))
        text = file.read(TAIL_BYTES).decode(errors="replace")
    return text.splitlines()[1 if start else 0 :]


def last(lines: Iterable[str], count: int, level: str, words: Iterable[str]) -> list[Row]:
    """The last entries of at least this level that have all words."""
    return list(deque(_matching(lines, level, words), maxlen=count))


def _matching(lines: Iterable[str], level: str, words: Iterable[str]) -> Iterator[Row]:
    wanted = [word.lower() for word in words]
    for line in lines:
        if all(word in line.lower() for word in wanted):
            row = entry(line)
            # What is no entry (a traceback, a program's own words) has no level and may matter most.
            if LEVELS.get(str(row.get("level")), LEVELS["error"]) >= LEVELS[level]:
                yield row


def entry(line: str) -> Row:
    """A line as data; ``{"text": …}`` when it is no entry of ours."""
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) and "event" in found else {"text": line}


def render_log(rows: list[Row]) -> str:
    """A line each: local time, level, who, what, and the fields."""
    return "\n".join(map(_line, rows)) if rows else "no such entry is in the log"


def _line(row: Mapping[str, Any]) -> str:
    if "event" not in row:
        return f"  {row['text']}"
    fields = " ".join(f"{key}={_value(value)}" for key, value in row.items() if key not in OWN)
    who = row.get("service") or row.get("part") or "-"
    return f"{_clock(row.get('timestamp'))} {row.get('level', '-'):<7} {who:<22} {row['event']} {fields}".rstrip()


def _clock(stamp: object) -> str:
    try:
        return datetime.fromisoformat(str(stamp)).astimezone().strftime("%m-%d %H:%M:%S.%f")[:-3]
    except ValueError:
        return "-"


def _value(value: object) -> str:
    text = visible(str(value)).replace("\n", "\\n")
    return f'"{text}"' if not text or " " in text else text


COMMANDS = (
    Command(
        path=("show", "log"),
        help="The end of this node's log, what its services and their programs say included.",
        run=show_log,
        reads=True,
        arguments=(
            Argument(name="--count", type=int, default=COUNT, help=f"entries at most, up to {COUNT_MAX}"),
            Argument(name="--level", default="debug", choices=tuple(LEVELS), help="the least important level"),
            Argument(name="words...", help="only lines that have all of these; case does not matter"),
        ),
        render=render_log,
    ),
)
