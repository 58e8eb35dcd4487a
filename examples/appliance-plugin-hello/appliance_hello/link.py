"""How greetings reach the other nodes: a small interface, and UDP broadcast behind it.

The service knows only `Link`. Tests hand it a port of an in-memory LAN, which has the same two methods.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

DATAGRAM_MAX = 2048
"""More than any greeting; the rest of a longer datagram is cut off and then refused as malformed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """Where to send and listen."""

    node: str
    broadcast: str
    """Broadcast address of the interface's network."""
    port: int


class Link(Protocol):
    """Something that broadcasts."""

    def send(self, data: bytes) -> None:
        """Send if it can be sent now."""
        ...

    async def receive(self) -> bytes:
        """Wait for the next datagram of another node."""
        ...


OpenLink = Callable[[LinkSettings], AbstractAsyncContextManager[Link]]


class UdpLink:
    """UDP broadcast."""

    def __init__(self, settings: LinkSettings) -> None:
        self._target = (settings.broadcast, settings.port)
        self._raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        self._raw.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._raw.bind(("", settings.port))
        self.waiting = trio.socket.from_stdlib_socket(self._raw)

    def send(self, data: bytes) -> None:
        """Send, or lose it when the interface is down: a greeting is no reason to fail."""
        with contextlib.suppress(OSError):
            self._raw.sendto(data, self._target)

    async def receive(self) -> bytes:
        """Wait for the next datagram."""
        return await self.waiting.recv(DATAGRAM_MAX)


@asynccontextmanager
async def open_udp(settings: LinkSettings) -> AsyncIterator[Link]:
    """Open the UDP link and close it with the block."""
    link = UdpLink(settings)
    with link.waiting:
        yield link
