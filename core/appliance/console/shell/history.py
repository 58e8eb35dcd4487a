"""Lines that were typed, kept over sessions; those with a secret are not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from prompt_toolkit.history import History

LINES_MAX = 1000
"""Lines that are kept."""


def history_path(environ: Mapping[str, str]) -> Path:
    """Where they are kept: the XDG state directory of the user."""
    base = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME") or "/root", ".local", "state")
    return Path(base) / "appliance" / "history"


class TypedLines(History):
    """The history of one user.

    A line is only kept when `keep` is called after it ran; until then it is in memory.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._waiting = ""

    def load_history_strings(self) -> Iterable[str]:
        """The newest first."""
        try:
            lines = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []  # none yet, or not ours: the session has its own
        if len(lines) > LINES_MAX:
            lines = lines[-LINES_MAX:]
            self._write("".join(f"{line}\n" for line in lines), os.O_TRUNC)
        return reversed(lines)

    def store_string(self, string: str) -> None:
        """Remember what was typed until it is known whether it may be kept."""
        self._waiting = string

    def keep(self) -> None:
        """Keep the last line."""
        if self._waiting and "\n" not in self._waiting:
            self._write(f"{self._waiting}\n", os.O_APPEND)
        self._waiting = ""

    def forget(self) -> None:
        """Forget the last line, here too."""
        if self._waiting and self._waiting in self._loaded_strings[:1]:
            del self._loaded_strings[0]
        self._waiting = ""

    def _write(self, text: str, how: int) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
        except OSError:
            return  # a full or read-only disk must not end the session
