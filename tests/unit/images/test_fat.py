"""Finding a file in a FAT32 file system, against the one that mtools makes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance_images import fat

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def volume(made: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copy(made, tmp_path / "volume"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file system like the one that boots, with the file in its folder after others."""
    tmp_path = tmp_path_factory.mktemp("esp")
    path = tmp_path / "esp.img"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    (tmp_path / "block").write_bytes(CONTENT)
    run = lambda *argv: subprocess.run([*argv], check=True, timeout=20)  # noqa: E731
    run("mkfs.vfat", "--invariant", "-F", "32", path)
    run("mmd", "-i", path, "::/EFI", "::/grub")
    fillers = [tmp_path / f"a long name {number}" for number in range(20)]  # more than a cluster has room for
    for filler in fillers:
        filler.write_bytes(b"x" * 700)
    run("mcopy", "-i", path, *fillers, "::/grub/")
    run("mcopy", "-i", path, tmp_path / "block", "::/grub/grubenv")
    return path


def reader(path: Path) -> Callable[[int, int], bytes]:
    handle = os.open(path, os.O_RDONLY)
    return lambda size, offset: os.pread(handle, size, offset)


def test_the_extents_are_the_file(volume: Path) -> None:
    extents = fat.locate(reader(volume), "grub/grubenv")
    data = volume.read_bytes()
    assert b"".join(data[each.offset : each.offset + each.size] for each in extents) == CONTENT
    assert sum(each.size for each in extents) == len(CONTENT)


@pytest.mark.parametrize("path", ["grub/other", "nowhere/grubenv", "grubenv", "grub"])
def test_what_is_not_there_is_not_found(volume: Path, path: str) -> None:
    with pytest.raises(ValueError, match="there is no"):
        fat.locate(reader(volume), path)


def test_another_file_system_is_refused(tmp_path: Path) -> None:
    (tmp_path / "zero").write_bytes(bytes(4096))
    with pytest.raises(ValueError, match="no FAT32"):
        fat.locate(reader(tmp_path / "zero"), "grub/grubenv")


def test_a_damaged_table_is_an_error_and_no_endless_loop(volume: Path) -> None:
    data = bytearray(volume.read_bytes())
    reserved = int.from_bytes(data[14:16], "little")
    table = reserved * 512
    for cluster in range(2, 400):  # every cluster follows itself
        data[table + 4 * cluster : table + 4 * cluster + 4] = cluster.to_bytes(4, "little")
    volume.write_bytes(data)
    with pytest.raises(ValueError, match=r"no end|there is no"):
        fat.locate(reader(volume), "grub/grubenv")
