"""Colours of screens that say how a node is, on terminals only. Pure, and done by the client: a node sends plain text.

https://no-color.org: whoever sets `NO_COLOR` to anything gets none; `appliance --plain` does the same for one command.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

SCREENS = (("show", "ha"), ("monitor", "ha"), ("show", "carp"), ("show", "alarms"), ("doctor",))
"""First words of the commands whose text has colours."""
GOOD, NOTE, WARN, BAD = "1;32", "36", "33", "1;31"
"""Bold green, cyan, yellow, bold red (ECMA-48, 8.3.117)."""
MARKS = {"  !!": BAD, "  ! ": WARN, "  * ": NOTE, "FAIL": BAD, "WARN": WARN, "ok  ": GOOD}
"""Beginnings of lines that are sentences: there such a word is only one of many and has no colour."""
SENTENCES = ("-> ", "because ")
"""The same without a mark, behind blanks."""
WORDS = (
    (GOOD, r"(?<=^failover: ).*would take over$|^problems: none$|^no alarm is active$"),
    (WARN, r"(?<=^failover: )this node would take over badly"),
    (BAD, r"(?<=^failover: )nobody would take over"),
    (GOOD, r"(?<![\w-])MASTER(?![\w-])|(?<=  )healthy(?= for )"),
    (NOTE, r"(?<![\w-])BACKUP(?![\w-])"),
    (WARN, r"(?<![\w-])(?:INIT|MIXED)(?![\w-])|(?<=  )alive, not healthy(?= for )"),
    (BAD, r"(?<![\w-])(?:DISABLED|DOWN|MISSING)(?![\w-])|(?<=  )not answering(?= for )"),
)
_STATES = re.compile("|".join(f"({pattern})" for _, pattern in WORDS))


def painter(words: Sequence[str], environ: Mapping[str, str]) -> Callable[[str], str]:
    """What to do with the text of a command that is shown on a terminal.

    Args:
        words: Of the command.
        environ: Of the process: `NO_COLOR`, `TERM`.
    """
    has_colours = any(tuple(words[: len(screen)]) == screen for screen in SCREENS)
    if not has_colours or environ.get("NO_COLOR") or environ.get("TERM", "dumb") == "dumb":
        return str
    return painted


def painted(text: str) -> str:
    """Text with its states in colour; not a character more or less is seen."""
    return "\n".join(map(_painted, text.split("\n")))


def _painted(line: str) -> str:
    mark = line[:4]
    if mark in MARKS and line[4:5] == " ":
        return _in(MARKS[mark], mark) + line[4:]
    if line.lstrip().startswith(SENTENCES):
        return line
    return _STATES.sub(lambda match: _in(WORDS[(match.lastindex or 1) - 1][0], match[0]), line)


def _in(colour: str, text: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[m"
