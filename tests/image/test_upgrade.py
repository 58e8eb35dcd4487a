"""One machine takes an upgrade, and a power cut at any moment leaves a system that boots with the old or the new."""

from __future__ import annotations

import random
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from appliance_images import disk, grubenv
from appliance_images.inspect import boot_state
from appliance_images.qemu import Hardware, VirtualMachine, overlay_path
from appliance_images.slots import SQUASHFS_MAGIC
from tests.image.conftest import Cluster
from tests.image.nodes import BOOT_S, FORGED, SETTLE_S, UPGRADE, Saved

MIB = 1 << 20
SEED = 8
OLD, NEW = "mtu = 9000", "mtu = 8000"
"""What a commit changes in the configuration."""


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
        before, end = overlay.stat().st_blocks * 512, time.monotonic() + SETTLE_S
        machine.send(f"image add {UPGRADE}")
        while overlay.stat().st_blocks * 512 < before + written_mib * MIB:
            assert time.monotonic() < end, "nothing is written"
            time.sleep(0.02)
    return replace(hardware, snapshot="")


def listed(machine: VirtualMachine) -> dict[str, list[str]]:
    """Of each slot whether it runs, whether it boots next, and how many boots it has left."""
    rows = [line.split() for line in machine.ask("image list", SETTLE_S).splitlines()]
    return {row[0]: row[2:] for row in rows if len(row) == 5 and row[0] in grubenv.SLOTS}


@pytest.mark.timeout(1200)
def test_a_file_that_somebody_else_signed_is_refused_and_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    hardware = cluster.first.again(tmp_path)
    with VirtualMachine(hardware) as machine:
        assert "the signature is wrong" in machine.ask(f"image add {FORGED}", SETTLE_S)
    found = on_disk(hardware, tmp_path)
    assert found.state == grubenv.BootState()
    assert found.slot_b == bytes(MIB)


@pytest.mark.timeout(1200)
def test_what_is_added_boots_next_unless_somebody_chooses_the_old_one(cluster: Cluster, tmp_path: Path) -> None:
    """That it does boot is seen where both nodes are upgraded."""
    with VirtualMachine(cluster.first.again(tmp_path)) as machine:
        assert "next" in machine.ask(f"image add {UPGRADE}", SETTLE_S)
        assert listed(machine) == {"a": ["yes", "no", "3"], "b": ["no", "yes", "2"]}
        machine.ask("image default a", SETTLE_S)
        assert listed(machine) == {"a": ["yes", "yes", "3"], "b": ["no", "no", "2"]}
        machine.ask("image rollback", SETTLE_S)
        assert listed(machine) == {"a": ["yes", "no", "3"], "b": ["no", "yes", "2"]}


@pytest.mark.timeout(1200)
def test_a_power_cut_while_adding_leaves_the_old_system(cluster: Cluster, tmp_path: Path) -> None:
    """Each time the disk is looked at, and once the machine is started from it."""
    for number, written in enumerate(sorted(random.Random(SEED).sample(range(2, 90), 3))):
        folder = tmp_path / str(number)
        hardware = cut_while_adding(cluster.first, folder, written)
        found = on_disk(hardware, folder)
        assert found.state.next_slot == "a"
        assert found.state.boots_left("b") == 0
        assert found.slot_b[:4] != SQUASHFS_MAGIC, "what is half of a system looks like none"
    with VirtualMachine(hardware) as machine:
        machine.wait_for("appliance: slot a$", BOOT_S)
        machine.wait_for("node fw1 is up", BOOT_S)


@pytest.mark.timeout(1200)
def test_a_power_cut_during_a_commit_leaves_the_old_or_the_new_configuration(cluster: Cluster, tmp_path: Path) -> None:
    """Cut at some moments of a commit: the file is the old or the new one, the history whole."""
    about_to = Saved(cluster.first.again(tmp_path / "shell"), "commit")
    with VirtualMachine(about_to.hardware) as machine:
        for line, prompt in (("9", r"fw1\[\w+\]>"), ("configure", r"\[edit\]"), (f"set interfaces sync {NEW}", r"\]#")):
            machine.send(line.replace(" = ", " "))
            machine.wait_for(prompt, SETTLE_S)
        machine.save(about_to.name)
    before = on_disk(about_to.hardware, tmp_path)
    assert before.config == cluster.config
    for number, after_s in enumerate((0.0, *random.Random(SEED).sample([0.3, 0.6, 1.0, 1.5, 2.5, 4.0], 2))):
        place = tmp_path / f"commit{number}"
        hardware = about_to.again(place)
        with VirtualMachine(hardware) as machine:
            machine.send("commit")
            time.sleep(after_s)
        found = on_disk(hardware, place)
        assert found.config in (before.config, before.config.replace(OLD, NEW))
        assert found.revisions in (before.revisions, before.revisions + 1)
