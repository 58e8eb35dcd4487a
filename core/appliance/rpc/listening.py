"""Listening sockets on one address of one device, which may both come and go."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

import trio

from appliance.errors import ApplianceError

BACKLOG = 64
"""Connections that the kernel completes ahead of us."""
ACCEPT_PAUSE_S = 0.1
"""After running out of file descriptors, before accepting again."""
_LATER = frozenset({errno.EADDRNOTAVAIL, errno.ENODEV, errno.EADDRINUSE, errno.ENXIO})
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_ACCEPT_LATER = _EXHAUSTED | {
    # Errors of the connection that was about to be accepted (accept(2)).
    errno.ECONNABORTED, errno.ENETDOWN, errno.EPROTO, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH, errno.EPERM,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where a server listens."""

    address: str
    """A numeric address of this node; a link-local one with its zone (``fe80::1%sync``)."""
    port: int
    """0 lets the kernel choose, for tests."""
    device: str = ""
    """Only what comes in here is accepted; empty: any device."""

    def __str__(self) -> str:
        return host_port(self.address, self.port)


class NotYet(Exception):  # noqa: N818 - a condition
    """The address or the device is missing, or the port is taken: it may change by itself."""


def host_port(host: str, port: int) -> str:
    """``192.0.2.1:443`` or ``[2001:db8::1]:443``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int]]:
    """Family and socket address of a numeric address; never asks a name server.

    Raises:
        OSError: (`socket.gaierror`) it is not a numeric address, or its zone is missing.
    """
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    family, _, _, _, address = found[0]
    return family, address  # type: ignore[return-value]


def bind_device(made: socket.socket, device: str) -> None:
    """Tie a socket to a device.

    Raises:
        OSError: There is no such device.
    """
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")


def listen(where: Listen) -> trio.SocketListener:
    """A listening socket.

    Raises:
        NotYet: It is worth to try again later; says why.
        ApplianceError: It will never work like this.
    """
    try:
        family, address = resolve(where.address, where.port)
    except OSError as error:
        if "%" in where.address:
            raise NotYet(f"{where.address}: {error.strerror}") from None
        raise ApplianceError(
            f"cannot listen on {where.address!r}: it is not an address", hint="Give a numeric address of this node."
        ) from None
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A node that restarts does not wait for the connections it had before.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if where.device:
            bind_device(made, where.device)
        made.bind(address)
        made.listen(BACKLOG)
        return trio.SocketListener(trio.socket.from_stdlib_socket(made))
    except OSError as error:
        made.close()
        reason = error.strerror or str(error)
        if error.errno in _LATER:
            raise NotYet(reason) from None
        raise ApplianceError(
            f"cannot listen on {where}: {reason}", hint="Choose another port, or run the node with more rights."
        ) from None


def device_index(where: Listen) -> int:
    """Number of the device that a listener depends on; 0 if it depends on none or there is none."""
    name = where.device or where.address.partition("%")[2]
    try:
        return socket.if_nametoindex(name) if name else 0
    except OSError:
        return 0


async def accept(listener: trio.SocketListener) -> tuple[trio.SocketStream, str]:
    """The next connection and the address of its client."""
    while True:
        try:
            client, address = await listener.socket.accept()
        except OSError as error:
            if error.errno not in _ACCEPT_LATER:
                raise
            if error.errno in _EXHAUSTED:
                await trio.sleep(ACCEPT_PAUSE_S)
        else:
            return trio.SocketStream(client), str(address[0])
