"""What may come next at some place of a line, and which of it was meant by an abbreviation. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from appliance.console.shell.words import LineError, Word

KNOWN_SHOWN_MAX = 12
"""Names spelled out in a hint; `?` shows all."""
WRAPPED_MAX = 4
"""Choices whose whole description is printed; of more of them, one line each."""
ROOM_MIN = 16
"""Columns below which wrapping makes a description unreadable."""
SHOWN_MAX = 200
"""Choices that `?` lists: more names nobody reads."""
HABITS = {"conf": "configure"}
"""What people type at JunOS and VyOS, although here it may also be the beginning of something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One thing that may come next."""

    text: str
    help: str = ""
    is_value: bool = False
    """It says what may be typed, ``<1..255>``, and cannot be put into the line itself."""


def matching(choices: Iterable[Choice], typed: str) -> list[Choice]:
    """Those that go on with what is typed; what describes a value always does."""
    return [choice for choice in choices if choice.is_value or choice.text.startswith(typed)]


def meant(word: Word, names: Sequence[str], *, what: str) -> str:
    """The name that a word is, or abbreviates.

    Args:
        word: As typed.
        names: All that may stand there.
        what: For messages: "command", "key".

    Raises:
        LineError: It is none of them, or may be several.
    """
    if word.text in names:
        return word.text
    found = [name for name in names if name.startswith(word.text)]
    if len(found) == 1 and not word.quoted:
        return found[0]
    if HABITS.get(word.text) in found:
        return HABITS[word.text]
    if len(found) > 1:
        raise LineError(f"`{word.text}` may be {listed(found)}", hint="Type more of it.", at=word.start)
    near = get_close_matches(word.text, names, n=1)
    hint = f"Did you mean `{near[0]}`?" if near else f"Possible here: {listed(sorted(names))}."
    raise LineError(f"unknown {what} `{word.text}`", hint=hint if names else "Nothing may follow.", at=word.start)


def listed(names: Sequence[str]) -> str:
    """Names for a sentence, not too many."""
    more = len(names) - KNOWN_SHOWN_MAX
    return ", ".join(names[:KNOWN_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")


def insertion(choices: Sequence[Choice], typed: str) -> tuple[str, bool]:
    """What TAB makes of a word, and whether it is complete then."""
    words = [choice.text for choice in choices if not choice.is_value]
    if not words:
        return typed, False
    if len(words) == 1:
        return words[0], True
    first, last = min(words), max(words)
    common = first[
        : next((at for at, pair in enumerate(zip(first, last, strict=False)) if len({*pair}) > 1), len(first))
    ]
    return (common if len(common) >= len(typed) else typed), False


def table(choices: Sequence[Choice], *, width: int) -> str:
    """The choices for people, one a line; cut to the width of the terminal."""
    if not choices:
        return "  nothing may follow"
    rows = [(choice.text, " ".join(choice.help.split())) for choice in choices[:SHOWN_MAX]]
    column = min(max(len(text) for text, _ in rows), max(width // 2, 8))
    lines = [line for text, note in rows for line in _row(text, note, column, width, wraps=len(rows) <= WRAPPED_MAX)]
    if len(choices) > SHOWN_MAX:
        lines.append(f"  … and {len(choices) - SHOWN_MAX} more: type a beginning")
    return "\n".join(lines)


def _row(text: str, note: str, column: int, width: int, *, wraps: bool) -> list[str]:
    """One choice: on as many lines as it takes, or cut where many others follow."""
    margin = " " * (column + 4)
    room = width - len(margin) - 1
    if wraps and room >= ROOM_MIN:
        first, *more = textwrap.wrap(note, room) or [""]
        return [f"  {text:<{column}}  {first}".rstrip(), *(margin + line for line in more)]
    line = f"  {text:<{column}}  {note}".rstrip()
    return [line if len(line) < width else f"{line[: max(width - 2, 1)]}…"]
