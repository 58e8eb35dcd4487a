"""What an event and a request are.

An event is a fact in the past tense, a frozen value without behaviour. A request asks exactly one
provider for an answer of type ``R``. Both are declared with a decorator that also registers the class,
so that the trace, the documentation and the isolation bridge can find it by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Generic, TypeVar, dataclass_transform

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")

SOURCE = "@source"
"""Stands for the publisher in ``@event(retain=SOURCE)``: one retained event per service."""


class Event:
    """Base of all events. Declare one with `@event()`, never by subclassing alone."""

    __slots__ = ()
    retain_by: ClassVar[tuple[str, ...] | None] = None


class Request(Generic[R_co]):
    """Base of all requests; ``class GetLeases(Request[tuple[Lease, ...]])`` types the answer."""

    __slots__ = ()


_events: dict[str, type[Event]] = {}
_requests: dict[str, type[Request[object]]] = {}


@dataclass_transform(frozen_default=True, kw_only_default=True)
def event(*, retain: str | tuple[str, ...] | None = None) -> Callable[[type[T]], type[T]]:
    """Make a class an event: frozen, slotted, keyword-only, and known by name.

    Args:
        retain: Keep the last event for each value of these fields and replay it to new subscribers.
            ``()`` keeps one per type, `SOURCE` one per publisher; ``None`` keeps nothing.
    """

    def decorate(cls: type[T]) -> type[T]:
        # Registering here and not in __init_subclass__: slots=True builds the class twice.
        made = dataclass(frozen=True, slots=True, kw_only=True)(cls)
        if not issubclass(made, Event):
            raise TypeError(f"{cls.__qualname__} is decorated with @event but is not an Event")
        made.retain_by = (retain,) if isinstance(retain, str) else retain
        _events[f"{made.__module__}:{made.__qualname__}"] = made
        return made

    return decorate


@dataclass_transform(frozen_default=True, kw_only_default=True)
def request(cls: type[T]) -> type[T]:
    """Make a class a request: frozen, slotted, keyword-only, and known by name."""
    made = dataclass(frozen=True, slots=True, kw_only=True)(cls)
    if not issubclass(made, Request):
        raise TypeError(f"{cls.__qualname__} is decorated with @request but is not a Request")
    _requests[f"{made.__module__}:{made.__qualname__}"] = made
    return made


def known_events() -> dict[str, type[Event]]:
    """All declared events by ``module:qualname``."""
    return dict(_events)


def known_requests() -> dict[str, type[Request[object]]]:
    """All declared requests by ``module:qualname``."""
    return dict(_requests)
