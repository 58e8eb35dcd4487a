"""Partition tables of disks that boot under BIOS and UEFI (UEFI specification 2.10, chapter 5).

Identifiers are derived from a seed, so that the same inputs make the same disk. Sectors have 512 bytes.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

SECTOR = 512
ALIGN = 1 << 20
"""Partitions begin at multiples of this, as flash memory likes it."""
ENTRIES = 128
ENTRY_BYTES = 128
TABLE_SECTORS = ENTRIES * ENTRY_BYTES // SECTOR
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRY = struct.Struct("<16s16sQQQ72s")
SIGNATURE, REVISION = b"EFI PART", 0x00010000

BIOS_BOOT = uuid.UUID("21686148-6449-6e6f-744e-656564454649")
EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX_DATA = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition of a disk."""

    name: str
    kind: uuid.UUID
    start: int
    """Bytes from the beginning of the disk."""
    size: int
    guid: uuid.UUID

    @property
    def first_sector(self) -> int:
        """Address of its first sector."""
        return self.start // SECTOR


@dataclass(frozen=True, slots=True)
class Wish:
    """A partition before it has a place."""

    name: str
    kind: uuid.UUID
    size: int


def identifier(seed: str, name: str) -> uuid.UUID:
    """A random-looking identifier (version 4) that is the same for the same words."""
    return uuid.UUID(bytes=hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16], version=4)


def placed(wishes: Sequence[Wish], seed: str) -> tuple[Partition, ...]:
    """Partitions one after the other."""
    start, made = ALIGN, []
    for wish in wishes:
        guid = identifier(seed, wish.name)
        made.append(Partition(name=wish.name, kind=wish.kind, start=start, size=wish.size, guid=guid))
        start += -(-wish.size // ALIGN) * ALIGN
    return tuple(made)


def disk_bytes(partitions: Sequence[Partition]) -> int:
    """Smallest disk for these, with the copy of the table at its end."""
    last = partitions[-1]
    return -(-(last.start + last.size) // ALIGN) * ALIGN + ALIGN


def tables(partitions: Sequence[Partition], seed: str, size: int) -> tuple[bytes, bytes]:
    """What goes to the beginning (from the second sector on) and to the end of a disk of this size."""
    sectors = size // SECTOR
    entries = b"".join(_entry(each) for each in partitions).ljust(ENTRIES * ENTRY_BYTES, b"\0")
    guid = identifier(seed, "disk")
    first = _header(guid, entries, own=1, other=sectors - 1, table=2, sectors=sectors)
    second = _header(guid, entries, own=sectors - 1, other=1, table=sectors - 1 - TABLE_SECTORS, sectors=sectors)
    return first + entries, entries + second


def protective_mbr(boot_code: bytes, size: int) -> bytes:
    """The first sector: code for BIOS, and one partition that keeps old tools away."""
    sectors = min(size // SECTOR - 1, 0xFFFFFFFF)
    # Active, because some firmware boots nothing else; type 0xEE, from sector 1 to the end.
    entry = struct.pack("<B3sB3sII", 0x80, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, sectors)
    return boot_code[:440].ljust(446, b"\0") + entry + bytes(48) + b"\x55\xaa"


def parse(head: bytes) -> tuple[Partition, ...]:
    """The partitions in the first sectors of a disk; at least 34 sectors are needed.

    Raises:
        ValueError: There is no valid table.
    """
    header = head[SECTOR : SECTOR + HEADER.size]
    if len(header) < HEADER.size or not header.startswith(SIGNATURE):
        raise ValueError("there is no GPT partition table")
    values = HEADER.unpack(header)
    table, count, size, checksum = values[10], values[11], values[12], values[13]
    blanked = header[:16] + bytes(4) + header[20:]
    entries = head[table * SECTOR : table * SECTOR + ENTRIES * ENTRY_BYTES]
    if (count, size) != (ENTRIES, ENTRY_BYTES) or zlib.crc32(blanked) != values[3] or zlib.crc32(entries) != checksum:
        raise ValueError("the partition table is damaged")
    found = (ENTRY.unpack_from(entries, at) for at in range(0, len(entries), ENTRY_BYTES))
    return tuple(_partition(values) for values in found if values[0] != bytes(16))


def _partition(values: tuple[bytes, bytes, int, int, int, bytes]) -> Partition:
    kind, guid, first, last, _, name = values
    return Partition(
        name=name.decode("utf-16-le").rstrip("\0"),
        kind=uuid.UUID(bytes_le=kind),
        guid=uuid.UUID(bytes_le=guid),
        start=first * SECTOR,
        size=(last - first + 1) * SECTOR,
    )


def _entry(each: Partition) -> bytes:
    last = each.first_sector + each.size // SECTOR - 1
    name = each.name.encode("utf-16-le").ljust(72, b"\0")
    return ENTRY.pack(each.kind.bytes_le, each.guid.bytes_le, each.first_sector, last, 0, name)


def _header(guid: uuid.UUID, entries: bytes, *, own: int, other: int, table: int, sectors: int) -> bytes:
    first, last = 2 + TABLE_SECTORS, sectors - 2 - TABLE_SECTORS

    def pack(checksum: int) -> bytes:
        fields = (HEADER.size, checksum, 0, own, other, first, last, guid.bytes_le, table)
        return HEADER.pack(SIGNATURE, REVISION, *fields, ENTRIES, ENTRY_BYTES, zlib.crc32(entries))

    return pack(zlib.crc32(pack(0))).ljust(SECTOR, b"\0")
