"""Puts the system that runs, from a stick for instance, onto a disk of the machine.

The disk gets identifiers of its own, so that the boot loader of one never starts the system of the other. What makes
it bootable, the first sector for BIOS and the beginning of the EFI partition for UEFI, is written last: a disk on which
the installation was cut short does not start.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.errors import ApplianceError, UsageError
from appliance_images import gpt, slotfile
from appliance_images.disk import LABEL_CONFIG, SLOT_NUMBERS
from appliance_images.disks import Disk, forget_cached, read_table_again
from appliance_images.grubenv import BootState
from appliance_images.slots import Machine
from appliance_images.tools import Say, run

MIB = 1 << 20
HEAD_BYTES = 34 * gpt.SECTOR
NO_SYSTEM = bytes.fromhex("cd18f4ebfd")
"""Code for the first sector of an unfinished disk: tells the BIOS that it does not start, and stops (int 18h; hlt)."""
NAMES = ("bios", "esp", "slot-a", "slot-b", "config")
CONFIG_MOUNT = Path("/run/appliance-target")
CONFIG_FOLDER = Path("/config")
MACHINE_ID = "machine-id"
"""It belongs to one disk; the new system makes its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The disk that this system runs from."""

    device: Path
    partitions: tuple[gpt.Partition, ...]
    slot: str
    slot_bytes: int

    def named(self, name: str) -> gpt.Partition:
        """The partition of this name."""
        return next(each for each in self.partitions if each.name == name)

    @property
    def system(self) -> gpt.Partition:
        """Where the running system is."""
        return self.partitions[SLOT_NUMBERS[self.slot] - 1]


def source_of(machine: Machine, device: Path) -> Source:
    """What is to be copied.

    Raises:
        ApplianceError: The disk is not one of ours, or cannot be read.
    """
    try:
        with device.open("rb") as file:
            partitions = gpt.parse(file.read(HEAD_BYTES))
            if tuple(each.name for each in partitions) != NAMES:
                raise ValueError("it has other partitions than an appliance")
            held = slotfile.parts(file, partitions[SLOT_NUMBERS[machine.slot] - 1].start)
    except (OSError, ValueError) as error:
        raise ApplianceError(
            f"{device} cannot be copied: {error}", hint="Start from a stick or disk with an image."
        ) from error
    used = sum(size for _, size in held)
    return Source(device=device, partitions=partitions, slot=machine.slot, slot_bytes=used)


def same_layout(source: Source, target: Path) -> bool:
    """Whether the target has an appliance already, whose configuration could stay where it is."""
    try:
        with target.open("rb") as file:
            found = gpt.parse(file.read(HEAD_BYTES))
    except (OSError, ValueError):
        return False
    return [(each.name, each.start, each.size) for each in found] == [
        (each.name, each.start, each.size) for each in source.partitions
    ]


def needed_bytes(source: Source) -> int:
    """The smallest disk that will do."""
    return gpt.disk_bytes(source.partitions)


def install(source: Source, target: Disk, *, keep: bool, config: Path | None, say: Say) -> str:
    """Write the target; the hash of the system that was read back from it.

    Args:
        source: What is copied.
        target: Everything on it is lost, but for the configuration if it is kept.
        keep: The configuration that is on the target stays.
        config: The folder whose files become the configuration of the target, if none is kept.
        say: Told what is being done.

    Raises:
        ApplianceError: It is too small, cannot be written, or does not keep what was written.
    """
    if target.size < needed_bytes(source):
        raise UsageError(
            f"{target.name} has {target.size // MIB} MiB, and {needed_bytes(source) // MIB} are needed",
            hint="Take a larger disk.",
        )
    try:
        digest = write(source, target, keep=keep, say=say)
    except OSError as error:
        raise ApplianceError(
            f"{target.device} cannot be written: {error.strerror}", hint="It does not start now. Check the disk."
        ) from error
    if not keep:
        say("configuration")
        make_config(target, source, config)
    say("boot loader")
    with _opened(target.device) as handle, source.device.open("rb") as file:
        finish(source, file.fileno(), handle)
    installed = Machine(slot="a", esp=f"{target.stem}2", stem=target.stem)
    installed.set_boot_state(BootState())
    return digest


def write(source: Source, target: Disk, *, keep: bool, say: Say) -> str:
    """Everything but file systems and what makes the disk start; the hash of the system as it was read back.

    Raises:
        ApplianceError: It was not what had been written.
        OSError: It cannot be written.
    """
    seed = secrets.token_hex(16)
    partitions = tuple(
        each if keep and each.name == "config" else replace(each, guid=gpt.identifier(seed, each.name))
        for each in source.partitions
    )
    head, tail = gpt.tables(partitions, seed, target.size)
    with _opened(target.device) as handle, source.device.open("rb") as file:
        own = file.fileno()
        say("partition table")
        os.pwrite(handle, gpt.protective_mbr(NO_SYSTEM, target.size), 0)
        os.pwrite(handle, bytes(MIB), source.named("esp").start)
        os.pwrite(handle, bytes(MIB), source.named("slot-b").start)
        os.pwrite(handle, head, gpt.SECTOR)
        os.pwrite(handle, tail, target.size - len(tail))
        os.fsync(handle)
        read_table_again(handle)
        say("system")
        bios, esp, slot = source.named("bios"), source.named("esp"), source.named("slot-a")
        copy(own, bios.start, handle, bios.start, bios.size)
        copy(own, esp.start + MIB, handle, esp.start + MIB, esp.size - MIB)
        wanted = copy(own, source.system.start, handle, slot.start, source.slot_bytes)
        say("reading it back")
        forget_cached(handle)
        digest = hashed(handle, slot.start, source.slot_bytes)
        if digest != wanted:
            raise ApplianceError(
                f"{target.device} does not keep what is written to it", hint="It does not start now. Take another disk."
            )
        return digest


def finish(source: Source, own: int, handle: int) -> None:
    """What makes it start."""
    start = source.named("esp").start
    os.pwrite(handle, os.pread(own, MIB, start), start)
    sector = os.pread(own, gpt.SECTOR, 0)
    os.pwrite(handle, gpt.protective_mbr(sector, os.lseek(handle, 0, os.SEEK_END)), 0)
    forget_cached(handle)


def copy(source: int, start: int, target: int, at: int, size: int) -> str:
    """Copy bytes of one disk to another; their hash."""
    digest = hashlib.sha256()
    for piece, offset in _pieces(source, start, size):
        digest.update(piece)
        os.pwrite(target, piece, at + offset)
    return digest.hexdigest()


def hashed(handle: int, start: int, size: int) -> str:
    """The hash of a part of a disk."""
    digest = hashlib.sha256()
    for piece, _ in _pieces(handle, start, size):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(handle: int, start: int, size: int) -> Iterator[tuple[bytes, int]]:
    at = 0
    while at < size:
        piece = os.pread(handle, min(MIB, size - at), start + at)
        if not piece:
            raise OSError(5, "the disk ends too early")
        yield piece, at
        at += len(piece)


@contextmanager
def _opened(device: Path) -> Iterator[int]:
    handle = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def make_config(target: Disk, source: Source, files: Path | None, tool: Callable[..., str] = run) -> None:
    """Make the configuration partition, with the files of a folder if there is one."""
    device = f"{target.stem}{NAMES.index('config') + 1}"
    tool("mke2fs", "-q", "-F", "-t", "ext4", "-L", LABEL_CONFIG, "-m", "0", "-O", "^metadata_csum_seed", device)
    if files is None:
        return
    CONFIG_MOUNT.mkdir(exist_ok=True)
    tool("mount", "-t", "ext4", "-o", "nosuid,nodev,noexec", device, CONFIG_MOUNT)
    try:
        # Keys and pairing, too: it is the same node that moves to another disk.
        tool("cp", "-a", f"{files}/.", CONFIG_MOUNT)
        (CONFIG_MOUNT / MACHINE_ID).unlink(missing_ok=True)
    finally:
        tool("umount", CONFIG_MOUNT)
