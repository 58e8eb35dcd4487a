"""The one place where an unexpected error ends: a defect in one call or connection never ends the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

T = TypeVar("T")


class Log(Protocol):
    """The part of `appliance.plugin.Logger` that is used here."""

    def info(self, event: str, **fields: object) -> None: ...
    def warning(self, event: str, **fields: object) -> None: ...
    def error(self, event: str, **fields: object) -> None: ...


async def attempt(work: Callable[[], Awaitable[T]]) -> T | Exception:
    """What a coroutine function returns, or the error that it raises. Cancellation passes."""
    try:
        return await work()
    except Exception as error:  # noqa: BLE001 - the border between the server and what it runs
        return error
