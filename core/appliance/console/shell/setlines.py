"""Configuration data as `set` commands. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from appliance.console.shell.words import quoted

NAME = "name"
"""The key by which an item of a list is called."""
_LOOKS_OTHER = re.compile(r"[+-]?[0-9][0-9_.eExXa-fA-F:T-]*|true|false|[+-]?(inf|nan)")


def set_lines(data: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """One command for each value; items of lists by their name, or else by their number."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from set_lines(value, (*path, str(key)))
    elif isinstance(data, list) and data and all(isinstance(item, Mapping) for item in data):
        for at, item in enumerate(data):
            rest = {key: value for key, value in item.items() if key != NAME}
            name = item.get(NAME) if rest else None
            yield from set_lines(rest or item, (*path, name if isinstance(name, str) else str(at)))
    elif isinstance(data, list):
        if data:
            yield " ".join(["set", *map(quoted, path), *(_word(item) for item in data)])
    else:
        yield " ".join(["set", *map(quoted, path), _word(data)])


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and _LOOKS_OTHER.fullmatch(value):
        return f'"{value}"'  # text, although it looks like a number
    return quoted(str(value))
