"""Which device is which: Ethernet devices, and the one whose link comes up when a cable is plugged in.

A device that is down tells nothing about its link, so looking for one sets all of them up, and afterwards those down
again that were. ioctl instead of netlink: it needs neither trio nor pyroute2, and sees the namespace it is called in.
"""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TextIO

from appliance.errors import KernelError, UsageError

# linux/sockios.h, linux/if.h, linux/if_arp.h
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFHWADDR = 0x8913, 0x8914, 0x8927
IFF_UP, IFF_LOOPBACK, IFF_RUNNING = 0x1, 0x8, 0x40
ARPHRD_ETHER = 1
VIRTUAL_MAC = bytes.fromhex("00005e0001")
"""Devices of virtual hosts are not cables."""
WAIT_S = 60.0
"""To walk to the machine and plug a cable in."""
POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """An Ethernet device of this machine."""

    name: str
    mac: str
    is_up: bool
    has_link: bool
    """Never while it is down."""


def devices() -> tuple[Device, ...]:
    """The Ethernet devices of this machine, in the kernel's order; without those of virtual hosts."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        return tuple(found for _, name in socket.if_nameindex() if (found := _device(asked, name)) is not None)


def plugged(before: Mapping[str, bool], now: Mapping[str, bool]) -> list[str]:
    """Devices that had no link before and have one now."""
    return [name for name, has_link in now.items() if has_link and not before.get(name, False)]


def find_plugged(network: str, stdin: TextIO, say: Callable[[str], None]) -> str:
    """Wait until a cable is plugged into one device; a line on `stdin` ends it.

    Raises:
        UsageError: Nobody did, or into several at once.
        KernelError: The devices cannot be set up.
    """
    with all_up():
        say(f"Plug in the cable of {network}; pull it first if it is in. Enter gives up.")
        before = {each.name: each.has_link for each in devices()}
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            if select.select([stdin], [], [], POLL_S)[0]:
                stdin.readline()
                break
            now = {each.name: each.has_link for each in devices()}
            found = plugged(before, now)
            if len(found) == 1:
                say(f"{network} is {found[0]}.")
                return found[0]
            if found:
                raise UsageError(f"the links of {' and '.join(found)} came up", hint="Plug in one cable at a time.")
            before = now
    raise UsageError("no link came up", hint="Give the name of the device, or try again.")


def all_up() -> AbstractContextManager[None]:
    """Every device is up meanwhile, see `up`."""
    return up([each.name for each in devices() if not each.is_up])


@contextmanager
def up(down: Collection[str]) -> Iterator[None]:
    """Devices that are down are up meanwhile.

    Raises:
        KernelError: They cannot be set up.
    """
    try:
        for name in down:
            _set_up(name, is_up=True)
        yield
    finally:
        for name in down:
            _set_up(name, is_up=False)


def _device(asked: socket.socket, name: str) -> Device | None:
    request = struct.pack("16s24x", name.encode())
    try:
        flags = _flags(asked, name)
        family, mac = struct.unpack("16xH6s16x", fcntl.ioctl(asked, SIOCGIFHWADDR, request))
    except OSError:
        return None  # it has gone meanwhile
    if family != ARPHRD_ETHER or flags & IFF_LOOPBACK or mac.startswith(VIRTUAL_MAC):
        return None
    is_up = bool(flags & IFF_UP)
    return Device(name=name, mac=mac.hex(":"), is_up=is_up, has_link=is_up and bool(flags & IFF_RUNNING))


def _flags(asked: socket.socket, name: str) -> int:
    answer = fcntl.ioctl(asked, SIOCGIFFLAGS, struct.pack("16s24x", name.encode()))
    return int(struct.unpack("16xH22x", answer)[0])


def _set_up(name: str, *, is_up: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            flags = _flags(asked, name)
            wanted = flags | IFF_UP if is_up else flags & ~IFF_UP
            fcntl.ioctl(asked, SIOCSIFFLAGS, struct.pack("16sH22x", name.encode(), wanted))
        except OSError as error:
            raise KernelError(
                f"cannot set {name} {'up' if is_up else 'down'}: {error.strerror}",
                hint="Run the wizard as root, or give the name of the device.",
            ) from None
