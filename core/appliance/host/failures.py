"""How failures of services are told: in one line, from the first leaf of a group, across processes.

Imported by isolated services; it must stay light.
"""

from __future__ import annotations

import pickle
import traceback

from appliance.errors import ApplianceError
from appliance.plugin.context import NoProvider, ProviderFailed


class NotReadyError(Exception):
    """Something did not happen in time."""


class ReturnedError(Exception):
    """The service ended where it should have gone on."""


class RemoteError(Exception):
    """Something raised in another process; its text already reads ``Type: message``."""

    def __init__(self, line: str, detail: str = "") -> None:
        super().__init__(line, detail)
        self.line = line
        self.detail = detail
        """The traceback over there."""

    def __str__(self) -> str:
        return self.line


def first_leaf(error: BaseException) -> BaseException:
    """The error itself, or the first one inside a group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def only_leaf(error: BaseException) -> BaseException:
    """The single error inside groups that nurseries wrap around it; a group when there are several."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def one_line(error: BaseException) -> str:
    """Exception type and text in one line."""
    error = first_leaf(error)
    text = " ".join(str(error).split())
    if isinstance(error, (RemoteError, NotReadyError, ReturnedError)):
        return text
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind


def detail(error: BaseException) -> str:
    """The traceback, from wherever the error was raised."""
    leaf = first_leaf(error)
    if isinstance(leaf, RemoteError) and leaf.detail:
        return leaf.detail
    return "".join(traceback.format_exception(error))


def portable(error: Exception) -> Exception:
    """The error in a form that another process can unpickle.

    What a caller may tell apart (an `ApplianceError`, a missing or broken provider) arrives as itself;
    everything else as a `RemoteError` with the same text.
    """
    leaf = only_leaf(error)
    if isinstance(leaf, (ApplianceError, NoProvider, ProviderFailed, RemoteError)):
        try:
            pickle.loads(pickle.dumps(leaf))
        except Exception:  # noqa: BLE001 - a foreign class may fail in any way
            if isinstance(leaf, ApplianceError):
                return ApplianceError(leaf.message, hint=leaf.hint)
        else:
            return leaf
    return RemoteError(one_line(error), detail(error))
