"""Listens for LLDP on the members of all aggregations: whether they go to one switch or to two."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Self

import trio

from appliance_lagg import lldp

FRAME_MAX = 2048
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_DROP_MEMBERSHIP, _PACKET_ORIGDEV = 263, 1, 2, 9
_PACKET_MR_MULTICAST = 0
_MEMBERSHIP = struct.Struct("=iHH8s")  # struct packet_mreq, packet(7)


class Neighbours:
    """The far end of every member's cable, as long as it says so. Belongs to the namespace it is made in."""

    def __init__(self) -> None:
        plain = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(lldp.ETHERTYPE))
        # The kernel hands a frame of an active member to the bond: tell where it has come in.
        plain.setsockopt(_SOL_PACKET, _PACKET_ORIGDEV, 1)
        plain.setblocking(False)
        self._socket = trio.socket.from_stdlib_socket(plain)
        self._devices: dict[str, int] = {}
        self._heard: dict[str, tuple[lldp.Neighbour, float]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def watch(self, devices: Mapping[str, int]) -> None:
        """Listen on these devices, by name and index, and on no others."""
        for name in [each for each, index in self._devices.items() if devices.get(each) != index]:
            self._membership(_PACKET_DROP_MEMBERSHIP, self._devices.pop(name))
            self._heard.pop(name, None)
        for name, index in devices.items():
            if name not in self._devices and self._membership(_PACKET_ADD_MEMBERSHIP, index):
                self._devices[name] = index

    def _membership(self, action: int, index: int) -> bool:
        request = _MEMBERSHIP.pack(index, _PACKET_MR_MULTICAST, len(lldp.GROUP), lldp.GROUP)
        try:
            self._socket.setsockopt(_SOL_PACKET, action, request)
        except OSError:  # the device has gone
            return False
        return True

    async def listen(self) -> None:
        """Until cancelled."""
        while True:
            try:
                payload, (device, *_rest) = await self._socket.recvfrom(FRAME_MAX)
            except OSError:  # a device went down: the kernel says so once
                continue
            self.heard(device, payload, trio.current_time())

    def heard(self, device: str, payload: bytes, now: float) -> None:
        """A frame came in; only those of watched devices are looked at, so there are few."""
        neighbour = lldp.parse(payload) if device in self._devices else None
        if neighbour is not None:
            self._heard[device] = (neighbour, now + neighbour.ttl_s)

    def of(self, device: str, now: float) -> lldp.Neighbour | None:
        """Who is at the other end, as far as it has said so and that is still to be believed."""
        neighbour, until = self._heard.get(device, (None, now))
        return neighbour if now < until else None
