"""`image boot` on a terminal: every key goes to the console of one machine, and what that prints comes back as it is.

So the menu, the wizard and the shell look as they do on a serial line. One key is ours: to another machine, or out.
"""

from __future__ import annotations

import os
import selectors
import sys
import termios
import tty
from collections.abc import Mapping, Sequence
from typing import Protocol

KEY, END = b"\x1d", b"q"
"""Ctrl-], as telnet has it; the key after it is a number, or the end."""
READ_BYTES = 65536


class Console(Protocol):
    """A connection to a serial console."""

    def fileno(self) -> int:
        """For select(2)."""
        ...

    def recv(self, size: int, /) -> bytes:
        """What it prints; nothing at its end."""
        ...

    def sendall(self, data: bytes, /) -> None:
        """Type."""
        ...


class Attachment:
    """Which console has the keyboard.

    Args:
        names: Of the machines, in their order.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._is_command = False
        self.name = names[0]
        self.is_over = False

    def typed(self, data: bytes) -> list[tuple[str, bytes]]:
        """What goes to which machine of the keys that were typed."""
        sent: list[tuple[str, bytes]] = []
        for key in (data[at : at + 1] for at in range(len(data))):
            if self._is_command:
                self._is_command = False
                self._command(key, sent)
            elif key == KEY:
                self._is_command = True
            else:
                self._send(key, sent)
        return sent

    def _send(self, key: bytes, sent: list[tuple[str, bytes]]) -> None:
        if sent and sent[-1][0] == self.name:
            sent[-1] = (self.name, sent[-1][1] + key)
        else:
            sent.append((self.name, key))

    def _command(self, key: bytes, sent: list[tuple[str, bytes]]) -> None:
        if key == END:
            self.is_over = True
        elif key == KEY:
            self._send(KEY, sent)
        elif key.isdigit() and 1 <= int(key) <= len(self._names):
            self.name = self._names[int(key) - 1]
            self._send(b"\r", sent)  # so that it shows where it is

    @property
    def help(self) -> str:
        """One line for whoever sits there."""
        others = "".join(f", Ctrl-] {number} leads to {name}" for number, name in enumerate(self._names, start=1))
        return f"Ctrl-] q ends{others if len(self._names) > 1 else ''}."


def attend(consoles: Mapping[str, Console]) -> None:
    """Until somebody ends it, or all machines have ended."""
    attachment, open_ones = Attachment(list(consoles)), dict(consoles)
    keyboard, screen = sys.stdin.fileno(), sys.stdout.fileno()
    os.write(screen, f"{', '.join(consoles)} started. {attachment.help}\n".encode())
    before = termios.tcgetattr(keyboard)
    try:
        tty.setraw(keyboard)
        with selectors.DefaultSelector() as selector:
            selector.register(keyboard, selectors.EVENT_READ, "")
            for name, console in consoles.items():
                selector.register(console, selectors.EVENT_READ, name)
            while open_ones and not attachment.is_over:
                for key, _ in selector.select():
                    if not key.data:
                        shown = attachment.name
                        for name, data in attachment.typed(os.read(keyboard, READ_BYTES)):
                            if name in open_ones:
                                open_ones[name].sendall(data)
                        if attachment.name != shown:
                            os.write(screen, f"\r\n--- {attachment.name} ---\r\n".encode())
                    elif not _show(open_ones[key.data], screen if key.data == attachment.name else None):
                        selector.unregister(open_ones.pop(key.data))
                        os.write(screen, f"\r\n--- {key.data} has ended ---\r\n".encode())
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)


def _show(console: Console, screen: int | None) -> bool:
    """Pass on what a console prints, if it is the one that is shown; false at its end."""
    try:
        data = console.recv(READ_BYTES)
    except OSError:
        return False
    if screen is not None:
        os.write(screen, data)
    return bool(data)
