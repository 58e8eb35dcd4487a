"""The two system slots of a running image: what is in them, which one boots, and writing a new system into the other.

A power failure at any moment leaves a machine that boots: the slot to be written is taken out of the boot loader's list
first, its first megabyte is written last, and only then does the loader hear of it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError
from appliance_images import bundle, fat, grubenv, signing
from appliance_images.grubenv import BootState
from appliance_images.tools import run

BOOT_FACTS = Path("/run/appliance-boot")
"""Written by the first root: slot, disk and partitions this system started from."""
ENVIRONMENT = "GRUB/GRUBENV"
"""Of the file system that firmware starts from."""
MOUNT_POINT = Path("/run/appliance-slot")
OWN_MANIFEST = Path("/usr/lib/appliance/manifest.json")
NUMBERS = {"a": 3, "b": 4}
PIECE = 1 << 20
SQUASHFS_MAGIC = b"hsqs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The disk this system started from."""

    slot: str
    esp: str
    stem: str
    """Of the names of partitions: ``/dev/vda`` or ``/dev/nvme0n1p``."""
    disk: Path = Path("/dev/null")
    """The whole disk."""
    mount_point: Path = MOUNT_POINT
    """Where the other system is looked into."""
    keys: Path = signing.KEYS_FOLDER

    def device(self, slot: str) -> Path:
        """The partition of a slot."""
        return Path(f"{self.stem}{NUMBERS[slot]}")

    def boot_state(self) -> BootState:
        """What the boot loader goes by."""
        with self._esp(os.O_RDONLY) as handle:
            return grubenv.parse(b"".join(os.pread(handle, each.size, each.offset) for each in self.block(handle)))

    def set_boot_state(self, state: BootState) -> None:
        """Tell the boot loader; on the disk when this returns."""
        # In place, as GRUB itself does it; all that counts is in the first sector, which a disk writes whole or not.
        with self._esp(os.O_RDWR) as handle:
            block, at = grubenv.format_block(state), 0
            for each in self.block(handle):
                os.pwrite(handle, block[at : at + each.size], each.offset)
                at += each.size
            os.fsync(handle)

    def block(self, handle: int) -> list[fat.Extent]:
        """Where the block of the boot loader is in the file system that firmware starts from."""
        found = fat.locate(lambda size, offset: os.pread(handle, size, offset), ENVIRONMENT)
        if sum(each.size for each in found) != grubenv.SIZE:
            raise ValueError(f"{ENVIRONMENT} has another size than {grubenv.SIZE} bytes")
        return found

    @contextmanager
    def _esp(self, flags: int) -> Iterator[int]:
        try:
            handle = os.open(self.esp, flags | os.O_CLOEXEC)
            try:
                yield handle
            finally:
                os.close(handle)
        except (OSError, ValueError) as error:
            raise ApplianceError(
                f"the boot loader's file system on {self.esp} cannot be used: {error}",
                hint="This system goes on. Check the disk; if it is sound, flash the image again.",
            ) from error


def this_machine(facts: Path = BOOT_FACTS) -> Machine:
    """The disk this system started from.

    Raises:
        ApplianceError: It is no image.
    """
    try:
        values = dict(word.split("=", 1) for word in facts.read_text().split())
        return Machine(slot=values["SLOT"], esp=values["ESP"], stem=values["STEM"], disk=Path(values["DISK"]))
    except (OSError, KeyError, ValueError) as error:
        raise ApplianceError(
            "this machine does not run from an image, so it has no system slots",
            hint="Run this on a node that was started from an image; `appliance image build` makes one.",
        ) from error


def add(machine: Machine, file: Path) -> dict[str, Any]:
    """Write an upgrade into the slot that does not run, and let it boot next.

    Raises:
        ApplianceError: The signature or the content is wrong, or it does not fit. The running system stays the one
            that boots.
    """
    with bundle.opened(file, trusted(machine)) as upgrade, Writer(machine, upgrade.about) as writer:
        while piece := upgrade.slot.read(min(PIECE, upgrade.about.size - writer.at)):
            writer.write(piece)
        return writer.finish()


def trusted(machine: Machine) -> list[Path]:
    """The public keys of whoever may make upgrades."""
    return sorted(machine.keys.glob("*.pub"))


class Writer:
    """Writes a system into the slot that does not run, piece by piece. Leaving its block early leaves no system there.

    Args:
        machine: Whose slot.
        about: What the signed manifest says; its signature has been verified.
    """

    def __init__(self, machine: Machine, about: bundle.About) -> None:
        self._machine, self._about = machine, about
        self.slot = grubenv.other(machine.slot)
        self.at = 0
        """Bytes that have come."""
        self._device = machine.device(self.slot)
        self._digest, self._first = hashlib.sha256(), b""
        self._handle = -1

    def __enter__(self) -> Writer:
        with self._errors():
            self._handle = os.open(self._device, os.O_WRONLY | os.O_CLOEXEC)
        try:
            with self._errors():
                room = os.lseek(self._handle, 0, os.SEEK_END)
            if self._about.size > room:
                raise ApplianceError(
                    f"the new system has {self._about.size} bytes and {self._device} has room for {room}",
                    hint="Build it with fewer plugins, or flash the whole disk.",
                )
            self._machine.set_boot_state(self._machine.boot_state().blocked(self.slot))
            with self._errors():
                os.pwrite(self._handle, bytes(PIECE), 0)
                os.fsync(self._handle)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def write(self, piece: bytes) -> None:
        """The next bytes; the first `PIECE` of them at once."""
        self._digest.update(piece)
        with self._errors():
            if self.at == 0:
                self._first = piece
            elif self.at + len(piece) <= self._about.size:
                os.pwrite(self._handle, piece, self.at)
        self.at += len(piece)

    def finish(self) -> dict[str, Any]:
        """All has come: it boots next if it is what was signed.

        Raises:
            ApplianceError: It is not, or cannot be written.
        """
        is_whole = self.at == self._about.size and self._digest.hexdigest() == self._about.sha256
        if not is_whole or not self._first.startswith(SQUASHFS_MAGIC):
            raise ApplianceError(
                "the system in the file is not the one that was signed",
                hint="Nothing of it will boot. Get the file again.",
            )
        with self._errors():
            os.fsync(self._handle)
            os.pwrite(self._handle, self._first, 0)
            os.fsync(self._handle)
        self._machine.set_boot_state(self._machine.boot_state().on_trial(self.slot))
        return {"slot": self.slot, "version": self._about.version, "flavor": self._about.flavor, "boots": "next"}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ApplianceError(
                f"{self._device} cannot be written: {error.strerror}", hint="The running system stays; check the disk."
            ) from error


def listing(machine: Machine) -> list[dict[str, Any]]:
    """Both slots: version, whether it runs, whether it boots next, boots left."""
    state = machine.boot_state()
    return [
        {
            "slot": slot,
            "version": _version(machine, slot),
            "running": slot == machine.slot,
            "next": slot == state.next_slot,
            "boots_left": state.boots_left(slot),
        }
        for slot in grubenv.SLOTS
    ]


def choose(machine: Machine, slot: str) -> dict[str, Any]:
    """Let this slot boot next and from then on, if it proves healthy.

    Raises:
        ApplianceError: There is no system in it.
    """
    if slot != machine.slot and not holds_system(machine, slot):
        raise ApplianceError(f"slot {slot} holds no system", hint="`appliance image add FILE` writes one.")
    state = machine.boot_state()
    machine.set_boot_state(state.good(slot) if slot == machine.slot else state.on_trial(slot))
    return {"slot": slot, "boots": "next"}


def mark_good(machine: Machine) -> None:
    """The running system has proved healthy."""
    state = machine.boot_state()
    if state != state.good(machine.slot):
        machine.set_boot_state(state.good(machine.slot))


def holds_system(machine: Machine, slot: str) -> bool:
    """Whether something that may be a system is in a slot."""
    try:
        with machine.device(slot).open("rb") as file:
            return file.read(len(SQUASHFS_MAGIC)) == SQUASHFS_MAGIC
    except OSError:
        return False


def running_version() -> str:
    """Of the system that runs."""
    return _version_in(OWN_MANIFEST)


def _version(machine: Machine, slot: str) -> str:
    """Version of the system in a slot: empty if there is none."""
    if slot == machine.slot:
        return running_version()
    if not holds_system(machine, slot):
        return ""
    place = machine.mount_point
    place.mkdir(exist_ok=True)
    try:
        run("mount", "-t", "squashfs", "-o", "ro,nosuid,nodev,noexec", machine.device(slot), place)
    except ApplianceError:
        return ""
    try:
        return _version_in(place / "usr/lib/appliance/manifest.json")
    finally:
        run("umount", place)


def _version_in(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())["version"])
    except (OSError, ValueError, KeyError):
        return "unknown"
