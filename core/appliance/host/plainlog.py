"""The logger of isolated services: writes what `appliance.logs` writes, without structlog.

structlog would cost each such process 50 ms at its start and some megabytes of memory. A test holds the
two formats together.

Unlike the node's it never waits: whoever reads the log may be stopped (a paged terminal, a journal on a sick
disk), and a heartbeat must not stop with it. Lines that find no room are counted and the number is told later.
"""

from __future__ import annotations

import json
import select
import sys
from datetime import UTC, datetime
from typing import TextIO

from appliance.host.frames import LogSettings

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_EVENT_WIDTH = 30  # as structlog's console renderer
_LEVEL_WIDTH = 9


class PlainLogger:
    """Satisfies `appliance.plugin.Logger`."""

    def __init__(self, settings: LogSettings, *, node: str, stream: TextIO | None = None, **bound: object) -> None:
        self._settings = settings
        self._node = node
        self._stream = stream
        self._bound = bound
        self._lost = 0

    def debug(self, event: str, **fields: object) -> None:
        self._write("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, object]) -> None:
        if LEVELS[level] < self._settings.level:
            return
        stream = self._stream or sys.stderr
        try:
            if not _has_room(stream):
                self._lost += 1
                return
            if self._lost:
                lost, self._lost = self._lost, 0
                stream.write(self._line("warning", "log_lines_lost", {"lines": lost, "why": "nobody read them"}))
            stream.write(self._line(level, event, fields))
            stream.flush()
        except (OSError, ValueError):  # whoever read our log is gone; that is no reason to stop
            return

    def _line(self, level: str, event: str, fields: dict[str, object]) -> str:
        make = _json_line if self._settings.json else _text_line
        return make(level, event, self._bound | fields, self._node) + "\n"


def _has_room(stream: TextIO) -> bool:
    """Whether a line of ordinary length can be written without waiting: a pipe is ready when it has a free page."""
    try:
        number = stream.fileno()
    except OSError:
        return True  # it is memory
    ready = select.poll()
    ready.register(number, select.POLLOUT)
    return bool(ready.poll(0))


def _json_line(level: str, event: str, fields: dict[str, object], node: str) -> str:
    stamp = datetime.now(tz=UTC).isoformat().replace("+00:00", "Z")
    entry = fields | {"event": event}
    if node:
        entry.setdefault("node", node)
    return json.dumps(entry | {"level": level, "timestamp": stamp}, default=str)


def _text_line(level: str, event: str, fields: dict[str, object], node: str) -> str:
    stamp = datetime.now(tz=UTC).strftime("%H:%M:%S.%f")
    if node:
        fields.setdefault("node", node)
    texts = " ".join(f"{key}={_text(value)}" for key, value in sorted(fields.items()))
    return f"{stamp} [{level:<{_LEVEL_WIDTH}}] {event:<{_EVENT_WIDTH}} {texts}"


def _text(value: object) -> str:
    return value if isinstance(value, str) and not set(value) & set(" \t=\r\n\"'") else repr(value)
