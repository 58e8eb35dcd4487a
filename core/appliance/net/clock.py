"""Whether somebody keeps this machine's clock right: the kernel knows, whichever program does it.

adjtimex(2): every time daemon (chrony, ntpd, systemd-timesyncd) clears ``STA_UNSYNC`` while it is in step with its
sources, and the kernel sets it again when nobody has corrected the clock for too long.
"""

from __future__ import annotations

import ctypes
import os
import struct
from dataclasses import dataclass

STA_UNSYNC = 0x0040
_SIZE = 256
"""More than `struct timex` of any kernel."""
_MAXERROR, _STATUS = struct.calcsize("Ill"), struct.calcsize("Illll")
"""``modes``, ``offset``, ``freq`` come before ``maxerror``; ``esterror`` between it and ``status``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """What the kernel says of its clock."""

    synchronized: bool
    max_error_s: float
    """How wrong it may be at most, as far as its keeper knows."""
    own: bool = True
    """Whether it is this node's: one in a network namespace of its own shares the machine's with others."""


def read() -> Clock | None:
    """Ask the kernel; ``None`` where it does not say."""
    raw = ctypes.create_string_buffer(_SIZE)
    try:
        answer = ctypes.CDLL(None, use_errno=True).adjtimex(raw)
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else parse(raw.raw, own=_is_the_machine())


def parse(timex: bytes, *, own: bool) -> Clock:
    """Read a ``struct timex``."""
    (status,) = struct.unpack_from("i", timex, _STATUS)
    (max_error_us,) = struct.unpack_from("l", timex, _MAXERROR)
    return Clock(synchronized=not status & STA_UNSYNC, max_error_s=max_error_us / 1e6, own=own)


def _is_the_machine() -> bool:
    """The first network namespace is the only one with this sysctl; process 1 may not be looked at everywhere."""
    return os.path.exists("/proc/sys/net/core/netdev_max_backlog")
