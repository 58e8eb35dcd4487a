"""A typed line as words, each with its place; pipes apart. Pure.

Words are separated by blanks. ``"…"`` keeps blanks and understands ``\\"`` and ``\\\\``; ``'…'`` keeps everything.
A ``|`` outside of quotes begins a pipe.
"""

from __future__ import annotations

from dataclasses import dataclass

from appliance.errors import UsageError

LINE_MAX = 16 * 1024
"""Characters of one line: a list of hundreds of addresses fits, and the request of the node too."""


class LineError(UsageError):
    """A line that was not understood, with the place."""

    def __init__(self, message: str, *, hint: str, at: int) -> None:
        super().__init__(message, hint=hint)
        self.at = at
        """Column of the wrong word, from 0."""

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint, self.at))


class SecretMissingError(LineError):
    """A secret has to follow, which is better not typed for everybody to see."""


def _rebuild(kind: type[LineError], message: str, hint: str, at: int) -> LineError:
    return kind(message, hint=hint, at=at)


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a line."""

    text: str
    """Without its quotes."""
    start: int
    end: int
    """Column behind it."""
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was taken apart."""

    text: str
    words: tuple[Word, ...]
    pipes: tuple[tuple[Word, ...], ...] = ()
    """The words of each pipe, which may be none."""
    is_open: bool = False
    """A quote has not been closed."""

    @property
    def before_pipes(self) -> str:
        """The text without its pipes."""
        return self.text[: self.words[-1].end] if self.words else ""

    @property
    def last(self) -> tuple[Word, ...]:
        """The words of the last pipe, or of the line when it has none."""
        return self.pipes[-1] if self.pipes else self.words

    def partial(self) -> tuple[tuple[Word, ...], Word]:
        """What is complete, and the word that is being typed at the end of the line, which may be empty."""
        words = self.last
        if words and words[-1].end == len(self.text) and (self.is_open or not words[-1].quoted):
            return words[:-1], words[-1]
        return words, Word("", len(self.text), len(self.text))


def split(text: str) -> Line:
    """Take a line apart; `is_open` instead of an error when a quote is missing."""
    parts: list[list[Word]] = [[]]
    at, is_open = 0, False
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif text[at] == "|":
            parts.append([])
            at += 1
        else:
            word, is_open = _word(text, at)
            parts[-1].append(word)
            at = word.end
    first, *pipes = (tuple(part) for part in parts)
    return Line(text=text, words=first, pipes=tuple(pipes), is_open=is_open)


def understood(text: str) -> Line:
    """As `split`.

    Raises:
        LineError: A quote is not closed, or the line is too long.
    """
    if len(text) > LINE_MAX:
        raise LineError(f"the line is longer than {LINE_MAX} characters", hint="Use `load merge FILE`.", at=LINE_MAX)
    line = split(text)
    if line.is_open:
        raise LineError("this quote is not closed", hint="End it with the same quote.", at=line.last[-1].start)
    return line


def quoted(text: str) -> str:
    """The text as one word of a line."""
    if text and not any(char.isspace() or char in "|\"'#\\" for char in text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _word(text: str, start: int) -> tuple[Word, bool]:
    out, at, was_quoted = list[str](), start, False
    while at < len(text) and not text[at].isspace() and text[at] != "|":
        if text[at] not in "\"'":
            out.append(text[at])
            at += 1
            continue
        was_quoted = True
        content, at, closed = _quote(text, at)
        out.append(content)
        if not closed:
            return Word("".join(out), start, at, quoted=True), True
    return Word("".join(out), start, at, was_quoted), False


def _quote(text: str, start: int) -> tuple[str, int, bool]:
    """The content from the quote at `start`, the place behind it, and whether it is closed."""
    mark, out, at = text[start], list[str](), start + 1
    while at < len(text):
        if text[at] == mark:
            return "".join(out), at + 1, True
        if mark == '"' and text[at] == "\\" and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
        out.append(text[at])
        at += 1
    return "".join(out), at, False
