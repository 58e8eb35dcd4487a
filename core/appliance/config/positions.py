"""Where every key of a TOML text is written: key path to line and column, and the span of its value.

`tomli` gives data without positions. This scanner re-reads a text that `tomli` has already
accepted, so it never has to decide what is valid; it only has to find where things begin and end. A
property test compares its set of paths with the one of `tomli`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import tomli

KeyPath = tuple[str | int, ...]
"""Keys and list indexes: ``("carp", "vip", 0, "vhid")``."""

_BLANK = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\n]|#[^\n]*)*")  # blanks, line ends and comments
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:\\.|[^"\\\n])*"')
_LITERAL = re.compile(r"'[^'\n]*'")
# Up to two quotes may stand directly before the closing three.
_MULTILINE_BASIC = re.compile(r'"""(?:\\.|[^\\])*?""""{0,2}', re.DOTALL)
_MULTILINE_LITERAL = re.compile(r"'''.*?''''{0,2}", re.DOTALL)
# A date and a time may be separated by one space.
_SCALAR = re.compile(r"(?:\d{4}-\d{2}-\d{2} (?=\d{2}:))?[^,\]}\s#]+")
_BARE_ONLY = re.compile(r"[A-Za-z0-9_-]+\Z")


class Position(NamedTuple):
    """A place in a text, both numbers from 1; columns count characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Positions:
    """The places of all keys of one text."""

    text: str
    """The text with plain line ends, which the spans refer to."""
    keys: Mapping[KeyPath, Position]
    """Every key, table and list element."""
    spans: Mapping[KeyPath, tuple[int, int]]
    """Start and end offset of every value that is written as one piece (not of ``[tables]``)."""

    def nearest(self, path: KeyPath) -> Position:
        """Where this key is, or its nearest existing parent; the first line when there is none."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.keys:
                return self.keys[path[:length]]
        return Position(1, 1)


def normalized(text: str) -> str:
    """The text with the line ends that `tomli` sees."""
    return text.replace("\r\n", "\n")


def locate(text: str) -> Positions:
    """Find every key of a text that `tomli` accepts."""
    scanner = _Scanner(normalized(text))
    scanner.document()
    return Positions(text=scanner.text, keys=scanner.keys, spans=scanner.spans)


def format_path(path: KeyPath) -> str:
    """A key path for people: ``carp.vip[0].vhid``."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            key = part if _BARE_ONLY.match(part) else '"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"'
            out += f".{key}" if out else key
    return out


def _unquoted(key: str) -> str:
    if key.startswith('"'):
        text: str = tomli.loads(f"x={key}")["x"]
        return text
    return key.strip("'")


class _Scanner:
    """One pass over a valid text; `at` is the offset of the next character."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.keys: dict[KeyPath, Position] = {}
        self.spans: dict[KeyPath, tuple[int, int]] = {}
        self._line = 1
        self._line_start = 0
        self._counted = 0
        self._implicit: set[KeyPath] = set()
        self._lengths: dict[KeyPath, int] = {}

    def document(self) -> None:
        """``key = value`` lines and table headers to the end of the text."""
        table: KeyPath = ()
        self._skip(_BETWEEN)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip(_BETWEEN)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.at)
        assert found is not None, f"the scanner and tomli disagree at offset {self.at}"
        self.at = found.end()

    def _position(self, offset: int) -> Position:
        # Offsets come in ascending order except within one header, which is one line: counting on from
        # the last place keeps the scan linear.
        if offset > self._counted:
            self._line += self.text.count("\n", self._counted, offset)
            self._line_start = self.text.rfind("\n", 0, offset) + 1
            self._counted = offset
        return Position(self._line, offset - self._line_start + 1)

    def _declare(self, path: KeyPath, offset: int, *, implicit: bool = False) -> None:
        """Remember the first place of a path; a real declaration beats being a mere parent of one."""
        if path not in self.keys or (path in self._implicit and not implicit):
            self.keys[path] = self._position(offset)
            if implicit:
                self._implicit.add(path)
            else:
                self._implicit.discard(path)

    def _key(self) -> list[tuple[str, int]]:
        """A dotted key as its parts, each with its offset."""
        parts: list[tuple[str, int]] = []
        while True:
            self._skip(_BLANK)
            start = self.at
            quote = self.text[start]
            self._skip(_BASIC if quote == '"' else _LITERAL if quote == "'" else _BARE_KEY)
            raw = self.text[start : self.at]
            parts.append((_unquoted(raw), start))
            self._skip(_BLANK)
            if self.text[self.at] != ".":
                return parts
            self.at += 1

    def _header(self) -> KeyPath:
        """``[a.b]`` or ``[[a.b]]``; returns the path that the following keys belong to."""
        start = self.at
        is_array = self.text.startswith("[[", start)
        self.at += 2 if is_array else 1
        parts = [name for name, _ in self._key()]
        self.at += 2 if is_array else 1
        path: KeyPath = ()
        for part in parts[:-1]:
            path = self._current((*path, part))
            self._declare(path, start, implicit=True)
        path = (*path, parts[-1])
        if not is_array:
            self._declare(path, start)
            return path
        self._declare(path, start)
        index = self._lengths.get(path, 0)
        self._lengths[path] = index + 1
        path = (*path, index)
        self._declare(path, start)
        return path

    def _current(self, path: KeyPath) -> KeyPath:
        """The last element when the path is an array of tables, else the path itself."""
        return (*path, self._lengths[path] - 1) if path in self._lengths else path

    def _pair(self, table: KeyPath) -> None:
        """``a.b = value``."""
        parts = self._key()
        path = table
        for name, offset in parts[:-1]:
            path = (*path, name)
            self._declare(path, offset, implicit=True)
        name, offset = parts[-1]
        path = (*path, name)
        self._declare(path, offset)
        self.at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: KeyPath) -> None:
        start = self.at
        first = self.text[start]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        elif first == '"':
            self._skip(_MULTILINE_BASIC if self.text.startswith('"""', start) else _BASIC)
        elif first == "'":
            self._skip(_MULTILINE_LITERAL if self.text.startswith("'''", start) else _LITERAL)
        else:
            self._skip(_SCALAR)
        self.spans[path] = (start, self.at)

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        self._skip(_BETWEEN)
        while self.text[self.at] != "]":
            self._declare((*path, index), self.at)
            self._value((*path, index))
            index += 1
            self._skip(_BETWEEN)
            if self.text[self.at] == ",":
                self.at += 1
                self._skip(_BETWEEN)
        self.at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        self._skip(_BETWEEN)
        while self.text[self.at] != "}":
            self._pair(path)
            self._skip(_BETWEEN)
            if self.text[self.at] == ",":
                self.at += 1
                self._skip(_BETWEEN)
        self.at += 1
