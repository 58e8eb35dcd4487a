"""Tables of a configuration file as text, and a file with some of its tables replaced. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime, time
from typing import Any

import tomli
import tomlkit
from tomlkit.items import AoT, Table

CAREFUL_MAX = 64 << 10
"""Characters of a text that is edited key by key, keeping the comments of what changes: that takes 3 s per MB."""
# Begins with a line end and not with "^", for which a regular expression stops at every character.
_HEADER = re.compile(r"\n[ \t]*\[\[?[ \t]*(\"[^\"\n]*\"|'[^'\n]*'|[A-Za-z0-9_-]+)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def rewritten(text: str, tables: Mapping[str, Mapping[str, Any] | None], data: Mapping[str, Any] | None = None) -> str:
    """The text of a configuration file with these tables as given.

    Other tables are kept to the letter. Of a table that changes, comments and order survive where nothing changes, if
    the file is not larger than `CAREFUL_MAX`.

    Args:
        text: A valid file.
        tables: Whole tables by name; ``None`` removes one from the file.
        data: What the text says, if that is known.
    """
    data = tomli.loads(text) if data is None else data
    changed = {name: table for name, table in tables.items() if data.get(name) != table}
    if not changed:
        return text
    if len(text) + len(repr(changed)) > CAREFUL_MAX:
        wanted = {name: table for name, table in {**data, **changed}.items() if table is not None}
        spliced = _spliced(text, changed)
        with suppress(tomli.TOMLDecodeError):  # a line that looked like a header was none
            if tomli.loads(spliced) == wanted:
                return spliced
    return _edited(text, changed)


# --- key by key --------------------------------------------------------------------------------------------


def _edited(text: str, tables: Mapping[str, Mapping[str, Any] | None]) -> str:
    document = tomlkit.parse(text)
    for name, table in tables.items():
        if table is None:
            document.pop(name, None)
        elif name in document and isinstance(document[name], Table):
            _update(document[name], table)
        else:
            document[name] = table
    return tomlkit.dumps(document)


def _update(old: Any, new: Mapping[str, Any]) -> None:
    for key in list(old):
        if key not in new:
            del old[key]
    for key, value in new.items():
        if key not in old:
            old[key] = value
        elif isinstance(value, Mapping) and isinstance(old[key], Table):
            _update(old[key], value)
        elif isinstance(value, list) and isinstance(old[key], AoT) and len(old[key]) == len(value):
            for item, wanted in zip(old[key], value, strict=True):
                _update(item, wanted)
        elif _plain(old[key]) != value:
            old[key] = value


def _plain(value: Any) -> Any:
    return value.unwrap() if hasattr(value, "unwrap") else value


# --- table by table ----------------------------------------------------------------------------------------


def _spliced(text: str, tables: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Cut the tables out and put new ones in their place.

    A line that looks like a header may stand inside of a string: whoever calls compares what became of it.
    """
    headers = [(match.start(), match[1].strip("\"'")) for match in _HEADER.finditer("\n" + text)]
    starts = [start for start, _ in headers] + [len(text)]
    written: set[str] = set()
    parts = [text[: starts[0]]]
    for number, (start, name) in enumerate(headers):
        if name not in tables:
            parts.append(text[start : starts[number + 1]])
        elif name not in written:
            written.add(name)
            table = tables[name]
            parts.append("".join(_table((name,), table)) + "\n" if table is not None else "")
    rest = [
        "".join(_table((name,), table)) for name, table in tables.items() if table is not None and name not in written
    ]
    return "".join(parts) + "".join(f"\n{each}" for each in rest)


def _table(path: tuple[str, ...], table: Mapping[str, Any], *, item: bool = False) -> Iterator[str]:
    """A table with all that is in it: its own values, then the tables below it."""
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping) or _is_tables(value)}
    header = ".".join(map(_key, path))
    if item or len(inner) < len(table) or not table:
        yield f"[[{header}]]\n" if item else f"[{header}]\n"
    for key, value in table.items():
        if key not in inner:
            yield f"{_key(key)} = {literal(value)}\n"
    for key, value in inner.items():
        if isinstance(value, Mapping):
            yield "\n"
            yield from _table((*path, key), value)
        else:
            for each in value:
                yield "\n"
                yield from _table((*path, key), each, item=True)


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else _string(text)


def _string(text: str) -> str:
    # A basic string of TOML is one of JSON, but for DEL, which has to be escaped too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def literal(value: object) -> str:
    """A value as TOML writes it on one line."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _string(value)
        case int():
            return str(value)
        case float():
            return repr(value)
        case datetime() | date() | time():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(literal, value))}]"
        case Mapping():
            pairs = (f"{_key(key)} = {literal(each)}" for key, each in value.items())
            return f"{{ {', '.join(pairs)} }}"
    raise TypeError(f"TOML has no {type(value).__name__}")
