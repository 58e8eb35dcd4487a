"""Files for the eyes of the node only: read with a limit, and replaced whole or not at all.

A write is: new file, fsync, rename, fsync of the directory. Killed at any point it leaves the old content or the new,
and at worst a ``.new`` file beside it, which the next write of that name removes.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from appliance.errors import ApplianceError

NEW = ".new"
"""Suffix of a file that is being written."""
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private_directory(path: Path) -> None:
    """Make the directory with mode 0700, or check the one that is there.

    Raises:
        ApplianceError: It cannot be made, is no directory, or others may enter it.
    """
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        facts = os.stat(path, follow_symlinks=False)
    except OSError as error:
        raise ApplianceError(
            f"the directory {path} cannot be made: {error.strerror}", hint="Run the node as root; see --state-dir."
        ) from error
    if not stat.S_ISDIR(facts.st_mode):
        raise ApplianceError(f"{path} is not a directory", hint="Remove what is there; a link is not followed.")
    if facts.st_mode & _OTHERS:
        raise ApplianceError(f"the directory {path} is open to others", hint=f"chmod 700 {path}")


def read_private(path: Path, *, size_max: int) -> bytes | None:
    """The content of a file, ``None`` when there is none.

    Args:
        path: An ordinary file; a link is not followed.
        size_max: Bytes that are accepted.

    Raises:
        ApplianceError: It cannot be read, others can, or it is larger.
    """
    try:
        # Not blocking: a named pipe in this place must not hold the node.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        with os.fdopen(handle, "rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise ApplianceError(f"{path} is not an ordinary file", hint="Remove what is there.")
            if facts.st_mode & _OTHERS:
                raise ApplianceError(f"{path} is open to others", hint=f"chmod 600 {path}; then consider it as known.")
            data = file.read(size_max + 1)
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(data) > size_max:
        raise ApplianceError(f"{path} is larger than {size_max} bytes", hint="It is not what this node wrote there.")
    return data


def write_private(path: Path, data: bytes) -> None:
    """Replace a file, mode 0600; on disk when this returns, and never half of it.

    Raises:
        ApplianceError: It cannot be written; the old content stays.
    """
    temporary = path.with_name(path.name + NEW)
    try:
        _remove(temporary)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _write_all(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        os.rename(temporary, path)
        _sync_directory(path.parent)
    except OSError as error:
        raise ApplianceError(
            f"{path} cannot be written: {error.strerror}",
            hint="Make room and let the node write to its state directory; what was there before is kept.",
        ) from error


def remove_private(path: Path) -> bool:
    """Remove a file; gone from the disk when this returns. Returns whether it was there.

    Raises:
        ApplianceError: It cannot be removed.
    """
    try:
        was_there = _remove(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise ApplianceError(
            f"{path} cannot be removed: {error.strerror}", hint="Let the node write to its state directory."
        ) from error
    return was_there


def _write_all(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def _remove(path: Path) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _sync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unreadable(path: Path, error: OSError) -> ApplianceError:
    return ApplianceError(f"{path} cannot be read: {error.strerror}", hint="Let the node read its state directory.")
