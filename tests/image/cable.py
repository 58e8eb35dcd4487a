"""``unshare -n python -m tests.image.cable FD ADDRESS ROUTER COMMAND…``: a command on a machine that is on the hub.

It has one network card, whose frames go to the station FD of a segment. ROUTER may be empty.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
"""linux/if_tun.h"""
DEVICE = "tap0"
FRAME_MAX = 65536


def plugged(station: socket.socket, address: str, *command: str, router: str = "") -> list[str]:
    """How a command is run on a machine of its own, whose cable is this station; its descriptor has to be passed on."""
    number = str(station.fileno())
    return ["unshare", "-n", sys.executable, "-m", "tests.image.cable", number, address, router, *command]


def main(argv: list[str]) -> int:
    """Run the command; its exit status."""
    station, address, router, *command = argv
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TAP | IFF_NO_PI))
    for words in (["addr", "add", address, "dev", DEVICE], ["link", "set", DEVICE, "up"]):
        subprocess.run(["ip", *words], check=True)
    if router:
        subprocess.run(["ip", "route", "add", "default", "via", router], check=True)
    cable = socket.socket(fileno=int(station))
    forward(lambda: os.read(tap, FRAME_MAX), cable.send)
    forward(lambda: cable.recv(FRAME_MAX), lambda frame: os.write(tap, frame))
    return subprocess.run(command).returncode


def forward(read: Callable[[], bytes], write: Callable[[bytes], int]) -> None:
    """Pass frames on in one direction."""

    def run() -> None:
        while True:
            write(read())

    threading.Thread(target=run, daemon=True).start()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
