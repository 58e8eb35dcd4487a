"""One machine: both firmwares, a configuration from outside, upgrades, and what happens when they go wrong."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance_images import bundle, disk, grubenv, session, signing
from appliance_images.qemu import Hardware, VirtualMachine
from tests.image.conftest import Built

BOOT_S = 500
"""Some twenty seconds on two idle processors without hardware virtualization; a busy machine takes much longer."""
COMMAND_S = 200


def upgrade(folder: Path, name: str, about: dict[str, object], slot: Path, key: Path) -> Path:
    """An upgrade file like a build's."""
    content = {"sha256": hashlib.sha256(slot.read_bytes()).hexdigest(), "size": slot.stat().st_size}
    manifest = json.dumps({**about, "slot": content}).encode()
    target = folder / f"{name}.upgrade"
    bundle.write(target, manifest, signing.sign(signing.read_private(key), manifest), slot, 0)
    return target


@pytest.fixture(scope="module")
def upgrades(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path, Path]]:
    """A good upgrade, one of a stranger, and one whose kernel starts and finds no system."""
    folder = tmp_path_factory.mktemp("upgrades")
    assert built.order.key is not None
    subprocess.run(["tar", "-xf", built.file(".upgrade"), "-C", folder, "slot.squashfs"], check=True, timeout=60)
    signing.make(folder / "stranger.key")
    about = json.loads(built.file(".manifest.json").read_bytes())
    foreign = upgrade(folder, "foreign", about, folder / "slot.squashfs", folder / "stranger.key")
    (folder / "boot").mkdir()
    for name in ("vmlinuz", "initrd.img"):
        argv = ["rdsquashfs", "-c", f"boot/{name}", folder / "slot.squashfs"]
        (folder / "boot" / name).write_bytes(subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout)
    tar = subprocess.run(["tar", "-c", "-C", folder, "boot"], check=True, capture_output=True, timeout=60).stdout
    hollow = folder / "hollow.squashfs"
    subprocess.run(["tar2sqfs", "-q", "-c", "gzip", hollow], input=tar, check=True, timeout=60)
    broken = upgrade(folder, "broken", {**about, "version": "9.9"}, hollow, built.order.key)
    yield built.file(".upgrade"), foreign, broken
    for path in folder.glob("*.upgrade"):
        path.unlink()


@pytest.mark.timeout(1200)
def test_uefi_boots_to_the_console_with_the_configuration_that_the_machine_brings(built: Built, tmp_path: Path) -> None:
    config = session.write_example(tmp_path, "fw2")
    hardware = Hardware(disk=built.file(".qcow2"), folder=tmp_path, name="uefi", uefi=True, config=config)
    with VirtualMachine(hardware) as machine:
        machine.wait_for("took the configuration from the virtual machine", BOOT_S)
        machine.wait_for(r"^fw2> ", BOOT_S)


@pytest.mark.timeout(1200)
def test_a_system_that_does_not_come_up_gives_way_to_the_other_one(
    built: Built, upgrades: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    """Slot b has a kernel and nothing else, as after a bad build: two attempts, then slot a."""
    image = tmp_path / "broken.raw"
    subprocess.run(["cp", "--sparse=always", built.file(".raw"), image], check=True, timeout=60)
    partitions = disk.partitions_of(image)
    hollow = subprocess.run(["tar", "-xOf", upgrades[2], bundle.SLOT], check=True, capture_output=True, timeout=60)
    with image.open("r+b") as file:
        os.pwrite(file.fileno(), hollow.stdout, partitions[3].start)
    state = tmp_path / "grubenv"
    state.write_bytes(grubenv.format_block(grubenv.BootState().on_trial("b")))
    where = f"{image}@@{partitions[1].start}"
    subprocess.run(["mcopy", "-o", "-i", where, state, "::/grub/grubenv"], check=True, timeout=20)
    with VirtualMachine(Hardware(disk=image, folder=tmp_path, name="broken")) as machine:
        for slot in ("b", "b", "a"):
            machine.wait_for(f"appliance: slot {slot}", BOOT_S)


@pytest.mark.timeout(3000)
def test_upgrades_under_bios(built: Built, upgrades: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """One story, because every start costs half a minute: refused, cut short, done."""
    hardware = Hardware(disk=built.file(".raw"), folder=tmp_path, name="bios", disks=upgrades[:2])
    with VirtualMachine(hardware) as machine:
        machine.wait_for("appliance: slot a", BOOT_S)
        machine.wait_for(r"^fw1> ", BOOT_S)
        assert "the signature is wrong" in machine.ask("image add /dev/vdc", COMMAND_S)
        (first, second) = json.loads(machine.ask("image list --json", COMMAND_S))
        assert (first["running"], first["next"], second["version"]) == (True, True, "")
        machine.send("image add /dev/vdb")
        machine.wait_for_write(tmp_path / "bios.qcow2", 30 << 20, COMMAND_S)
    with VirtualMachine(hardware) as machine:  # the power failed while slot b was half written
        machine.wait_for("appliance: slot a", BOOT_S)
        machine.wait_for(r"^fw1> ", BOOT_S)
        assert "next" in machine.ask("image add /dev/vdb", COMMAND_S)
        machine.send("reboot")
        machine.wait_for("appliance: slot b", BOOT_S)
        machine.wait_for("slot b is healthy and stays", BOOT_S)
