"""Whom the wizard asks: somebody at a terminal, the lines of a pipe, or a file of answers."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TextIO, TypeVar

from appliance.errors import ApplianceError, UsageError

T = TypeVar("T")
TRIES_MAX = 20
"""Wrong answers to one question: a terminal that sends nonsense for ever must not keep the wizard for ever."""
ANSWERS_MAX = 256 * 1024
"""Bytes of a file of answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Generic[T]):
    """One question."""

    key: str
    """In a file of answers: ``network.wan.device``."""
    prompt: str
    parse: Callable[[str], T]
    """Raises `UsageError` for an answer that cannot be."""
    default: str | None = None
    """For an empty answer; without one the question has to be answered."""
    help: str = ""
    """Shown for ``?``."""
    is_secret: bool = False
    """The default is not shown."""


class Asker(Protocol):
    """Gets answers."""

    given: dict[str, str]
    """The answers so far, by key."""

    def ask(self, question: Question[T]) -> T:
        """An answer that is right."""
        ...

    def say(self, text: str) -> None:
        """Something to know before the next question."""
        ...


class Terminal:
    """Somebody who is asked again, with the reason, until the answer is right."""

    def __init__(self, source: TextIO, sink: TextIO) -> None:
        self._source, self._sink = source, sink
        self.given: dict[str, str] = {}

    def ask(self, question: Question[T]) -> T:
        """An answer that is right.

        Raises:
            UsageError: The input ended, or too many answers were wrong.
        """
        for _ in range(TRIES_MAX):
            try:
                text = _line(self._source, self._sink, question)
            except _HelpWantedError:
                self.say(question.help or "There is nothing more to say about it.")
                continue
            try:
                found = question.parse(text)
            except ApplianceError as error:
                self.say(f"{error.message}\n  {error.hint}")
                continue
            self.given[question.key] = text
            return found
        raise UsageError(f"{TRIES_MAX} answers were wrong", hint="Nothing was written; run the wizard again.")

    def say(self, text: str) -> None:
        """Print it."""
        self._sink.write(text + "\n")
        self._sink.flush()


class Lines:
    """Lines of a pipe: nobody is there to be asked again, so the first wrong answer ends it."""

    def __init__(self, source: TextIO, sink: TextIO) -> None:
        self._source, self._sink = source, sink
        self.given: dict[str, str] = {}

    def ask(self, question: Question[T]) -> T:
        """The next line, which is right.

        Raises:
            UsageError: It is wrong, or missing.
        """
        try:
            text = _line(self._source, self._sink, question)
        except _HelpWantedError:
            text = "?"
        self._sink.write("\n")
        found = _parsed(question, text)
        self.given[question.key] = text
        return found

    def say(self, text: str) -> None:
        """Print it."""
        self._sink.write(text + "\n")


class Answered:
    """A file: what it does not have takes its default."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)
        self.given: dict[str, str] = {}

    def ask(self, question: Question[T]) -> T:
        """The answer of the file, or the default.

        Raises:
            UsageError: It is wrong, or neither is there.
        """
        text = self._values.get(question.key, question.default)
        if text is None:
            raise UsageError(
                f"the answers have no `{question.key}`", hint=f"{question.prompt}? {question.help}".strip()
            )
        found = _parsed(question, text)
        self.given[question.key] = text
        return found

    def say(self, text: str) -> None:
        """Nobody is there to read it."""

    def refuse_unused(self) -> None:
        """Raise for answers to questions that were not asked: most likely a key is misspelled.

        Raises:
            UsageError: There are some.
        """
        unused = sorted(self._values.keys() - self.given.keys())
        if unused:
            raise UsageError(
                f"nobody asked for `{unused[0]}`",
                hint=f"The questions are {', '.join(f'`{key}`' for key in self.given)}.",
            )


class _HelpWantedError(Exception):
    """The answer was a question mark."""


def read_answers(path: Path) -> dict[str, str]:
    """A file of answers, flat: ``{"network.wan.device": "eth0"}``.

    Raises:
        UsageError: It cannot be read, is no TOML, or has something else than texts.
    """
    try:
        with path.open("rb") as file:
            data = file.read(ANSWERS_MAX + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="Give a file of answers.") from None
    if len(data) > ANSWERS_MAX:
        raise UsageError(f"{path} is too large", hint=f"Answers have at most {ANSWERS_MAX} bytes.")
    try:
        tables = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is not TOML: {error}", hint="See the example in docs/operators.md.") from None
    return dict(flat(tables, ""))


def flat(table: Mapping[str, object], prefix: str) -> list[tuple[str, str]]:
    """Texts of nested tables, by dotted key.

    Raises:
        UsageError: Something is neither a table nor a text.
    """
    found: list[tuple[str, str]] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{prefix}{key}.")
        elif isinstance(value, str):
            found.append((prefix + key, value))
        else:
            raise UsageError(f"the answer `{prefix}{key}` is no text", hint="Put it in quotation marks.")
    return found


def _line(source: TextIO, sink: TextIO, question: Question[T]) -> str:
    default = question.default
    shown = "" if not default else " [as it is]" if question.is_secret else f" [{default}]"
    sink.write(f"{question.prompt}{shown}: ")
    sink.flush()
    line = source.readline()
    if not line:
        sink.write("\n")
        raise UsageError(f"the input ended at `{question.key}`", hint="Nothing was written; run the wizard again.")
    text = line.strip()
    if text == "?":
        raise _HelpWantedError
    return text or (default or "")


def _parsed(question: Question[T], text: str) -> T:
    try:
        return question.parse(text)
    except ApplianceError as error:
        raise UsageError(f"`{question.key}`: {error.message}", hint=error.hint) from None
