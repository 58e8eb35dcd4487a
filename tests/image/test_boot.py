"""One machine with a slot whose system does not come up, and a configuration from outside."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from appliance_images import bundle, disk, grubenv, session
from appliance_images.qemu import Hardware, VirtualMachine
from tests.image.conftest import Built
from tests.image.nodes import BOOT_S


@pytest.fixture
def hollow(built: Built, tmp_path: Path) -> bytes:
    """A system slot whose kernel starts and finds no system."""
    slot = tmp_path / "slot.squashfs"
    subprocess.run(["tar", "-xf", built.file(".upgrade"), "-C", tmp_path, bundle.SLOT], check=True, timeout=60)
    (tmp_path / "boot").mkdir()
    for name in ("vmlinuz", "initrd.img"):
        argv = ["rdsquashfs", "-c", f"boot/{name}", slot]
        (tmp_path / "boot" / name).write_bytes(subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout)
    tar = subprocess.run(["tar", "-c", "-C", tmp_path, "boot"], check=True, capture_output=True, timeout=60).stdout
    subprocess.run(["tar2sqfs", "-q", "-c", "gzip", tmp_path / "hollow"], input=tar, check=True, timeout=60)
    return (tmp_path / "hollow").read_bytes()


def volume_with(config: Path, volume: Path) -> Path:
    """A small disk as somebody would make it from a stick: FAT, the label, the file."""
    with volume.open("wb") as file:
        file.truncate(4 << 20)
    subprocess.run(["mkfs.vfat", "-n", disk.VOLUME_LABEL, volume], check=True, capture_output=True, timeout=20)
    subprocess.run(["mcopy", "-i", volume, config, "::/appliance.toml"], check=True, timeout=20)
    return volume


@pytest.mark.timeout(1200)
def test_a_system_that_does_not_come_up_gives_way_to_the_other_one(built: Built, hollow: bytes, tmp_path: Path) -> None:
    """Slot b has a kernel and nothing else, as after a bad build: two attempts, then slot a.

    It starts with the configuration of a second disk, before the one that the image has.
    """
    volume = volume_with(session.write_example(tmp_path, "fw2"), tmp_path / "volume")
    image = tmp_path / "broken.raw"
    subprocess.run(["cp", "--sparse=always", built.file(".raw"), image], check=True, timeout=60)
    partitions = disk.partitions_of(image)
    with image.open("r+b") as file:
        os.pwrite(file.fileno(), hollow, partitions[3].start)
    state = tmp_path / "grubenv"
    state.write_bytes(grubenv.format_block(grubenv.BootState().on_trial("b")))
    where = f"{image}@@{partitions[1].start}"
    subprocess.run(["mcopy", "-o", "-i", where, state, "::/grub/grubenv"], check=True, timeout=20)
    with VirtualMachine(Hardware(disk=image, folder=tmp_path, name="broken", disks=[volume])) as machine:
        for slot in ("b", "b", "a"):
            machine.wait_for(f"appliance: slot {slot}", BOOT_S)
        machine.wait_for(r"took the configuration from /dev/\w+", BOOT_S)
