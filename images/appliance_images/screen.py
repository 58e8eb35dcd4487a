"""How large the terminal at the other end of a serial line is: the line cannot tell, but the terminal can be asked."""

from __future__ import annotations

import fcntl
import os
import re
import select
import struct
import sys
import termios
import time
import tty

ASK = b"\x1b7\x1b[999;999H\x1b[6n\x1b8"
"""Remember the place, go as far as it goes, ask where that is, and come back (ECMA-48; DEC VT100 for the first)."""
REPLY = re.compile(rb"\x1b\[(\d{1,4});(\d{1,4})R")
REPLY_S = 0.3
"""A terminal answers within a round trip; nobody is there, or a program without a cursor, when nothing comes."""
REPLY_MAX = 64
DEFAULT = (24, 80)
SERIAL = "/dev/ttyS"


def parse(reply: bytes) -> tuple[int, int] | None:
    """Rows and columns of an answer; ``None`` when it is none, or no size that a screen has."""
    found = REPLY.search(reply)
    rows, columns = (int(found[1]), int(found[2])) if found else (0, 0)
    return (rows, columns) if rows >= 2 and columns >= 20 else None


def fit() -> None:
    """Tell the kernel the size of the screen behind a serial line; others know theirs."""
    handle = sys.stdin.fileno()
    if os.isatty(handle) and os.ttyname(handle).startswith(SERIAL):
        set_size(handle, parse(ask(handle)) or DEFAULT)


def ask(handle: int) -> bytes:
    """What the terminal answers in time; what was typed meanwhile is lost."""
    before = termios.tcgetattr(handle)
    reply, end = b"", time.monotonic() + REPLY_S
    try:
        tty.setraw(handle, termios.TCSADRAIN)
        os.write(handle, ASK)
        while not REPLY.search(reply) and len(reply) < REPLY_MAX and (left := end - time.monotonic()) > 0:
            if select.select([handle], [], [], left)[0]:
                reply += os.read(handle, REPLY_MAX)
    finally:
        termios.tcsetattr(handle, termios.TCSADRAIN, before)
    return reply


def set_size(handle: int, size: tuple[int, int]) -> None:
    """Rows and columns, for every program on this terminal."""
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
