"""A text cut at the headers of its tables: most work on a large file is about one table of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

import tomli

# Begins with a line end and not with "^", for which a regular expression stops at every character.
_HEADER = re.compile(r"\n[ \t]*\[\[?[ \t]*(\"[^\"\n]*\"|'[^'\n]*'|[A-Za-z0-9_-]+)")


class Part(NamedTuple):
    """A header with all that follows, up to the next header."""

    name: str
    """Of the table at the top; empty for what stands before the first header."""
    start: int
    end: int


def parts(text: str) -> list[Part]:
    """A valid text in pieces.

    A line that looks like a header may stand inside of a string, and a name may be written with escapes: whoever calls
    compares what becomes of it.
    """
    headers = [(match.start(), match[1].strip("\"'")) for match in _HEADER.finditer("\n" + text)]
    ends = [start for start, _ in headers[1:]] + [len(text)]
    head = Part("", 0, headers[0][0] if headers else len(text))
    return [head, *(Part(name, start, end) for (start, name), end in zip(headers, ends, strict=False))]


def excerpt(text: str, data: Mapping[str, object], names: Collection[str]) -> str:
    """The text with empty lines in place of all tables but these; all of it where it cannot be cut.

    Args:
        text: A valid file.
        data: What it says.
        names: Tables at the top.
    """
    kept = []
    for name, start, end in parts(text):
        kept.append(text[start:end] if not name or name in names else "\n" * text.count("\n", start, end))
    cut = "".join(kept)
    try:
        found = tomli.loads(cut)
    except tomli.TOMLDecodeError:
        return text
    wanted = {name for name in names if name in data}
    is_right = wanted <= found.keys() and all(data.get(name) == table for name, table in found.items())
    return cut if is_right else text
