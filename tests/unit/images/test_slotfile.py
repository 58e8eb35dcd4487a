"""A slot holds two file systems: one for the boot loader, one for the kernel, and each is found."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from appliance_images import recipe, slotfile
from appliance_images.tree import Tree

MTIME = 1_700_000_000
GZIP, ZSTD = 1, 6
"""As in the field at 20 of a superblock."""


@pytest.fixture
def slot(tmp_path: Path) -> Path:
    tree = Tree(MTIME)
    tree.add_file("boot/vmlinuz", b"kernel" * 5000)
    tree.add_file("usr/bin/ip", b"ip")
    tree.add_file("about", b"{}")
    slotfile.write(tree, tmp_path / "slot", flavor=recipe.flavor_named("vm"), shared="about", mtime=MTIME)
    return tmp_path / "slot"


def files_in(slot: Path, part: int) -> str:
    """What another program finds in one of the file systems."""
    with slot.open("rb") as file:
        start, size = slotfile.parts(file)[part]
    alone = slot.with_name("alone")
    alone.write_bytes(slot.read_bytes()[start : start + size])
    return subprocess.run(["rdsquashfs", "-d", alone], check=True, capture_output=True, text=True, timeout=20).stdout


def test_the_boot_loader_reads_the_kernel_and_the_kernel_the_rest(slot: Path) -> None:
    assert [line.split()[1] for line in files_in(slot, 0).splitlines() if line.startswith("file")] == [
        "about", "boot/vmlinuz",
    ]  # fmt: skip
    assert [line.split()[1] for line in files_in(slot, 1).splitlines() if line.startswith("file")] == [
        "about", "usr/bin/ip",
    ]  # fmt: skip


def test_the_first_one_is_compressed_as_grub_can_read_it(slot: Path) -> None:
    data = slot.read_bytes()
    with slot.open("rb") as file:
        (first, size), (second, rest) = slotfile.parts(file)
    assert [int.from_bytes(data[at + 20 : at + 22], "little") for at in (first, second)] == [GZIP, ZSTD]
    assert (first, second, second + rest) == (0, size, len(data))
    assert second % slotfile.ALIGNMENT == 0


def test_it_may_begin_somewhere_in_a_disk(slot: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(4096) + slot.read_bytes())
    with slot.open("rb") as alone, disk.open("rb") as whole:
        assert slotfile.parts(whole, 4096) == [(start + 4096, size) for start, size in slotfile.parts(alone)]


def test_half_of_a_slot_is_none(slot: Path) -> None:
    slot.write_bytes(slot.read_bytes()[:4096])
    with slot.open("rb") as file, pytest.raises(ValueError, match="no file system begins at byte 4096"):
        slotfile.parts(file)
