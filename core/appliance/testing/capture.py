"""Log entries as data, for each node its own, also when several run in one process.

The node is found through a context variable: a task inherits it from whoever started it, so everything
that happens inside a node logs to that node.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator, MutableMapping
from contextvars import ContextVar
from typing import Any

import structlog

ENTRIES_MAX = 10_000
"""Entries kept per node; the oldest go first. No test reads more."""

Entries = deque[dict[str, Any]]

_entries: ContextVar[Entries | None] = ContextVar("appliance_testing_entries", default=None)


class _Installation:
    """The configuration of structlog belongs to the process; the first capture changes it, the last restores it."""

    users = 0
    before: dict[str, Any] = {}


def _record(_logger: object, method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    entries = _entries.get()
    if entries is not None:
        entries.append(dict(entry) | {"level": method})
    raise structlog.DropEvent


@contextlib.contextmanager
def capturing() -> Iterator[None]:
    """Take over all logging of this process while the block lasts."""
    if _Installation.users == 0:
        _Installation.before = structlog.get_config()
        everything = structlog.make_filtering_bound_logger(0)
        structlog.configure(processors=[_record], wrapper_class=everything, cache_logger_on_first_use=False)
    _Installation.users += 1
    try:
        yield
    finally:
        _Installation.users -= 1
        if _Installation.users == 0:
            structlog.configure(**_Installation.before)


@contextlib.contextmanager
def logging_to(entries: Entries) -> Iterator[None]:
    """What is logged by this task, and by tasks it starts, goes here."""
    token = _entries.set(entries)
    try:
        yield
    finally:
        _entries.reset(token)
