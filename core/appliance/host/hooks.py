"""Calls one hook implementation of one plugin: checked, attributed, and traced on request.

A hook is foreign code. Whatever it does, exactly one of two things comes out: a result of the right type,
or a `HookError` with one sentence about what is wrong with it.
"""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

TRACE_VARIABLE = "APPLIANCE_TRACE_HOOKS"
"""Set to 1, every hook call is written to stderr with its arguments and its result. May show secrets."""
SHOWN_MAX = 2000
"""Characters of one traced value."""


class Implementation(Protocol):
    """What is used of pluggy's HookImpl."""

    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def argnames(self) -> tuple[str, ...]: ...


class HookError(Exception):
    """A hook implementation failed; the text is complete but for the names of hook and plugin."""


def call(implementation: Implementation, arguments: Mapping[str, object], *, label: str) -> object:
    """Call it with those of the arguments that it names.

    Args:
        implementation: What pluggy found on the plugin.
        arguments: All that the hook offers.
        label: Hook and plugin, for the trace.

    Raises:
        HookError: It raised, or returned something to be awaited.
    """
    given = {name: arguments[name] for name in implementation.argnames}
    try:
        result = implementation.function(**given)
    except (Exception, SystemExit) as error:  # the border to foreign code
        failure = f"raised {describe(error)}"
        _trace(label, given, lambda: failure)
        raise HookError(failure) from error
    _trace(label, given, lambda: f"returned {_short(result, SHOWN_MAX)}")
    if inspect.isawaitable(result) or inspect.isasyncgen(result):
        if inspect.iscoroutine(result):
            result.close()  # nobody will await it; without this Python warns at some later time
        raise HookError("is asynchronous; hooks only declare, waiting belongs to services")
    return result


def one(result: object, kind: type[T]) -> T:
    """The result, which has to be of this class."""
    if not isinstance(result, kind):
        raise HookError(f"returned {_short(result)}; {_article(kind)} is needed")
    return result


def several(result: object, fits: Callable[[object], bool], wanted: str) -> list[Any]:
    """The result, which has to be a list or tuple of what fits."""
    if not isinstance(result, list | tuple):
        raise HookError(f"returned {_short(result)}; a list of {wanted} is needed")
    for item in result:
        if not fits(item):
            raise HookError(f"returned a list that holds {_short(item)}; only {wanted} fit")
    return list(result)


def describe(error: BaseException) -> str:
    """One line: type, text and where it was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({'/'.join(Path(frames[-1].filename).parts[-2:])}:{frames[-1].lineno})" if frames else ""
    text = "".join(traceback.format_exception_only(error))  # survives exceptions that cannot be printed
    return " ".join(text.split()) + where


def _trace(label: str, given: Mapping[str, object], outcome: Callable[[], str]) -> None:
    if os.environ.get(TRACE_VARIABLE, "") in ("", "0"):
        return
    shown = ", ".join(f"{name}={_short(value, SHOWN_MAX)}" for name, value in given.items())
    sys.stderr.write(f"{label}({shown}) {outcome()}\n")


def _short(value: object, length: int = 80) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - also a foreign __repr__ must not take others down
        text = object.__repr__(value)
    return text if len(text) <= length else f"{text[:length]}…"


def _article(kind: type) -> str:
    return f"{'an' if kind.__name__[0] in 'AEIOU' else 'a'} {kind.__name__}"
