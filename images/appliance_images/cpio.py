"""Writes the archive that the kernel unpacks at start.

Its form is "newc" of Documentation/driver-api/early-userspace/buffer-format.rst.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder or link; owner is root and time is zero, so that equal files make equal archives."""

    name: str
    mode: int
    data: bytes = b""


def folder(name: str) -> Entry:
    """An empty folder."""
    return Entry(name, stat.S_IFDIR | 0o755)


def file(name: str, data: bytes, mode: int = 0o644) -> Entry:
    """A regular file."""
    return Entry(name, stat.S_IFREG | mode, data)


def link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(name, stat.S_IFLNK | 0o777, target.encode())


def archive(entries: Iterable[Entry]) -> bytes:
    """The whole archive, in the order given; folders have to come before what is in them."""
    return b"".join(_records(entries))


def _records(entries: Iterable[Entry]) -> Iterator[bytes]:
    number = 0
    for number, entry in enumerate(entries, 1):
        yield _record(entry, number)
    yield _record(Entry(TRAILER, 0), number + 1)


def _record(entry: Entry, inode: int) -> bytes:
    path = entry.name.encode() + bytes(1)
    # inode, mode, uid, gid, links, mtime, size, device (2), rdevice (2), length of the name, checksum
    fields = (inode, entry.mode, 0, 0, 1, 0, len(entry.data), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08x" % number for number in fields) + path
    return _padded(head) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
