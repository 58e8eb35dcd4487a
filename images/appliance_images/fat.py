"""Where a small file of a FAT32 file system is on its disk: to change its bytes in place without mounting anything.

GRUB writes its environment block like this. A mounted file system would have to be written back and unmounted, which a
power failure may interrupt; a process that may not mount could not do it. Layout after Microsoft's "FAT: General
Overview of On-Disk Format", version 1.03. Nothing here writes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Read = Callable[[int, int], bytes]
"""Bytes of the file system: ``(how many, at which offset)``."""

ENTRY_BYTES = 32
FOLDER, LONG_NAME = 0x10, 0x0F
END_OF_CHAIN = 0x0FFFFFF8
CHAIN_MAX = 4096
"""Clusters of one file that are followed: a damaged table must not make a circle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Consecutive bytes of a file."""

    offset: int
    """In the file system."""
    size: int


def locate(read: Read, path: str) -> list[Extent]:
    """Where the bytes of a file are, in their order.

    Args:
        read: Reads the file system.
        path: With short names only, such as ``GRUB/GRUBENV``.

    Raises:
        ValueError: It is no FAT32, it is damaged, or there is no such file.
    """
    volume = _Volume(read)
    *folders, name = path.upper().split("/")
    cluster = volume.root
    for folder in folders:
        cluster, _ = volume.entry(cluster, folder, folder=True)
    cluster, size = volume.entry(cluster, name, folder=False)
    return list(volume.extents(cluster, size))


class _Volume:
    def __init__(self, read: Read) -> None:
        self._read = read
        head = read(512, 0)
        if len(head) < 512 or head[510:] != b"\x55\xaa" or head[82:87] != b"FAT32":
            raise ValueError("it is no FAT32 file system")
        sector, per_cluster, reserved, tables = (int(each) for each in struct.unpack_from("<HBHB", head, 11))
        table_sectors, self.root = (int(each) for each in struct.unpack_from("<I4xI", head, 36))
        if not sector or not per_cluster:
            raise ValueError("its first sector is damaged")
        self.cluster_bytes = sector * per_cluster
        self._table = reserved * sector
        self._table_bytes = table_sectors * sector
        self._data = self._table + tables * self._table_bytes

    def chain(self, cluster: int) -> Iterator[int]:
        """A cluster and those that follow it in the same file."""
        for _ in range(CHAIN_MAX):
            if cluster >= END_OF_CHAIN:
                return
            if cluster < 2 or cluster * 4 >= self._table_bytes:
                raise ValueError(f"its table of clusters is damaged at {cluster}")
            yield cluster
            cluster = int.from_bytes(self._read(4, self._table + cluster * 4), "little") & 0x0FFFFFFF
        raise ValueError("a file in it has no end")

    def offset(self, cluster: int) -> int:
        """Of a cluster, in the file system."""
        return self._data + (cluster - 2) * self.cluster_bytes

    def entry(self, cluster: int, name: str, *, folder: bool) -> tuple[int, int]:
        """First cluster and size of what has this name in a folder."""
        stem, _, suffix = name.partition(".")
        wanted = f"{stem:<8}{suffix:<3}".encode()
        for each in self.chain(cluster):
            block = self._read(self.cluster_bytes, self.offset(each))
            for at in range(0, len(block), ENTRY_BYTES):
                attributes = block[at + 11]
                is_folder = bool(attributes & FOLDER)
                if block[at : at + 11] == wanted and attributes != LONG_NAME and is_folder is folder:
                    high, low, size = struct.unpack_from("<H4xHI", block, at + 20)
                    return int(high) << 16 | int(low), int(size)
        raise ValueError(f"there is no {name} in it")

    def extents(self, cluster: int, size: int) -> Iterator[Extent]:
        for each in self.chain(cluster):
            if size <= 0:
                return
            yield Extent(offset=self.offset(each), size=min(size, self.cluster_bytes))
            size -= self.cluster_bytes
        if size > 0:
            raise ValueError("a file in it is shorter than its folder says")
