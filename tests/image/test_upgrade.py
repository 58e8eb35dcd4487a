"""One machine is upgraded: what it wrote boots and stays, and a power cut at any moment leaves a system that boots."""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance_images import bundle, disk, grubenv, session, signing
from appliance_images.inspect import boot_state
from appliance_images.qemu import Hardware, VirtualMachine, overlay_path
from appliance_images.slots import SQUASHFS_MAGIC
from tests.image.conftest import Built

BOOT_S, ANSWER_S = 500, 120
MIB = 1 << 20
SEED = 8
UPGRADE, FORGED = "/dev/vdb", "/dev/vdc"
MARK = "# another one\n"


@dataclass(frozen=True, slots=True)
class Saved:
    """A machine that was saved in a good moment."""

    hardware: Hardware
    name: str

    def again(self, folder: Path, **more: object) -> Hardware:
        """A copy that goes on from there."""
        folder.mkdir(exist_ok=True)
        overlay = Path(shutil.copy(overlay_path(self.hardware), folder / "one.qcow2"))
        return replace(self.hardware, folder=folder, overlay=overlay, snapshot=self.name, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def files(built: Built, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Disks that hold upgrades: the one that was built, and one that somebody else signed."""
    folder = tmp_path_factory.mktemp("upgrades")
    subprocess.run(["tar", "-xf", built.file(".upgrade"), "-C", folder], check=True, timeout=60)
    signing.make(folder / "stranger")
    manifest = (folder / bundle.MANIFEST).read_bytes()
    forged = signing.sign(signing.read_private(folder / "stranger"), manifest)
    bundle.write(folder / "forged.upgrade", manifest, forged, folder / bundle.SLOT, 0)
    return [built.file(".upgrade"), folder / "forged.upgrade"]


@pytest.fixture(scope="module")
def healthy(built: Built, files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """The system of slot a runs and has proved healthy."""
    folder = tmp_path_factory.mktemp("healthy")
    cards = [f"user,id=net{number},restrict=on" for number in range(3)]
    hardware = Hardware(disk=built.file(".qcow2"), folder=folder, name="one", netdevs=cards, disks=files)
    with VirtualMachine(hardware) as machine:
        machine.wait_for("slot a is healthy and stays", BOOT_S)
        machine.ask("image list", ANSWER_S)
        machine.save("healthy")
    yield Saved(hardware, "healthy")
    shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class OnDisk:
    """What a machine without power has on its disk."""

    state: grubenv.BootState
    slot_b: bytes
    """The beginning of its other slot."""
    config: str
    revisions: int


def on_disk(hardware: Hardware, folder: Path) -> OnDisk:
    """Look, as the boot loader and the next start would: the journal of the file system is replayed first."""
    raw, config = folder / "disk.raw", folder / "config.img"
    overlay = overlay_path(hardware)
    subprocess.run(["qemu-img", "convert", "-U", "-O", "raw", overlay, raw], check=True, timeout=120)
    partitions = disk.partitions_of(raw)
    with raw.open("rb") as file:
        file.seek(partitions[3].start)
        slot_b = file.read(MIB)
        file.seek(partitions[4].start)
        config.write_bytes(file.read(partitions[4].size))
    state = boot_state(raw, partitions[1], folder)
    raw.unlink()
    subprocess.run(["e2fsck", "-p", config], check=False, timeout=60, capture_output=True)
    assert subprocess.run(["e2fsck", "-n", "-f", config], check=False, timeout=60, capture_output=True).returncode == 0
    revisions = shown(config, "ls -p /state/config-history").count(".toml/")
    return OnDisk(state, slot_b, shown(config, "cat /appliance.toml"), revisions)


def shown(config: Path, what: str) -> str:
    """What debugfs says about a file system in a file."""
    argv = ["debugfs", "-R", what, config]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20).stdout


def cut_while_adding(saved: Saved, folder: Path, written_mib: int) -> Hardware:
    """Begin to add, and cut the power when so much more is on the disk."""
    hardware = saved.again(folder)
    with VirtualMachine(hardware) as machine:
        overlay = overlay_path(hardware)
        before, end = overlay.stat().st_blocks * 512, time.monotonic() + ANSWER_S
        machine.send(f"image add {UPGRADE}")
        while overlay.stat().st_blocks * 512 < before + written_mib * MIB:
            assert time.monotonic() < end, "nothing is written"
            time.sleep(0.02)
    return replace(hardware, snapshot="")


@pytest.mark.timeout(1200)
def test_a_file_that_somebody_else_signed_is_refused_and_changes_nothing(healthy: Saved, tmp_path: Path) -> None:
    hardware = healthy.again(tmp_path)
    with VirtualMachine(hardware) as machine:
        assert "the signature is wrong" in machine.ask(f"image add {FORGED}", ANSWER_S)
    found = on_disk(hardware, tmp_path)
    assert found.state == grubenv.BootState()
    assert found.slot_b == bytes(MIB)


@pytest.mark.timeout(1200)
def test_a_power_cut_while_adding_leaves_the_old_system(healthy: Saved, tmp_path: Path) -> None:
    for number, written in enumerate(sorted(random.Random(SEED).sample(range(2, 90), 3))):
        folder = tmp_path / str(number)
        hardware = cut_while_adding(healthy, folder, written)
        found = on_disk(hardware, folder)
        assert found.state.next_slot == "a"
        assert found.state.boots_left("b") == 0
        assert found.slot_b[:4] != SQUASHFS_MAGIC, "what is half of a system looks like none"


@pytest.mark.timeout(2400)
def test_after_a_power_cut_the_upgrade_boots_proves_healthy_and_stays(healthy: Saved, tmp_path: Path) -> None:
    """Three boots; then the power is cut during commits, from one saved moment."""
    config = tmp_path / "other.toml"
    config.write_text(MARK + session.example_config("fw1"))
    hardware = replace(cut_while_adding(healthy, tmp_path / "cut", 40), config=config)
    with VirtualMachine(hardware) as machine:
        machine.wait_for("appliance: slot a$", BOOT_S)
        machine.wait_for("slot a is healthy and stays", BOOT_S)
        assert "next" in machine.ask(f"image add {UPGRADE}", ANSWER_S)
        machine.send("reboot")
        machine.wait_for("appliance: slot b$", BOOT_S)
        machine.wait_for("slot b is healthy and stays", BOOT_S)
        machine.reach_menu(BOOT_S)
        assert listed(machine) == {"a": ["no", "no", "3"], "b": ["yes", "yes", "3"]}
        machine.save("upgraded")
        machine.ask("image rollback", ANSWER_S)
        assert listed(machine)["a"] == ["no", "yes", "2"]
        machine.ask("image default b", ANSWER_S)
        assert listed(machine)["b"] == ["yes", "yes", "3"]
    check_commits(Saved(hardware, "upgraded"), tmp_path)


def listed(machine: VirtualMachine) -> dict[str, list[str]]:
    """Of each slot whether it runs, whether it boots next, and how many boots it has left."""
    rows = [line.split() for line in machine.ask("image list", ANSWER_S).splitlines()]
    return {row[0]: row[2:] for row in rows if len(row) == 5 and row[0] in grubenv.SLOTS}


def check_commits(saved: Saved, folder: Path) -> None:
    """Cut the power at some moments of a commit: the file is the old or the new one, the history whole."""
    for number, after_s in enumerate((0.0, *random.Random(SEED).sample([1.5, 2.5, 3.0, 3.5, 4.0, 6.0], 2))):
        place = folder / f"commit{number}"
        hardware = saved.again(place)
        with VirtualMachine(hardware) as machine:
            machine.send("config rollback 1")
            time.sleep(after_s)
        found = on_disk(hardware, place)
        plain = session.example_config("fw1")
        assert found.config in (plain, MARK + plain)
        assert found.revisions in (2, 3)
