"""Pipes of the shell: ``show log | match wan | last 5``. Lines in, lines out, as they come. Pure."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from appliance.console.shell.commandline import CommandLine
from appliance.console.shell.verbs import PIPES
from appliance.console.shell.words import Line, LineError, Word

Filter = Callable[[Iterable[str]], Iterator[str]]
FORMATS = ("json", "set")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piping:
    """What the pipes of a line ask for."""

    format: str = "text"
    """``json`` and ``set`` are made by the node."""
    filters: tuple[Filter, ...] = ()
    pages: bool = True
    """Stop at every page."""

    def applied(self, lines: Iterable[str]) -> Iterator[str]:
        """The lines after all filters."""
        for each in self.filters:
            lines = each(lines)
        return iter(lines)


def piping(line: Line) -> Piping:
    """Understand the pipes of a line.

    Raises:
        LineError: With the place.
    """
    chosen, filters, pages = "text", list[Filter](), True
    commands = CommandLine(PIPES)
    for at, words in enumerate(line.pipes):
        parsed = commands.parse(words, _end(line, at))
        name, given = parsed.command.path[0], parsed.arguments
        if name in FORMATS:
            if at > 0:
                raise LineError(f"`{name}` has to be the first pipe", hint=f"… | {name} | …", at=words[0].start)
            chosen = name
        elif name == "no-more":
            pages = False
        elif name == "count":
            filters.append(_count)
        elif name == "last":
            filters.append(_last(words, int(str(given["lines"]))))
        else:
            filters.append(_matching(words[-1], wanted=name == "match"))
    return Piping(format=chosen, filters=tuple(filters), pages=pages)


def _end(line: Line, at: int) -> int:
    words: Sequence[Word] = line.pipes[at]
    return words[-1].end if words else len(line.text)


def _matching(word: Word, *, wanted: bool) -> Filter:
    try:
        pattern = re.compile(word.text, re.IGNORECASE)
    except re.error as error:
        hint = "Put a backslash before `. * + ? ( ) [ ] |` that are meant as they are."
        raise LineError(f"this is no regular expression: {error}", hint=hint, at=word.start) from None

    def only(lines: Iterable[str]) -> Iterator[str]:
        return (line for line in lines if bool(pattern.search(line)) is wanted)

    return only


def _count(lines: Iterable[str]) -> Iterator[str]:
    yield f"{sum(1 for _ in lines)} lines"


def _last(words: Sequence[Word], lines: int) -> Filter:
    if lines < 1:
        raise LineError("at least one line is needed", hint="`last 10`.", at=words[-1].start)

    def last(every: Iterable[str]) -> Iterator[str]:
        yield from deque(every, maxlen=lines)

    return last
