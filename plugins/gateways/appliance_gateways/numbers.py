"""The number of each gateway: the low byte of the mark of its connections, the same on every node.

It comes from the name alone, so nodes agree without talking and a reload that adds gateways leaves the others'
connections where they are, unless two names fall on one number.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

NUMBERS = 255
"""1 to 255: 0 in the low byte of a mark means that no gateway was chosen."""
FIRST_TABLE = 1000
"""Gateway number N has routing table 1000 + N; tables below 256 are the kernel's and of old programs."""


def numbers(names: Iterable[str]) -> Mapping[str, int]:
    """A number for each name; at most `NUMBERS` names get one.

    Collisions go to the next free number, in the order of the sorted names.
    """
    taken: dict[int, str] = {}
    for name in sorted(set(names))[:NUMBERS]:
        place = zlib.crc32(name.encode()) % NUMBERS
        while place + 1 in taken:
            place = (place + 1) % NUMBERS
        taken[place + 1] = name
    return {name: number for number, name in taken.items()}


def table_of(number: int) -> int:
    """The routing table of a gateway."""
    return FIRST_TABLE + number
