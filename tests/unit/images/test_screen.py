"""The size of the terminal behind a serial line: asked for, and never waited for long."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
import tty

import pytest

from appliance_images import screen


@pytest.mark.parametrize(
    ("reply", "size"),
    [(b"\x1b[24;80R", (24, 80)), (b"typed\x1b[50;132R", (50, 132)), (b"", None), (b"\x1b[1;1R", None)],
)  # fmt: skip
def test_only_an_answer_that_a_screen_can_have_counts(reply: bytes, size: tuple[int, int] | None) -> None:
    assert screen.parse(reply) == size


def test_a_terminal_is_asked_and_its_size_is_set() -> None:
    terminal, line = pty.openpty()
    tty.setraw(terminal)

    def answer() -> None:
        os.read(terminal, 64)
        os.write(terminal, b"\x1b[33;120R")

    person = threading.Thread(target=answer)
    person.start()
    before = termios.tcgetattr(line)
    try:
        size = screen.parse(screen.ask(line))
        person.join()
        assert size == (33, 120)
        screen.set_size(line, size)
        assert struct.unpack("HHHH", fcntl.ioctl(line, termios.TIOCGWINSZ, bytes(8)))[:2] == (33, 120)
        assert termios.tcgetattr(line) == before, "what is typed next is treated as before"
    finally:
        os.close(terminal)
        os.close(line)


def test_a_line_without_a_terminal_is_given_up_soon() -> None:
    terminal, line = pty.openpty()
    try:
        assert screen.ask(line) == b""
    finally:
        os.close(terminal)
        os.close(line)
