"""The state directory of a node: made, checked, and locked against a second node."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.errors import ApplianceError

LOCK_FILE = "lock"
HISTORY_DIR = "config-history"
PID_MAX_BYTES = 32


@contextmanager
def locked_state_dir(path: Path) -> Iterator[Path]:
    """Hold the directory while the block lasts. The kernel frees it however the process ends.

    Raises:
        ApplianceError: It cannot be made or written, or another node holds it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Not inherited by isolated services: one that outlives us must not keep the next node out.
        handle = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ApplianceError(
            f"the state directory {path} cannot be used: {error.strerror}",
            hint="Run as root, or choose a directory of your own with --state-dir.",
        ) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, PID_MAX_BYTES).decode("ascii", errors="replace").strip()
            raise ApplianceError(
                f"another node already runs with the state directory {path} (process {holder or 'unknown'})",
                hint="Stop it first, or give this one a directory of its own with --state-dir.",
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield path
    finally:
        os.close(handle)
