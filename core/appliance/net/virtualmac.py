"""How the device is named that carries a virtual MAC: CARP makes it, and rules that see incoming packets name it."""

from __future__ import annotations

import zlib

DEVICE_NAME_MAX = 15
"""IFNAMSIZ - 1."""


def virtual_device(parent: str, vhid: int) -> str:
    """The device that carries a virtual host's MAC above its parent: packets to the virtual MAC come in there.

    Readable when it fits into the kernel's 15 characters, and always the same for the same parent.
    """
    name = f"{parent}.v{vhid}"
    return name if len(name) <= DEVICE_NAME_MAX else f"{zlib.crc32(parent.encode()):08x}.v{vhid}"
