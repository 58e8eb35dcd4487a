"""The shell on a pseudo-terminal, and what a person would see on it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pexpect
import pyte

APPLIANCE = str(Path(sys.executable).parent / "appliance")
WAIT_S = 15.0
"""Machines that run tests are busy; nothing below depends on how fast it is."""
LOOK_S = 0.02
ECHO = 8
"""Characters at the end of a line that are waited for: more may be on two rows."""


class Person:
    """Somebody at a terminal.

    Args:
        socket: The control socket of the node.
        home: Where the history goes.
        rows: Of the terminal.
        columns: Of the terminal.
        argv: Arguments of the command.
    """

    def __init__(self, socket: Path, home: Path, *argv: str, rows: int = 24, columns: int = 80) -> None:
        # pytest-xdist sets both, and a program believes it before it asks its terminal.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        environ = inherited | {"APPLIANCE_SOCKET": str(socket), "XDG_STATE_HOME": str(home), "TERM": "vt100"}
        self._screen = pyte.HistoryScreen(columns, rows, history=2000)
        self._stream = pyte.Stream(self._screen)
        self._child = pexpect.spawn(
            APPLIANCE, list(argv), env=environ, encoding="utf-8", dimensions=(rows, columns), timeout=WAIT_S
        )
        self._child.delaybeforesend = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.close(force=True)

    def types(self, text: str) -> None:
        """Press keys."""
        self._child.send(text)

    def enters(self, text: str) -> None:
        """Type a line, see it, and press Enter."""
        self.types(text)
        self.waits(lambda: self.last_line.endswith(text[-ECHO:]), f"echo of {text!r}")
        self.types("\r")

    def resizes(self, *, rows: int, columns: int) -> None:
        """Make the window larger or smaller."""
        self._screen.resize(rows, columns)
        self._child.setwinsize(rows, columns)

    @property
    def screen(self) -> str:
        """What is on the screen now, without blanks at the ends of lines."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip()

    @property
    def coloured(self) -> str:
        """What is on the screen in any colour, line by line."""
        rows = (self._screen.buffer[row] for row in range(self._screen.lines))
        return "\n".join("".join(cell.data for _, cell in sorted(row.items()) if cell.fg != "default") for row in rows)

    @property
    def last_line(self) -> str:
        """The lowest line that is not empty: the prompt with what was typed."""
        return self.screen.rpartition("\n")[2]

    def sees(self, text: str) -> str:
        """Wait until a text is on the screen; the screen then."""
        return self.waits(lambda: text in self.screen, f"{text!r} on the screen")

    def gets_prompt(self, prompt: str) -> str:
        """Wait until the last line is a prompt with nothing behind it; the screen then."""
        return self.waits(lambda: self.last_line == prompt.rstrip(), f"the prompt {prompt!r}")

    def waits(self, condition: Callable[[], bool], what: str) -> str:
        """Wait until something is so on the screen."""
        end = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < end, f"no {what}; there is:\n{self.screen}"
            self._read()
        return self.screen

    def is_gone(self) -> bool:
        """Wait until the program has ended; whether it did."""
        self._child.expect(pexpect.EOF)
        return not self._child.isalive() or self._child.wait() is not None

    @property
    def status(self) -> int | None:
        """Exit status."""
        self._child.close()
        return self._child.exitstatus

    def _read(self) -> None:
        try:
            self._stream.feed(self._child.read_nonblocking(65536, LOOK_S))
        except (pexpect.TIMEOUT, pexpect.EOF):
            time.sleep(LOOK_S)
