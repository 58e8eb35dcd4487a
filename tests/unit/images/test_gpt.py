"""Partition tables are read back as they were written, and damage is noticed."""

from __future__ import annotations

import uuid

import pytest

from appliance_images import gpt

WISHES = [gpt.Wish("bios", gpt.BIOS_BOOT, 1 << 20), gpt.Wish("slot-a", gpt.LINUX_DATA, 3_000_000)]


def disk(seed: str = "x") -> tuple[tuple[gpt.Partition, ...], bytearray]:
    partitions = gpt.placed(WISHES, seed)
    size = gpt.disk_bytes(partitions)
    head, tail = gpt.tables(partitions, seed, size)
    image = bytearray(size)
    image[: gpt.SECTOR + len(head)] = gpt.protective_mbr(b"code", size) + head
    image[size - len(tail) :] = tail
    return partitions, image


def test_partitions_begin_at_whole_megabytes_and_do_not_overlap() -> None:
    first, second = gpt.placed(WISHES, "x")
    assert (first.start, second.start) == (1 << 20, 2 << 20)
    assert gpt.disk_bytes((first, second)) == 6 << 20


def test_what_is_written_is_read_back() -> None:
    partitions, image = disk()
    found = gpt.parse(bytes(image[: 34 * gpt.SECTOR]))
    assert [(each.name, each.kind, each.guid, each.start) for each in found] == [
        (each.name, each.kind, each.guid, each.start) for each in partitions
    ]


def test_the_copy_at_the_end_points_to_itself() -> None:
    _, image = disk()
    last = gpt.HEADER.unpack_from(image, len(image) - gpt.SECTOR)
    assert last[5] == len(image) // gpt.SECTOR - 1
    assert last[6] == 1
    assert last[10] == last[5] - gpt.TABLE_SECTORS


def test_identifiers_are_those_of_the_seed() -> None:
    assert disk("x") == disk("x")
    assert disk("x")[0][0].guid != disk("y")[0][0].guid
    assert disk()[0][0].guid.version == 4


def test_the_first_sector_protects_the_disk_from_old_tools() -> None:
    sector = gpt.protective_mbr(bytes(512), 8 << 20)
    assert len(sector) == 512
    assert sector[450] == 0xEE
    assert sector[510:] == b"\x55\xaa"


@pytest.mark.parametrize("at", [gpt.SECTOR + 24, 2 * gpt.SECTOR + 40, gpt.SECTOR])
def test_a_damaged_table_is_refused(at: int) -> None:
    _, image = disk()
    image[at] ^= 1
    with pytest.raises(ValueError, match="partition table"):
        gpt.parse(bytes(image[: 34 * gpt.SECTOR]))


def test_an_empty_file_has_no_table() -> None:
    with pytest.raises(ValueError, match="no GPT"):
        gpt.parse(b"")


def test_well_known_types() -> None:
    assert uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b") == gpt.EFI_SYSTEM
