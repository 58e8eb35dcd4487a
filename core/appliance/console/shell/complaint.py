"""Errors of lines for people: a caret below the wrong word, what happened, what to do. Pure."""

from __future__ import annotations

from appliance.console.shell.words import LineError
from appliance.errors import ApplianceError

MARGIN = "    "
"""In front of a line that is repeated."""
AROUND = 12
"""Columns of a long line that are repeated before the wrong word."""


def complaint(error: ApplianceError, text: str, *, indent: int | None = None, width: int = 0) -> str:
    """Up to four lines.

    Args:
        error: What was raised.
        text: The line.
        indent: Column of the terminal where the line begins that is still above; `None` when it is not there.
        width: Columns of the terminal; 0 when there is none.
    """
    if not isinstance(error, LineError):
        return f"{error.message}\n  {error.hint}"
    if indent is not None and width and indent + len(text) < width:
        return f"{' ' * (indent + error.at)}^\n{error.message}\n  {error.hint}"
    room = width - len(MARGIN) - 1 if width else len(text)
    start = max(0, error.at - AROUND) if len(text) > room else 0
    shown = text[start : start + room]
    return "\n".join([error.message, f"{MARGIN}{shown}", f"{MARGIN}{' ' * (error.at - start)}^", f"  {error.hint}"])
