"""A large text that is mostly as it was is mostly not read again. Pure.

Files grow large by one thing that repeats: forty thousand times ``[[firewall.rule]]``. Such a block that stands in the
text in force as well says what it said there; the parser reads the others, and of each row of blocks the last one with
whatever stands between the rows. What comes out is what the parser would make of the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import tomli

SMALL_MAX = 256 << 10
"""Characters of a text that is always read whole: that takes 15 ms."""
FRESH_MAX = 4096
"""Blocks that are read one by one; beyond that the whole is read at once, which is quicker."""
_LINE = re.compile(r"\n[ \t]*\[([^\n]*)")
"""Where a header may be, or a list in a list; the rest of the line is what counts."""
_HEADER = re.compile(r"\[([A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)*)\]\]")
"""The rest of a line that is the header of a block and nothing else: a list may hold ``[[1]]``, but no bare word."""
_VALUES = frozenset({"true", "false", "inf", "nan"})
_MULTILINE = ('"""', "'''")
"""What may hide lines that look like headers."""


class Known(NamedTuple):
    """A text that has been read, and what it says."""

    text: str
    data: Mapping[str, Any]


class _Row(NamedTuple):
    """Blocks of one list that follow each other; the last one may go on behind them."""

    name: str
    """Of the list; empty for a piece of something else."""
    blocks: list[str]


def loads(text: str, known: Known | None = None) -> dict[str, Any]:
    """As `tomli.loads`. Items of lists that stand in the known text too are the objects that they are there.

    Raises:
        tomli.TOMLDecodeError: It is not TOML.
    """
    found = _mostly_known(text, known) if known is not None and len(text) > SMALL_MAX else None
    return tomli.loads(text) if found is None else found


def _mostly_known(text: str, known: Known) -> dict[str, Any] | None:
    """What a text says; nothing when it is not laid out in rows of blocks, is mostly new, or not right."""
    if any(quotes in text or quotes in known.text for quotes in _MULTILINE):
        return None
    items = _items(known)
    rest: list[str] = []
    rows: dict[str, list[list[Any]]] = {}
    fresh = 0
    try:
        for name, blocks in _rows(text):
            rest.append(blocks.pop())
            if not name:
                continue
            fresh += sum(block not in items for block in blocks)
            if fresh > FRESH_MAX:
                return None
            rows.setdefault(name, []).append([items[each] if each in items else _item(name, each) for each in blocks])
        data = tomli.loads("".join(rest))
        for name, found in rows.items():
            _put(data, name, found)
    except (tomli.TOMLDecodeError, LookupError, TypeError):
        return None  # the parser says what is wrong where, if anything is
    return data


def _items(known: Known) -> dict[str, Any]:
    """What each block of a text says."""
    blocks: dict[str, list[str | None]] = {}
    for row in _rows(known.text):
        if row.name:
            blocks.setdefault(row.name, []).extend([*row.blocks[:-1], None])
    found: dict[str, Any] = {}
    for name, texts in blocks.items():
        try:
            said = _at(known.data, name)[name.rpartition(".")[2]]
        except (LookupError, TypeError):
            continue
        if isinstance(said, list) and len(said) == len(texts):  # else some header is written in an unusual way
            found.update((text, item) for text, item in zip(texts, said, strict=True) if text is not None)
    return found


def _rows(text: str) -> Iterator[_Row]:
    """The text in order; what is no block is a row of its own."""
    names: dict[str, str] = {}
    name, start, blocks = "", 0, []
    for line in _LINE.finditer(text):
        end, header = line.start() + 1, line[1]
        blocks.append(text[start:end])
        start = end
        found = names.get(header)
        if found is None:
            found = names[header] = _name(header)
        if found != name or not name:
            yield _Row(name, blocks)
            name, blocks = found, []
    blocks.append(text[start:])
    yield _Row(name, blocks)


def _name(header: str) -> str:
    match = _HEADER.fullmatch(header)
    return match[1] if match is not None and match[1] not in _VALUES else ""


def _item(name: str, block: str) -> Any:
    """What one block says: there is no other header in it.

    Raises:
        tomli.TOMLDecodeError: It is wrong.
    """
    return _at(tomli.loads(block), name)[name.rpartition(".")[2]][0]


def _at(data: Mapping[str, Any], name: str) -> Any:
    """The table that holds a list."""
    for key in name.split(".")[:-1]:
        data = data[key]
    return data


def _put(data: dict[str, Any], name: str, rows: list[list[Any]]) -> None:
    """Put items in front of the last one of each row.

    Raises:
        LookupError: The list is laid out in another way.
    """
    table, key = _at(data, name), name.rpartition(".")[2]
    last = table[key]
    if len(last) != len(rows):
        raise LookupError(name)
    table[key] = [item for before, end in zip(rows, last, strict=True) for item in (*before, end)]
