"""Who speaks CARP or VRRP on a network already: a few seconds of listening on its devices, while the questions go on.

CARP and VRRP make the same virtual MAC address of their number, so one of the two takes it from the other.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

from appliance.console.capture_decode import decode
from appliance.console.commands.capture import FRAME_MAX, PACKET_OUTGOING, SOL_PACKET, open_wire
from appliance.console.wizard import links
from appliance.console.wizard.ports import Port
from appliance.errors import ApplianceError

LISTEN_S = 3.5
"""Adverts come each second (CARP's advbase 1, VRRP's default); one may be lost."""
WAKE_S = 4.0
"""More for a device that was down: Ethernet needs as long to find its speed."""
VHIDS_MAX = 255
# linux/if_packet.h
PACKET_AUXDATA = 8
AUXDATA = struct.Struct("IIIHHHH")
TP_STATUS_VLAN_VALID = 1 << 4
VLAN_MASK = 0xFFF


class Listening:
    """Listens in threads of its own from the beginning; calling it waits until it has listened long enough.

    Args:
        port: What carries the network.
        is_down: Devices that are down, which are up meanwhile.
    """

    def __init__(self, port: Port, is_down: Iterable[str] = ()) -> None:
        self._vlan = port.vlan
        self._found: dict[int, str] = {}
        down = set(is_down)
        self._threads = [
            threading.Thread(target=self._listen, args=(each, each in down), name="adverts", daemon=True)
            for each in port.members
        ]
        for thread in self._threads:
            thread.start()

    @property
    def is_done(self) -> bool:
        """Whether it has been long enough."""
        return not any(thread.is_alive() for thread in self._threads)

    def __call__(self) -> Mapping[int, str]:
        """Who was heard, by VHID."""
        for thread in self._threads:
            thread.join()
        return dict(self._found)

    def _listen(self, device: str, is_down: bool) -> None:
        # Nobody may listen, or the device has gone: then nothing is known, as without listening.
        with suppress(ApplianceError, OSError), links.up([device] if is_down else []), open_wire(device) as wire:
            wire.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            end = time.monotonic() + LISTEN_S + (WAKE_S if is_down else 0.0)
            while (left := end - time.monotonic()) > 0 and len(self._found) < VHIDS_MAX:
                wire.settimeout(left)
                frame, extra, _, address = wire.recvmsg(FRAME_MAX, socket.CMSG_SPACE(AUXDATA.size))
                if address[2] != PACKET_OUTGOING and tag_of(extra) == self._vlan:
                    self._found.update(speaker(frame))


def speaker(frame: bytes) -> Mapping[int, str]:
    """The VHID of an advertisement and the address it came from; of another frame nothing."""
    decoded = decode(frame)
    if decoded is None:
        return {}
    number = decoded.fields.get("vhid", decoded.fields.get("vrid"))
    return {number: decoded.source} if isinstance(number, int) else {}


def tag_of(extra: Iterable[tuple[int, int, bytes]]) -> int | None:
    """The VLAN of a frame: the kernel takes the tag off and tells it beside."""
    for level, kind, data in extra:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA) and len(data) >= AUXDATA.size:
            status, _, _, _, _, tci, _ = AUXDATA.unpack_from(data)
            return tci & VLAN_MASK if status & TP_STATUS_VLAN_VALID else None
    return None
