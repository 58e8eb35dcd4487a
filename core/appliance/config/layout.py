"""Where new tables go in a text, and tables under another name. Pure; every line that was there stays as it is.

tomlkit puts a new table behind the comments at the end of the one before it, which are about the one after it. So new
tables are put into the text here, directly behind what they belong to. The caller verifies what became of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tomli

from appliance.config.positions import KeyPath, Positions, locate

Written = Callable[[tuple[str, ...], Any], str]
"""The text of a table, or of items of a list, with its headers."""
_HEADER = re.compile(r"\s*(\[\[?)([^#\n]+?)(\]\]?)(\s*(?:#.*)?)")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def with_new_tables(text: str, old: Mapping[str, Any], new: Mapping[str, Any], written: Written) -> str:
    """The text with those tables and items of lists that are new in `new`, and nothing else of it."""
    if "\r" in text:
        return text  # lines are counted without them
    for path, value in _additions(old, new, ()):
        found = locate(text)
        lines = text.split("\n")
        end = block_end(found, lines, path if isinstance(value, list) and path in found.keys else path[:-1])
        block = written(tuple(map(str, path)), value).strip("\n").split("\n")
        text = "\n".join([*lines[:end], *([""] if end else []), *block, *(lines[end:] or [""])])
    return text


def block_end(found: Positions, lines: list[str], path: KeyPath) -> int:
    """Number of the last line that is about this place. Comments behind it are about what follows."""
    marks = sorted((place.line, key[: len(path)] == path) for key, place in found.keys.items())
    last = max((at for at, (_, inside) in enumerate(marks) if inside), default=-1)
    end = marks[last + 1][0] - 1 if 0 <= last < len(marks) - 1 else len(lines)
    while end and (not lines[end - 1].strip() or (last < len(marks) - 1 and lines[end - 1].lstrip().startswith("#"))):
        end -= 1
    return end


def with_renamed(text: str, path: tuple[str, ...], name: str) -> str:
    """The text with the headers of a table, and of all tables in it, under another name."""
    lines = []
    for line in text.split("\n"):
        match = _HEADER.fullmatch(line)
        keys = _keys(line) if match else ()
        if match and keys[: len(path)] == path:
            header = ".".join(map(_key, (*path[:-1], name, *keys[len(path) :])))
            line = f"{match[1]}{header}{match[3]}{match[4]}"
        lines.append(line)
    return "\n".join(lines)


def _additions(old: Any, new: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    for key, value in new.items():
        before = old.get(key)
        if before is None and is_block(value):
            yield (*path, key), value
        elif isinstance(value, Mapping) and isinstance(before, Mapping):
            yield from _additions(before, value, (*path, key))
        elif is_block(value) and isinstance(before, list) and before == value[: len(before)] != value:
            yield (*path, key), value[len(before) :]


def is_block(value: object) -> bool:
    """Whether a value is written with a header: a table that is not empty, or tables in a list."""
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _keys(header: str) -> tuple[str, ...]:
    """The keys of a header line; none when it is none."""
    try:
        at: Any = tomli.loads(header)
    except tomli.TOMLDecodeError:
        return ()
    keys: list[str] = []
    while at:
        if isinstance(at, list):
            at = at[0]
        else:
            ((key, at),) = at.items()
            keys.append(key)
    return tuple(keys)


def _key(text: str) -> str:
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)
