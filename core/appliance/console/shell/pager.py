"""Long output page by page, on any terminal, without another program that could start a shell.

`Pager` is pure: it says what to print and takes keys. Only `paged` knows the terminal.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

MORE = "--more-- "
HELP = "--more-- Space: page, Enter: line, /: search, g: to the end, q: quit "
CLEAR = "\r\x1b[K"
END_OF_INPUT = ""


@dataclass(slots=True)
class Pager:
    """Decides after each line and each key what happens next.

    Args:
        height: Lines of the terminal.
        width: Its columns; longer lines take several.
    """

    height: int
    width: int
    room: int = field(init=False)
    """Lines that still fit before it stops."""
    pattern: str = ""
    """Lines are skipped until one has it."""

    def __post_init__(self) -> None:
        self.room = self.page

    @property
    def page(self) -> int:
        """Lines of one page; the last line is for the prompt."""
        return max(self.height - 1, 1)

    def stops_before(self, line: str) -> bool:
        """Whether a key has to be pressed before this line is printed."""
        return not self.pattern and self._rows(line) > self.room

    def printed(self, line: str) -> bool:
        """Account for a line; whether it is to be printed."""
        if self.pattern:
            if self.pattern.lower() not in line.lower():
                return False
            self.pattern, self.room = "", self.page
        self.room -= self._rows(line)
        return True

    def key(self, key: str) -> bool:
        """Obey a key; false: nothing more is wanted."""
        if key in ("q", "Q", "\x03", "\x04", "\x1b", END_OF_INPUT):
            return False
        if key in ("\r", "\n", "j"):
            self.room = 1
        elif key in ("g", "G"):
            self.room = sys.maxsize
        elif key in (" ", "f"):
            self.room = self.page
        return True

    def _rows(self, line: str) -> int:
        # A line that is longer than a whole page has to be printed some time.
        return min(max(-(-len(line) // max(self.width, 1)), 1), self.page)


def paged(lines: Iterator[str], paint: Callable[[str], str] = str) -> None:
    """Print lines on the terminal, a page at a time; Ctrl-C and q end it. What `paint` adds takes no room."""
    pager = Pager(*_size())
    for line in lines:
        while pager.stops_before(line):
            pager.height, pager.width = _size()
            key = _ask(pager)
            if not pager.key(key):
                return
        if pager.printed(line):
            sys.stdout.write(paint(line) + "\n")
            sys.stdout.flush()
    if pager.pattern:
        sys.stdout.write(f"`{pager.pattern}` is not below\n")


def _ask(pager: Pager) -> str:
    key = _key(MORE)
    if key in ("h", "?"):
        key = _key(CLEAR + HELP[: max(pager.width - 1, len(MORE))])
    sys.stdout.write(CLEAR)
    if key == "/":
        pager.pattern = input("/").strip()
        return " "
    return key


def _key(prompt: str) -> str:
    """One key, without waiting for Enter."""
    handle = sys.stdin.fileno()
    before = termios.tcgetattr(handle)
    try:
        tty.setcbreak(handle, termios.TCSADRAIN)  # what was typed already is not thrown away
        sys.stdout.write(prompt)
        sys.stdout.flush()
        key = os.read(handle, 1).decode(errors="replace")
        if key == "\x1b":  # an arrow or another long key: take all of it
            while select.select([handle], [], [], 0.02)[0]:
                key = " " if os.read(handle, 8) else END_OF_INPUT
    except KeyboardInterrupt:
        return "q"
    else:
        return key
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)


def _size() -> tuple[int, int]:
    size = shutil.get_terminal_size((80, 24))
    return max(size.lines, 2), max(size.columns, 10)
