"""The logger of isolated services: writes what `appliance.logs` writes, without structlog.

structlog would cost each such process 50 ms at its start and some megabytes of memory. A test holds the
two formats together.
"""

from __future__ import annotations

import json
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
        entry = self._bound | fields
        if self._node:
            entry.setdefault("node", self._node)
        line = _json_line(level, event, entry) if self._settings.json else _text_line(level, event, entry)
        stream = self._stream or sys.stderr
        try:
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError):  # whoever read our log is gone; that is no reason to stop
            return


def _json_line(level: str, event: str, entry: dict[str, object]) -> str:
    stamp = datetime.now(tz=UTC).isoformat().replace("+00:00", "Z")
    return json.dumps(entry | {"event": event, "level": level, "timestamp": stamp}, default=str)


def _text_line(level: str, event: str, entry: dict[str, object]) -> str:
    stamp = datetime.now(tz=UTC).strftime("%H:%M:%S.%f")
    fields = " ".join(f"{key}={_text(value)}" for key, value in sorted(entry.items()))
    return f"{stamp} [{level:<{_LEVEL_WIDTH}}] {event:<{_EVENT_WIDTH}} {fields}"


def _text(value: object) -> str:
    return value if isinstance(value, str) and value and not set(value) & set(" \t=\r\n\"'") else repr(value)
