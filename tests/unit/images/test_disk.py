"""Whole disks, with the real tools: read back, reproduced, and given a configuration."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance_images import disk, grubenv, inspect, recipe

FLAVOR = recipe.flavor_named("vm")
SYSTEM = b"hsqs" + bytes(range(256)) * 64


def made(folder: Path, name: str = "disk.raw") -> Path:
    """A disk with a system that is none."""
    work = folder / f"work-{name}"
    work.mkdir()
    (work / "slot").write_bytes(SYSTEM)
    disk.write(folder / name, disk.plan(FLAVOR, "seed", 1_700_000_000), work / "slot", {"appliance.toml": b"old"}, work)
    return folder / name


def test_the_same_inputs_make_the_same_disk(tmp_path: Path) -> None:
    one, two = made(tmp_path, "one.raw"), made(tmp_path, "two.raw")
    assert subprocess.run(["cmp", one, two], check=False, timeout=60).returncode == 0


def test_everything_is_where_it_belongs(tmp_path: Path) -> None:
    image = made(tmp_path)
    partitions = disk.partitions_of(image)
    with image.open("rb") as file:
        boot = file.read(512)
        assert boot[510:] == b"\x55\xaa"
        file.seek(partitions[0].start)
        core = file.read(512)
        file.seek(partitions[2].start)
        assert file.read(len(SYSTEM)) == SYSTEM
    first = partitions[0].first_sector
    assert int.from_bytes(boot[0x5C:0x64], "little") == first, "the first sector knows where the loader is"
    assert int.from_bytes(core[0x1F4:0x1FC], "little") == first + 1, "and the loader where it goes on"
    assert image.stat().st_blocks * 512 < 16 << 20, "what is zero takes no room"
    assert inspect.boot_state(image, partitions[1], tmp_path) == grubenv.BootState()


def test_the_boot_script_is_one_that_grub_understands(tmp_path: Path) -> None:
    made(tmp_path)
    script = tmp_path / "work-disk.raw" / "grub.cfg"
    subprocess.run(["grub-script-check", script], check=True, timeout=20)
    assert FLAVOR.console in script.read_text()


def test_files_are_put_in_place_of_older_ones_for_root_alone(tmp_path: Path) -> None:
    image = made(tmp_path)
    where = f"{image}?offset={disk.partitions_of(image)[4].start}"
    disk.put_files(where, {"appliance.toml": b"new"}, tmp_path)
    show = ["debugfs", "-R", "cat appliance.toml", where]
    assert subprocess.run(show, check=True, capture_output=True, timeout=20).stdout == b"new"
    state = ["debugfs", "-R", "stat appliance.toml", where]
    text = subprocess.run(state, check=True, capture_output=True, text=True, timeout=20).stdout
    assert "Mode:  0600" in text


def test_a_system_larger_than_a_slot_is_refused(tmp_path: Path) -> None:
    slot = tmp_path / "slot"
    slot.touch()
    os.truncate(slot, FLAVOR.slot_mib * recipe.MIB + 1)
    with pytest.raises(ApplianceError, match="a slot has room for 256"):
        disk.write(tmp_path / "disk", disk.plan(FLAVOR, "seed", 0), slot, {}, tmp_path)


def test_another_file_is_no_disk(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ApplianceError, match="is no disk image: there is no GPT"):
        disk.partitions_of(tmp_path / "text")
