"""Kernel switches of a firewall, written only where they differ.

Never rewritten when they are right: writing ``ip_forward`` resets the switch of every device, also of the
virtual MAC devices whose closed gate keeps a BACKUP deaf and mute. ``all.disable_ipv6`` is never touched,
for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

NODE: Mapping[str, str] = {
    "net/ipv4/ip_forward": "1",
    "net/ipv6/conf/all/forwarding": "1",
}
"""Looked at when the service starts and is reloaded, and when the kernel tells that somebody changed one."""

_DEVICE: Mapping[str, str] = {
    # Otherwise global IPv6 addresses vanish with every unplugged cable.
    "net/ipv6/conf/{}/keep_addr_on_down": "1",
    # Otherwise the device answers ARP for virtual addresses, with its own MAC …
    "net/ipv4/conf/{}/arp_ignore": "1",
    # … and asks in their name, which poisons what neighbours have learned.
    "net/ipv4/conf/{}/arp_announce": "2",
    # Otherwise removing one address of a network takes the others along.
    "net/ipv4/conf/{}/promote_secondaries": "1",
}
_ROOT = Path("/proc/sys")


def of_device(device: str) -> dict[str, str]:
    """What is set on each device of a logical interface."""
    return {path.format(device): value for path, value in _DEVICE.items()}


def adjust(wanted: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Write what differs.

    Returns:
        Paths that were changed, and a sentence for each that could not be. A switch that this kernel
        does not have (IPv6 built without, device just gone) is neither.
    """
    changed: list[str] = []
    failed: list[str] = []
    for path, value in wanted:
        file = _ROOT / path
        try:
            if file.read_text(encoding="ascii").strip() == value:
                continue
            file.write_text(value, encoding="ascii")
            changed.append(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            failed.append(f"{path} cannot be set to {value}: {error.strerror}")
    return changed, failed
