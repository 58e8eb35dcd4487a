"""A bootable disk, written without mounting: boot loader for BIOS and UEFI, two system slots, configuration.

1 bios     GRUB for BIOS, where a partition table leaves no other room
2 esp      GRUB for UEFI, its script and its environment block (which slot boots)
3 slot-a   two file systems: kernel and first root for the boot loader, and the system (see slotfile.py)
4 slot-b   the other system, empty at first
5 config   ext4: configuration, keys, history; survives upgrades
"""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceError
from appliance_images import gpt, grubenv
from appliance_images.recipe import MIB, Flavor
from appliance_images.tools import run

GRUB = Path("/usr/lib/grub")
MODULES = (
    "normal", "linux", "part_gpt", "fat", "squash4", "xzio", "gzio", "loadenv", "probe", "regexp", "test", "echo",
    "true", "configfile", "serial", "terminal", "search", "reboot", "sleep",
)  # fmt: skip
ARGUMENTS = "ro quiet loglevel=3 panic=5"
BIOS_MIB, ESP_MIB = 1, 64
CONFIG_NUMBER, SLOT_NUMBERS = 5, {"a": 3, "b": 4}
LABEL_CONFIG = "APPLCFG"
VOLUME_LABEL = "APPLCONF"
"""Of a second disk that brings a configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Sizes and identities of one disk."""

    partitions: tuple[gpt.Partition, ...]
    seed: str
    mtime: int
    arguments: str

    @property
    def size(self) -> int:
        """Of the whole disk in bytes."""
        return gpt.disk_bytes(self.partitions)

    def named(self, name: str) -> gpt.Partition:
        """The partition of this name."""
        return next(each for each in self.partitions if each.name == name)


def plan(flavor: Flavor, seed: str, mtime: int) -> Plan:
    """Where everything goes."""
    slot = flavor.slot_mib * MIB
    wishes = [
        gpt.Wish("bios", gpt.BIOS_BOOT, BIOS_MIB * MIB),
        gpt.Wish("esp", gpt.EFI_SYSTEM, ESP_MIB * MIB),
        gpt.Wish("slot-a", gpt.LINUX_DATA, slot),
        gpt.Wish("slot-b", gpt.LINUX_DATA, slot),
        gpt.Wish("config", gpt.LINUX_DATA, flavor.config_mib * MIB),
    ]
    arguments = f"{flavor.console} {ARGUMENTS}"
    return Plan(partitions=gpt.placed(wishes, seed), seed=seed, mtime=mtime, arguments=arguments)


def write(target: Path, planned: Plan, slot: Path, files: Mapping[str, bytes], work: Path) -> None:
    """Write the disk with this system in slot a, and these files in the configuration partition.

    Raises:
        ApplianceError: The system is larger than a slot, or a tool failed.
    """
    room, size = planned.named("slot-a").size, slot.stat().st_size
    if size > room:
        raise ApplianceError(
            f"the system has {size // MIB} MiB and a slot has room for {room // MIB}",
            hint="Leave out plugins, or choose a flavor with larger slots.",
        )
    boot, core = bios_loader(work, planned)
    head, tail = gpt.tables(planned.partitions, planned.seed, planned.size)
    parts = {
        "bios": core,
        "esp": esp(work, planned).read_bytes(),
        "config": config_file_system(work, planned, files).read_bytes(),
    }
    with target.open("wb") as disk:
        disk.truncate(planned.size)
        disk.write(gpt.protective_mbr(boot, planned.size) + head)
        disk.seek(planned.size - len(tail))
        disk.write(tail)
        for name, data in parts.items():
            write_sparse(disk.fileno(), planned.named(name).start, data)
        with slot.open("rb") as source:
            disk.seek(planned.named("slot-a").start)
            shutil.copyfileobj(source, disk, MIB)


def write_sparse(handle: int, start: int, data: bytes) -> None:
    """Write what is not zero; the rest of the file stays a hole."""
    nothing = bytes(MIB)
    for at in range(0, len(data), MIB):
        piece = data[at : at + MIB]
        if piece != nothing[: len(piece)]:
            os.pwrite(handle, piece, start + at)


def bios_loader(work: Path, planned: Plan) -> tuple[bytes, bytes]:
    """Code of the first sector, and what it loads; both know at which sector the rest begins."""
    core = work / "core.img"
    _mkimage("i386-pc", "(,gpt2)/grub", core, "biosdisk")
    first = planned.named("bios").first_sector
    boot = bytearray((GRUB / "i386-pc/boot.img").read_bytes())
    struct.pack_into("<Q", boot, 0x5C, first)
    boot[0x66:0x68] = b"\x90\x90"  # do not trust the firmware's idea of the drive: as grub-install does on hard disks
    image = bytearray(core.read_bytes())
    struct.pack_into("<Q", image, 0x1F4, first + 1)
    return bytes(boot), bytes(image)


def esp(work: Path, planned: Plan) -> Path:
    """The file system that UEFI starts from, and that holds what both loaders read."""
    loader, target = work / "BOOTX64.EFI", work / "esp.img"
    _mkimage("x86_64-efi", "/grub", loader, "efi_gop")
    config = (Path(__file__).parent / "boot/grub.cfg").read_text().replace("@ARGUMENTS@", planned.arguments)
    (work / "grub.cfg").write_text(config)
    (work / "grubenv").write_bytes(grubenv.format_block(grubenv.BootState()))
    target.unlink(missing_ok=True)
    with target.open("wb") as file:
        file.truncate(ESP_MIB * MIB)
    env = {"SOURCE_DATE_EPOCH": str(planned.mtime), "MTOOLS_SKIP_CHECK": "1"}
    volume = planned.named("esp").guid.hex[:8]
    run("mkfs.vfat", "--invariant", "-F", "32", "-n", "APPLBOOT", "-i", volume, target, env=env)
    run("mmd", "-i", target, "::/EFI", "::/EFI/BOOT", "::/grub", env=env)
    for source, place in (
        (loader, "::/EFI/BOOT/BOOTX64.EFI"),
        (work / "grub.cfg", "::/grub/"),
        (work / "grubenv", "::/grub/"),
    ):
        os.utime(source, (planned.mtime, planned.mtime))
        run("mcopy", "-m", "-i", target, source, place, env=env)
    return target


def config_file_system(work: Path, planned: Plan, files: Mapping[str, bytes]) -> Path:
    """The configuration partition with these files in its top folder."""
    target, partition = work / "config.img", planned.named("config")
    target.unlink(missing_ok=True)
    with target.open("wb") as file:
        file.truncate(partition.size)
    env = {"E2FSPROGS_FAKE_TIME": str(planned.mtime)}
    seed = gpt.identifier(planned.seed, "hash-seed")
    options = (
        "-q",
        "-t",
        "ext4",
        "-U",
        str(partition.guid),
        "-L",
        LABEL_CONFIG,
        "-m",
        "0",
        "-O",
        "^metadata_csum_seed",
    )
    extended = f"hash_seed={seed},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
    run("mke2fs", *options, "-E", extended, target, env=env)
    put_files(target, files, work, env)
    return target


def put_files(target: str | Path, files: Mapping[str, bytes], work: Path, env: Mapping[str, str] | None = None) -> None:
    """Write files into the top folder of an ext4 file system that is not mounted, for root alone.

    `target` may be ``FILE?offset=BYTES``, as debugfs(8) takes it.
    """
    commands = []
    for number, (name, data) in enumerate(sorted(files.items())):
        source = work / f"put-{number}"
        source.write_bytes(data)
        commands += [
            f"rm {name}",
            f"write {source} {name}",
            f"sif {name} mode 0100600",
            f"sif {name} uid 0",
            f"sif {name} gid 0",
        ]
    if commands:
        script = work / "put"
        script.write_text("\n".join(commands) + "\n")
        run("debugfs", "-w", "-f", script, str(target), env=env)


def qcow2(raw: Path, target: Path) -> None:
    """The same disk in qemu's format."""
    run("qemu-img", "convert", "-q", "-f", "raw", "-O", "qcow2", raw, target)


def partitions_of(disk: Path) -> Sequence[gpt.Partition]:
    """The partitions of a disk in a file.

    Raises:
        ApplianceError: It is no disk image of ours.
    """
    try:
        with disk.open("rb") as file:
            found = gpt.parse(file.read(34 * gpt.SECTOR))
    except (OSError, ValueError) as error:
        raise ApplianceError(
            f"{disk} is no disk image: {error}", hint="Name the .raw file that a build made."
        ) from error
    if [each.name for each in found] != ["bios", "esp", "slot-a", "slot-b", "config"]:
        raise ApplianceError(f"{disk} has other partitions than an appliance", hint="Name the .raw file of a build.")
    return found


def _mkimage(platform: str, prefix: str, target: Path, *more: str) -> None:
    run("grub-mkimage", "-O", platform, "-p", prefix, "-o", target, *more, *MODULES)
