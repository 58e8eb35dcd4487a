"""An event with the facts of its publication: when, by whom, in which order, and because of what."""

from __future__ import annotations

import dataclasses
import math
import reprlib
from contextvars import ContextVar
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

from appliance.events import Event

DEPTH_MAX = 8
"""How deep values inside an event are rendered; an event is a flat record, deeper is a mistake."""
TEXT_MAX = 200
"""Longest text of a value that has no form in JSON; it is there to be recognised, not to be parsed."""

_short = reprlib.Repr()  # it answers for objects whose own __repr__ raises, too
_short.maxother = _short.maxstring = TEXT_MAX


class Envelope(NamedTuple):
    """One publication. A tuple, because one is made per publish and a frozen dataclass costs three times as much."""

    seq: int
    """Position in the one total order of this bus; starts at 1, has no gaps."""
    monotonic: float
    """Seconds on the bus's clock; compare these, never `wall`."""
    wall: float
    """Seconds since 1970, for people."""
    source: str
    """Full name of the service that published it, ``plugin/key``."""
    cause: int | None
    """`seq` of what the publisher was handling at that moment."""
    event: Event
    depth: int = 0
    """Length of the chain of causes behind it."""

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`. Never raises, whatever the event holds and wherever its class came from."""
        return {
            "seq": self.seq,
            "monotonic": self.monotonic,
            "wall": self.wall,
            "source": self.source,
            "cause": self.cause,
            "type": type(self.event).__qualname__,
            "module": type(self.event).__module__,
            "event": plain(self.event),
        }


handling: ContextVar[tuple[object, Envelope] | None] = ContextVar("appliance.bus.handling", default=None)
"""What the current task is handling, with the bus it came from (several nodes can live in one process).

A context variable and not a table by task, so that tasks started while handling inherit the cause.
"""


def plain(value: object, depth: int = 0) -> object:
    """The value as dicts, lists, text, numbers, bools and ``None``; what has no such form as its short repr."""
    match value:
        case Enum():
            return plain(value.value, depth)
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)  # JSON knows neither inf nor nan
        case bytes():
            return value.hex()
        case _ if depth >= DEPTH_MAX:
            return _short.repr(value)
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = dataclasses.fields(value)
            return {field.name: plain(getattr(value, field.name, None), depth + 1) for field in fields}
        case dict() | MappingProxyType():
            return {_key(key): plain(item, depth + 1) for key, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [plain(item, depth + 1) for item in value]
        case _:
            return _text(value)


def _key(key: object) -> str:
    rendered = plain(key, DEPTH_MAX)
    return rendered if isinstance(rendered, str) else _short.repr(rendered)


def _text(value: object) -> str:
    # Addresses, paths and secrets (redacted) read best as str(); a foreign class gets the guarded repr.
    if type(value).__module__.partition(".")[0] in ("ipaddress", "pathlib", "pydantic"):
        return str(value)[:TEXT_MAX]
    return _short.repr(value)
