"""Disks of a running machine, as an installer has to know them: size, model, what is on them, whether they are used."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceError, UsageError
from appliance_images import gpt

SYS_BLOCK = Path("/sys/block")
MOUNTS = Path("/proc/self/mounts")
SECTOR = 512
"""Unit of sizes in sysfs, whatever the disk's own sectors are."""
SKIPPED = ("loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd")
# linux/fs.h
BLKRRPART, BLKFLSBUF = 0x125F, 0x1261


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """One disk."""

    name: str
    """In ``/dev``: ``sda``, ``nvme0n1``."""
    size: int
    """In bytes."""
    model: str = ""
    holds: tuple[str, ...] = ()
    """Names of its partitions; empty when it has no partition table that is understood."""
    is_used: bool = False
    """Something on it is mounted, or this system runs from it."""

    @property
    def device(self) -> Path:
        """The block device."""
        return Path("/dev") / self.name

    @property
    def stem(self) -> str:
        """What the numbers of partitions follow: ``/dev/sda``, ``/dev/nvme0n1p``."""
        return f"/dev/{self.name}p" if self.name[-1].isdigit() else f"/dev/{self.name}"

    @property
    def content(self) -> str:
        """What would be lost, for people."""
        return f"partitions {', '.join(self.holds)}" if self.holds else "no partition table"


def disks(running_from: str, *, folder: Path = SYS_BLOCK, mounts: Path = MOUNTS) -> Iterator[Disk]:
    """Every disk that could be written to.

    Args:
        running_from: Stem of the partitions that this system started from.
        folder: Where the kernel tells about them.
        mounts: What is mounted.
    """
    used = {line.split()[0] for line in mounts.read_text().splitlines()}
    for path in sorted(folder.iterdir()):
        size = int(_text(path / "size") or 0) * SECTOR
        if path.name.startswith(SKIPPED) or size == 0 or _text(path / "ro") == "1":
            continue
        disk = Disk(name=path.name, size=size, model=_text(path / "device/model"))
        own = disk.stem == running_from or any(each.startswith(str(disk.device)) for each in used)
        yield Disk(name=disk.name, size=size, model=disk.model, holds=tuple(names_on(disk.device)), is_used=own)


def named(name: str, found: Iterator[Disk]) -> Disk:
    """The disk that somebody named, with or without ``/dev``.

    Raises:
        UsageError: There is none, or it is in use.
    """
    known = {disk.name: disk for disk in found}
    disk = known.get(name.removeprefix("/dev/"))
    free = ", ".join(each.name for each in known.values() if not each.is_used) or "none"
    if disk is None:
        raise UsageError(f"there is no disk {name}", hint=f"Disks that could be taken: {free}.")
    if disk.is_used:
        raise UsageError(f"{name} is in use: this system runs from it", hint=f"Disks that could be taken: {free}.")
    return disk


def names_on(device: Path) -> list[str]:
    """Names of the partitions on a disk, by number where they have none; empty without a table that is understood."""
    try:
        with device.open("rb") as file:
            return [each.name or f"number {index + 1}" for index, each in enumerate(gpt.parse(file.read(34 * SECTOR)))]
    except (OSError, ValueError):
        return []


def read_table_again(handle: int) -> None:
    """Let the kernel see a new partition table; a file that stands for a disk has no kernel to tell.

    Raises:
        ApplianceError: A partition is in use.
    """
    if not _is_device(handle):
        return
    try:
        fcntl.ioctl(handle, BLKRRPART)
    except OSError as error:
        raise ApplianceError(
            f"the kernel does not take the new partition table: {error.strerror}",
            hint="Something on the disk is in use. Start the machine again, and install then.",
        ) from error


def forget_cached(handle: int) -> None:
    """Let the next read come from the disk and not from memory."""
    os.fsync(handle)
    if _is_device(handle):
        fcntl.ioctl(handle, BLKFLSBUF)


def _is_device(handle: int) -> bool:
    return stat.S_ISBLK(os.fstat(handle).st_mode)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
