"""Adding to and removing from one nftables set in microseconds, without starting `nft`.

Rules are loaded with `appliance.net.nft`, in one transaction, by the tool operators debug with. This is
only for the one thing that must be fast at failover: an element of a set that rules look up. Message
layout: linux/netfilter/nfnetlink.h and nf_tables.h.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Iterable
from types import TracebackType

from appliance.errors import KernelError

NETLINK_NETFILTER = 12
_SUBSYS_NFTABLES = 10
_GETSET, _NEWSETELEM, _DELSETELEM = 10, 12, 14
_BATCH_BEGIN, _BATCH_END = 16, 17
_REQUEST, _ACK, _CREATE = 0x1, 0x4, 0x400
_INET = 1
_NESTED = 0x8000
IFNAMSIZ = 16
REPLY_TIMEOUT_S = 1.0
"""The kernel answers at once; a second means that something is very wrong."""


def _attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def _message(kind: int, flags: int, sequence: int, family: int, resource: int, body: bytes = b"") -> bytes:
    head = struct.pack("=BBH", family, 0, socket.htons(resource))
    return struct.pack("=IHHII", 16 + 4 + len(body), kind, flags, sequence, 0) + head + body


def element_change(table: str, set_name: str, keys: Iterable[bytes], *, add: bool) -> bytes:
    """A whole transaction (begin, change, end) that adds or removes keys of a set of family inet."""
    elements = b"".join(
        _attribute(1 | _NESTED, _attribute(1 | _NESTED, _attribute(1, key)))  # LIST_ELEM > ELEM_KEY > DATA_VALUE
        for key in keys
    )
    body = (
        _attribute(1, table.encode() + b"\0")
        + _attribute(2, set_name.encode() + b"\0")
        + _attribute(3 | _NESTED, elements)
    )
    kind = (_SUBSYS_NFTABLES << 8) | (_NEWSETELEM if add else _DELSETELEM)
    flags = _REQUEST | _ACK | (_CREATE if add else 0)
    return (
        _message(_BATCH_BEGIN, _REQUEST, 0, 0, _SUBSYS_NFTABLES)
        + _message(kind, flags, 1, _INET, 0, body)
        + _message(_BATCH_END, _REQUEST, 2, 0, _SUBSYS_NFTABLES)
    )


def _set_query(table: str, set_name: str) -> bytes:
    body = _attribute(1, table.encode() + b"\0") + _attribute(2, set_name.encode() + b"\0")
    return _message((_SUBSYS_NFTABLES << 8) | _GETSET, _REQUEST, 1, _INET, 0, body)


def interface_key(name: str) -> bytes:
    """A device name as a set of type ``ifname`` stores it: NUL-padded to 16 bytes."""
    return name.encode().ljust(IFNAMSIZ, b"\0")


class NetfilterSocket:
    """A socket for prepared transactions; synchronous, because one takes some 20 µs."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
        seconds, fraction = divmod(REPLY_TIMEOUT_S, 1)
        # Not settimeout(): that would put poll() before every recv().
        self._socket.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", int(seconds), int(fraction * 1e6))
        )
        self._socket.bind((0, 0))

    def __enter__(self) -> NetfilterSocket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def send(self, transaction: bytes, *, tolerate: tuple[int, ...] = ()) -> None:
        """Carry out one transaction.

        Raises:
            KernelError: The kernel refused it; errno values in `tolerate` are accepted silently.
        """
        self._forget_old_replies()
        self._socket.send(transaction)
        code = self._reply()
        if code and code not in tolerate:
            raise KernelError(
                f"nftables refused a set element: {os.strerror(code)}",
                hint="Look at the set with 'nft list ruleset'; if its table is gone, restart the service.",
            )

    def has_set(self, table: str, set_name: str) -> bool:
        """Whether a set of family inet exists; rules that look it up vanish with it in a ``flush ruleset``."""
        self._forget_old_replies()
        self._socket.send(_set_query(table, set_name))
        return self._reply() != errno.ENOENT

    def _forget_old_replies(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._socket.recv(8192, socket.MSG_DONTWAIT)

    def _reply(self) -> int:
        try:
            data = self._socket.recv(8192)
        except BlockingIOError:
            return errno.ETIMEDOUT
        _, kind, _, _, _ = struct.unpack_from("=IHHII", data)
        if kind != 2:  # NLMSG_ERROR, also the acknowledgement (code 0)
            return errno.EPROTO
        code: int = struct.unpack_from("=i", data, 16)[0]
        return -code
