"""Data to text for people: aligned tables, key/value lists, indentation. No colours, no dependency.

Lists of dicts become tables, dicts become ``key  value`` lines, nesting becomes indentation. Strings may
come from the network (a peer's name, an advert): whatever could drive a terminal is made visible.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

GAP = "  "
INDENT = "  "
COLUMN_MIN = 20
"""Columns below which wrapping the last cell of a table makes it unreadable; it then runs over."""


def render(data: Any, *, width: int = 0) -> str:
    """Any JSON-able data as text. `width` 0 never wraps."""
    if isinstance(data, Mapping):
        return _pairs(data, width)
    if isinstance(data, Sequence) and not isinstance(data, str):
        if data and all(isinstance(row, Mapping) for row in data):
            return table(data, width=width)
        return "\n".join(_cell(item) for item in data) if data else "none"
    return _cell(data, multiline=True)


def table(rows: Sequence[Mapping[str, Any]], *, columns: Iterable[str] | None = None, width: int = 0) -> str:
    """Rows as an aligned table. Columns are the keys in order of first appearance, unless given."""
    names = list(columns) if columns is not None else list(dict.fromkeys(key for row in rows for key in row))
    head = [name.replace("_", " ").upper() for name in names]
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    numeric = [bool(rows) and all(_is_number(row.get(name)) for row in rows) for name in names]
    widths = [max(len(line[index]) for line in [head, *cells]) for index in range(len(names))]
    return "\n".join(_row(line, widths, numeric, width) for line in [head, *cells])


def age(seconds: float) -> str:
    """A duration as people say it: ``0.4s``, ``12s``, ``3m 20s``, ``5h 2m``, ``12d 3h``."""
    if seconds < 10:
        return f"{max(seconds, 0.0):.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def visible(text: str) -> str:
    """The text without anything a terminal would act on; line ends and tabs stay."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return char.encode("unicode_escape", "backslashreplace").decode("ascii")


def _row(line: Sequence[str], widths: Sequence[int], numeric: Sequence[bool], width: int) -> str:
    padded = [
        text.rjust(size) if right else text.ljust(size) for text, size, right in zip(line, widths, numeric, strict=True)
    ]
    start = sum(widths[:-1]) + len(GAP) * (len(widths) - 1)
    room = width - start
    if not width or room < COLUMN_MIN or len(line[-1]) <= room:
        return GAP.join(padded).rstrip()
    first, *more = textwrap.wrap(line[-1], room) or [""]
    return "\n".join([GAP.join([*padded[:-1], first]), *(" " * start + text for text in more)])


def _pairs(data: Mapping[str, Any], width: int) -> str:
    if not data:
        return "none"
    flat = [len(str(key)) for key, value in data.items() if not _is_block(value)]
    column = max(flat, default=0)
    lines = []
    for key, value in data.items():
        name = str(key).replace("_", " ")
        if _is_block(value):
            lines.append(f"{name}:")
            lines.append(textwrap.indent(render(value, width=max(width - len(INDENT), 0)), INDENT))
        else:
            start = column + len(GAP)
            text = _cell(value, multiline=True).replace("\n", "\n" + " " * start)
            lines.append(f"{name:<{column}}{GAP}{text}".rstrip())
    return "\n".join(lines)


def _is_block(value: Any) -> bool:
    if isinstance(value, Mapping):
        return bool(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return any(isinstance(item, Mapping | list | tuple) for item in value)
    return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _cell(value: Any, *, multiline: bool = False) -> str:
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case str():
            text = visible(value)
            return text if multiline else text.replace("\n", " | ").replace("\t", " ")
        case float():
            return f"{value:.3f}".rstrip("0").rstrip(".")
        case int():
            return str(value)
        case list() | tuple() if not any(isinstance(item, Mapping | list | tuple) for item in value):
            return ", ".join(_cell(item) for item in value) or "-"
        case {} | []:
            return "-"
    return visible(json.dumps(value, default=str))
