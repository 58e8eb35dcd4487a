"""Tables of a configuration file as text, and a file with some of its tables replaced. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any

import tomli
import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AoT, Table

from appliance.config.layout import is_block, with_new_tables, with_renamed
from appliance.config.parts import parts
from appliance.config.repeated import Known, loads

CAREFUL_MAX = 64 << 10
"""Characters of a text that is edited key by key, keeping the comments of what changes: that takes 3 s per MB."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN = frozenset({str, int, bool, float})
KEYS_MAX = 1024
"""Keys that are remembered: most stand in thousands of items."""
_encoded = json.JSONEncoder(ensure_ascii=False).encode


def rewritten(text: str, tables: Mapping[str, Mapping[str, Any] | None], data: Mapping[str, Any] | None = None) -> str:
    """As `replaced`; only the text."""
    return replaced(text, tables, data)[0]


def replaced(
    text: str,
    tables: Mapping[str, Mapping[str, Any] | None],
    data: Mapping[str, Any] | None = None,
    *,
    keeps_layout: bool = True,
) -> tuple[str, dict[str, Any]]:
    """The text of a configuration file with these tables as given, and what it says.

    Other tables are kept to the letter. Of a table that changes, comments and order survive where nothing changes, if
    the file is not larger than `CAREFUL_MAX`.

    Args:
        text: A valid file.
        tables: Whole tables by name; ``None`` removes one from the file.
        data: What the text says, if that is known.
        keeps_layout: Nobody laid these tables out if it is false: where they have no comments, there is nothing to
            survive, and they are written anew. That takes 1 ms and not 50 for a small file.
    """
    data = tomli.loads(text) if data is None else data
    written, found = text, dict(data)
    changed = {name: table for name, table in tables.items() if data.get(name) != table}
    if not changed:
        return written, found
    wanted = {name: table for name, table in {**data, **changed}.items() if table is not None}
    is_small = len(text) <= CAREFUL_MAX and len(text) + len(repr(changed)) <= CAREFUL_MAX
    is_careful = is_small and (keeps_layout or _has_comments(text, changed))
    for way in (_arranged, _edited, _spliced) if is_careful else (_spliced, _edited):
        # A line that looked like a header was none, or a layout was too unusual: the next way is plainer.
        with suppress(tomli.TOMLDecodeError, TOMLKitError):
            made = way(text, changed)
            written, found = made, loads(made, Known(text, data))
            if found == wanted:
                break
    return written, found


def _has_comments(text: str, tables: Collection[str]) -> bool:
    return any("#" in text[start:end] for name, start, end in parts(text) if name in tables)


def renamed(text: str, path: tuple[str, ...], name: str, data: Mapping[str, Any]) -> str:
    """The text with a table under another name, comments included where that can be.

    Args:
        text: A valid file.
        path: The table, by its keys.
        name: Its new name.
        data: What the file has to say then.
    """
    written = with_renamed(text, path, name)
    with suppress(tomli.TOMLDecodeError):
        if tomli.loads(written) == data:
            return written
    return rewritten(text, {path[0]: data[path[0]]})


# --- key by key --------------------------------------------------------------------------------------------


def _arranged(text: str, tables: Mapping[str, Mapping[str, Any] | None]) -> str:
    old = tomli.loads(text)
    wanted = {name: table for name, table in {**old, **tables}.items() if table is not None}
    text = with_new_tables(text, old, wanted, _written)
    now = tomli.loads(text)
    return _edited(text, {name: table for name, table in tables.items() if now.get(name) != table})


def _written(path: tuple[str, ...], value: Any) -> str:
    out: list[str] = []
    for each in [value] if isinstance(value, Mapping) else value:
        out += ["\n"] if out else []
        _table(path, each, out, item=each is not value)
    return "".join(out)


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
        elif isinstance(value, list) and is_block(value) and isinstance(old[key], AoT):
            _update_items(old[key], value)
        elif _plain(old[key]) != value:
            old[key] = value


def _update_items(old: AoT, new: list[Any]) -> None:
    """Items that stay keep their comments; those between them change, come or go."""
    before, after = [_mark(_plain(item)) for item in old], [_mark(item) for item in new]
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for tag, start, end, low, high in reversed(matcher.get_opcodes()):  # from the end, so that places stay right
        if tag == "equal":
            continue
        paired = min(end - start, high - low)
        for at in range(paired):
            _update(old[start + at], new[low + at])
        for at in reversed(range(start + paired, end)):
            del old[at]
        for offset, item in enumerate(new[low + paired : high]):
            old.insert(start + paired + offset, _new_item(item))


def _new_item(data: Mapping[str, Any]) -> Table:
    item = tomlkit.item(dict(data))
    assert isinstance(item, Table)
    item.add(tomlkit.nl())  # a blank line before whatever follows
    return item


def _mark(data: object) -> str:
    return json.dumps(data, sort_keys=True, default=str)


def _plain(value: Any) -> Any:
    return value.unwrap() if hasattr(value, "unwrap") else value


# --- table by table ----------------------------------------------------------------------------------------


def _spliced(text: str, tables: Mapping[str, Mapping[str, Any] | None]) -> str:
    """Cut the tables out and put new ones in their place.

    A line that looks like a header may stand inside of a string: whoever calls compares what became of it.
    """
    written: set[str] = set()
    out: list[str] = []
    for name, start, end in parts(text):
        if name not in tables:
            out.append(text[start:end])
        elif name not in written:
            written.add(name)
            if (table := tables[name]) is not None:
                _table((name,), table, out)
                out.append("\n")
    for name, table in tables.items():
        if table is not None and name not in written:
            out.append("\n")
            _table((name,), table, out)
    return "".join(out)


def _table(path: tuple[str, ...], table: Mapping[str, Any], out: list[str], *, item: bool = False) -> None:
    """Write a table with all that is in it: its own values, then the tables below it."""
    inner = {key: value for key, value in table.items() if type(value) not in _PLAIN and _is_below(value)}
    header = ".".join(map(_key, path))
    if item or len(inner) < len(table) or not table:
        out.append(f"[[{header}]]\n" if item else f"[{header}]\n")
    for key, value in table.items():
        if key not in inner:
            out.append(f"{_key(key)} = {literal(value)}\n")
    for key, value in inner.items():
        for each in [value] if isinstance(value, Mapping) else value:
            out.append("\n")
            _table((*path, key), each, out, item=each is not value)


def _is_below(value: object) -> bool:
    return isinstance(value, Mapping) or is_block(value)


@lru_cache(maxsize=KEYS_MAX)
def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else _string(text)


def _string(text: str) -> str:
    # A basic string of TOML is one of JSON, but for DEL, which has to be escaped too.
    written = _encoded(text)
    return written.replace("\x7f", "\\u007f") if "\x7f" in written else written


def literal(value: object) -> str:
    """A value as TOML writes it on one line."""
    if type(value) is str:  # most of them are
        return _string(value)
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
