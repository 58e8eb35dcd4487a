"""Structured logs: events with fields, JSON for machines, one readable line for people.

structlog is imported on first use, because the command line imports this module and must feel instant.
"""

from __future__ import annotations

import sys
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any, TextIO, cast

from appliance.errors import UsageError

if TYPE_CHECKING:
    from structlog.typing import Processor

    from appliance.plugin.context import Logger

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
"""Numbers as in the standard library."""


def configure(*, node: str, level: str = "info", stream: TextIO | None = None, json: bool | None = None) -> None:
    """Decide once per process how logs look. Loggers made before follow, too.

    Args:
        node: Written into every entry that does not name a node itself.
        level: The least important level that is written.
        stream: Where to; ``None`` is whatever `sys.stderr` is at that moment.
        json: One JSON object per line; ``None`` means when the stream is not a terminal.
    """
    import structlog

    if level not in LEVELS:
        raise UsageError(f"unknown log level {level!r}", hint=f"one of {', '.join(LEVELS)}")
    terminal = (stream or sys.stderr).isatty()
    as_json = not terminal if json is None else json

    def name_node(_: object, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if node:
            entry.setdefault("node", node)
        return entry

    processors: list[Processor] = [
        name_node,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True) if as_json else structlog.processors.TimeStamper("%T.%f"),
    ]
    if as_json:
        processors.append(structlog.processors.format_exc_info)
        processors.append(structlog.processors.JSONRenderer(default=str))
    else:
        plain = structlog.dev.plain_traceback
        processors.append(structlog.dev.ConsoleRenderer(colors=terminal, exception_formatter=plain))
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: _Writer(stream),
        cache_logger_on_first_use=False,
    )


def logger(**bound: object) -> Logger:
    """A logger whose entries carry these fields. Until `configure` was called, warnings go to stderr."""
    import structlog

    if not structlog.is_configured():
        configure(node="", level="warning")
    return cast("Logger", structlog.get_logger(**bound))


class _Writer:
    """Writes one line per entry. A full disk or a closed pipe loses log lines, never the service that logs."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        stream = self._stream or sys.stderr
        try:
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError):  # ValueError: the stream was closed
            return

    debug = info = warning = error = critical = msg
