"""Waiting for something to become true, instead of sleeping and hoping."""

from __future__ import annotations

from collections.abc import Callable

import trio

EVENTUALLY_S = 10.0
"""Long, because machines that run tests are busy; a test that passes does not wait for it."""

POLL_S = 0.005
"""Between two looks: short against anything a person would call immediate."""


async def eventually(condition: Callable[[], object], *, within_s: float = EVENTUALLY_S, what: str = "") -> None:
    """Wait until `condition()` is true.

    An `AssertionError` it raises counts as "not yet", so a condition may be written as assertions.

    Raises:
        AssertionError: It did not become true; says what was last seen.
    """
    last: AssertionError | None = None
    with trio.move_on_after(within_s):
        while True:
            try:
                if condition():
                    return
                last = None
            except AssertionError as error:
                last = error
            await trio.sleep(POLL_S)
    told = what or getattr(condition, "__name__", "the condition")
    raise AssertionError(f"{told} was not true within {within_s} s{f': {last}' if last else ''}")
