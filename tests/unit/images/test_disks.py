"""Disks of a machine: what is on them, and which ones are in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.errors import UsageError
from appliance_images import disks, gpt
from appliance_images.disks import Disk


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """What the kernel tells: sda runs, nvme0n1 is mounted, sdb is free, the others are no disks to write to."""
    sizes = {"sda": 4096, "sdb": 2048, "nvme0n1": 2048, "loop0": 99, "sr0": 99, "sdc": 0}
    for name, sectors in sizes.items():
        (tmp_path / "block" / name / "device").mkdir(parents=True)
        (tmp_path / "block" / name / "size").write_text(f"{sectors}\n")
        (tmp_path / "block" / name / "ro").write_text("0\n")
    (tmp_path / "block/sdb/device/model").write_text("Good Disk   \n")
    (tmp_path / "mounts").write_text("/dev/nvme0n1p2 /mnt ext4 rw 0 0\ntmpfs /run tmpfs rw 0 0\n")
    return tmp_path


def found(kernel: Path) -> list[Disk]:
    return list(disks.disks("/dev/sda", folder=kernel / "block", mounts=kernel / "mounts"))


def test_only_disks_are_listed_with_what_uses_them(kernel: Path) -> None:
    assert [(disk.name, disk.is_used) for disk in found(kernel)] == [("nvme0n1", True), ("sda", True), ("sdb", False)]
    (free,) = (disk for disk in found(kernel) if not disk.is_used)
    assert (free.size, free.model, free.content) == (2048 * 512, "Good Disk", "no partition table")


def test_partitions_of_disks_whose_name_ends_with_a_digit_have_a_letter_between(kernel: Path) -> None:
    assert {disk.name: disk.stem for disk in found(kernel)}["nvme0n1"] == "/dev/nvme0n1p"
    assert {disk.name: disk.stem for disk in found(kernel)}["sdb"] == "/dev/sdb"


def test_a_disk_that_is_in_use_or_not_there_is_refused_with_those_that_could_be_taken(kernel: Path) -> None:
    assert disks.named("/dev/sdb", iter(found(kernel))).name == "sdb"
    for name, why in (("sda", "is in use"), ("sdx", "there is no disk")):
        with pytest.raises(UsageError, match=why) as caught:
            disks.named(name, iter(found(kernel)))
        assert caught.value.hint == "Disks that could be taken: sdb."


def test_names_on_a_disk_are_those_of_its_partitions(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(bytes(1 << 20))
    assert disks.names_on(tmp_path / "empty") == []
    parts = gpt.placed([gpt.Wish("one", gpt.LINUX_DATA, 1 << 20), gpt.Wish("", gpt.LINUX_DATA, 1 << 20)], "seed")
    size = gpt.disk_bytes(parts)
    (tmp_path / "disk").write_bytes(gpt.protective_mbr(b"", size) + gpt.tables(parts, "seed", size)[0])
    assert disks.names_on(tmp_path / "disk") == ["one", "number 2"]
