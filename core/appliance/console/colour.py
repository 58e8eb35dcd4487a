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
WORDS = (
    (GOOD, r"(?<![\w-])MASTER(?![\w-])|(?<=  )healthy(?= for )|^problems: none$|^ok(?=  )"),
    (NOTE, r"(?<![\w-])BACKUP(?![\w-])"),
    (WARN, r"^  ! (?= )|^WARN(?=  )|(?<![\w-])(?:INIT|MIXED)(?![\w-])|alive, not healthy"),
    (BAD, r"^  !!(?= )|^FAIL(?=  )|(?<![\w-])(?:DISABLED|DOWN|MISSING)(?![\w-])|not answering"),
)
_MARKS = re.compile("|".join(f"({pattern})" for _, pattern in WORDS), re.MULTILINE)


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
    return _MARKS.sub(lambda match: f"\x1b[{WORDS[(match.lastindex or 1) - 1][0]}m{match[0]}\x1b[m", text)
