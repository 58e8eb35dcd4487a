"""What a system slot holds: two file systems, one behind the other.

The boot loader reads the first one, with the kernel and its first root. Of compressions it knows gzip, lzo and xz (GRUB
2.06, grub-core/fs/squash4.c). The kernel reads the second one, the system itself, whose compression may be one that is
quick to make and to read. Where that begins follows from the size of the first one.
"""

from __future__ import annotations

import shutil
import struct
from pathlib import Path
from typing import IO

from appliance_images.recipe import Flavor
from appliance_images.tree import Tree, squashfs

MAGIC = b"hsqs"
HEAD = struct.Struct("<4s36xQ")
"""Beginning of a squashfs: its size is the eleventh field (Documentation/filesystems/squashfs.rst)."""
ALIGNMENT = 4096
"""Each file system is filled up to a multiple of it, as tar2sqfs does."""
BOOT = "boot"
BOOT_COMPRESSION = "gzip"
BOOT_BLOCK_BYTES = 1 << 20
"""Two large files that are read from end to end."""


def write(tree: Tree, target: Path, *, flavor: Flavor, shared: str, mtime: int) -> None:
    """Make a slot of a tree; the file `shared` is in both file systems.

    Raises:
        ApplianceError: It cannot be made.
    """
    early = tree.split(BOOT)
    early.add_file(shared, tree.data(shared))
    squashfs(early, target, compression=BOOT_COMPRESSION, block_bytes=BOOT_BLOCK_BYTES, mtime=mtime)
    system = target.with_suffix(".system")
    squashfs(tree, system, compression=flavor.compression, block_bytes=flavor.block_bytes, mtime=mtime)
    with target.open("ab") as slot, system.open("rb") as source:
        shutil.copyfileobj(source, slot, 1 << 20)
    system.unlink()


def parts(file: IO[bytes], start: int = 0) -> list[tuple[int, int]]:
    """Where each of the two file systems begins and how large it is, in bytes; the slot begins at `start` of the file.

    Raises:
        ValueError: It does not hold two.
    """
    found, at = [], start
    for _ in range(2):
        file.seek(at)
        head = file.read(HEAD.size)
        if len(head) < HEAD.size or not head.startswith(MAGIC):
            raise ValueError(f"its system is damaged: no file system begins at byte {at}")
        _, used = HEAD.unpack(head)
        size = -(-used // ALIGNMENT) * ALIGNMENT
        found.append((at, size))
        at += size
    return found
