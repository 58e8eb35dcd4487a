"""`appliance capture DEVICE`: what the cluster's protocols say on a wire, as it happens.

The kernel filters first (a few instructions of classic BPF), so a busy wire costs nothing here.
"""

from __future__ import annotations

import ctypes
import json
import socket
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime

from appliance.console.capture_decode import Decoded, decode
from appliance.errors import KernelError, UsageError
from appliance.plugin import Argument, Command, Where

ETH_P_ALL = 3
SO_ATTACH_FILTER = 26
PACKET_OUTGOING = 4
# linux/if_packet.h
SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_ALLMULTI = 263, 1, 2
FRAME_MAX = 2048
"""Bytes of a frame that are looked at; the longest advertisement (VRRP with 255 IPv6 addresses) is cut."""
COUNT_MAX = 1_000_000
SECONDS_MAX = 86_400.0
"""A day: a forgotten capture ends by itself."""
RECEIVE_BUFFER = 1024 * 1024

# Opcodes of classic BPF (linux/filter.h): load half-word, load byte, jump if equal, return.
LDH, LDB, JEQ, RET = 0x28, 0x30, 0x15, 0x06
FILTER: Sequence[tuple[int, int, int, int]] = (
    (LDH, 0, 0, 12),  # ethertype; a VLAN tag has been taken off by the kernel
    (JEQ, 9, 0, 0x0806),  # ARP: keep
    (JEQ, 0, 3, 0x0800),  # IPv4?
    (LDB, 0, 0, 23),  # its protocol
    (JEQ, 6, 0, 112),
    (JEQ, 5, 6, 240),
    (JEQ, 0, 5, 0x86DD),  # IPv6?
    (LDB, 0, 0, 20),  # its next header
    (JEQ, 2, 0, 112),
    (JEQ, 1, 0, 240),
    (JEQ, 0, 1, 58),
    (RET, 0, 0, FRAME_MAX),
    (RET, 0, 0, 0),
)


def capture(device: str, count: int, seconds: float, json: bool) -> int:
    """Print decoded frames until the count or the time is reached, or until interrupted."""
    if not 0 <= count <= COUNT_MAX:
        raise UsageError(f"--count has to be between 0 and {COUNT_MAX}", hint="0 means no limit of its own.")
    if not 0 < seconds <= SECONDS_MAX:
        raise UsageError(
            f"--seconds has to be more than 0 and at most {SECONDS_MAX:g}", hint="The default is one hour."
        )
    with open_wire(device) as wire:
        for shown, (wall, sent, decoded) in enumerate(_frames(wire, device, seconds), start=1):
            sys.stdout.write(_json(wall, sent, decoded) if json else _line(wall, sent, decoded))
            sys.stdout.flush()
            if shown == count:
                break
    return 0


def open_wire(device: str) -> socket.socket:
    """A socket that gets the frames of a device that `FILTER` keeps, those to any group among them.

    Raises:
        KernelError: There is no such device, or nobody may look at it.
    """
    try:
        wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        raise KernelError("capturing needs CAP_NET_RAW", hint="Run it as root.") from None
    try:
        _attach(wire)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        # Bound last: nothing unfiltered gets into the queue.
        wire.bind((device, ETH_P_ALL))
        # A network card drops groups that nobody has joined; this ends with the socket.
        member = struct.pack("iHH8x", socket.if_nametoindex(device), PACKET_MR_ALLMULTI, 0)
        wire.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, member)
    except OSError as error:
        wire.close()
        raise KernelError(
            f"cannot capture on {device}: {error.strerror or error}",
            hint="Name a kernel device that is up, as `ip link` shows it.",
        ) from None
    return wire


def _attach(wire: socket.socket) -> None:
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in FILTER)
    buffer = ctypes.create_string_buffer(code, len(code))
    wire.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(FILTER), ctypes.addressof(buffer)))


def _frames(wire: socket.socket, device: str, seconds: float) -> Iterator[tuple[float, bool, Decoded]]:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        wire.settimeout(left)
        try:
            frame, address = wire.recvfrom(FRAME_MAX)
        except TimeoutError:
            return
        except OSError as error:
            raise KernelError(
                f"{device} went away: {error.strerror or error}", hint="Check that it exists and is up: `ip link`."
            ) from None
        decoded = decode(frame)
        if decoded is not None:
            yield time.time(), address[2] == PACKET_OUTGOING, decoded


def _line(wall: float, sent: bool, decoded: Decoded) -> str:
    clock = datetime.fromtimestamp(wall).astimezone().strftime("%H:%M:%S.%f")
    return f"{clock} {'out' if sent else 'in '} {decoded.line()}\n"


def _json(wall: float, sent: bool, decoded: Decoded) -> str:
    return json.dumps({"wall": wall, "direction": "out" if sent else "in", **decoded.data()}) + "\n"


COMMANDS = (
    Command(
        path=("capture",),
        help="Decode CARP, VRRP, ARP and neighbour advertisements on a kernel device, live.",
        run=capture,
        where=Where.LOCAL,
        arguments=(
            Argument(name="device", required=True, help="a kernel device such as eth0"),
            Argument(name="--count", type=int, default=0, help="stop after so many frames; 0: no limit"),
            Argument(name="--seconds", type=float, default=3600.0, help="stop after this time"),
            Argument(name="--json", flag=True, help="one JSON object per line"),
        ),
    ),
)
