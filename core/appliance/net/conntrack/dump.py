"""The whole table, in parts as large as one likes.

The kernel fills a part when it is asked for it, so a dump takes no memory and may be paused for as long as the
caller wants. It is no snapshot: entries come and go meanwhile, and while the kernel changes the size of its hash
table some may be missing or come twice. ctnetlink does not mark such a dump (NLM_F_DUMP_INTR), so there is nothing
to repeat it for: events that are applied on top, and comparisons, make it right.
"""

from __future__ import annotations

import struct
from itertools import count
from typing import Self

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack import sockets
from appliance.net.conntrack.messages import build_dump
from appliance.net.fastpath import system_error

PART_BYTES = 32 << 10
"""The most that the kernel puts into one part (net/netlink/af_netlink.c)."""

_DONE = struct.Struct("=IHHIIi")  # a header and the outcome
_sequences = count(1)


class Dump:
    """One pass through the table; use it as a context manager."""

    def __init__(self, family: int = 0) -> None:
        """Begin.

        Args:
            family: AF_INET or AF_INET6 only, or 0 for both.

        Raises:
            SystemCallError: No CAP_NET_ADMIN, or no ctnetlink in this kernel.
        """
        self._sequence = next(_sequences) & 0xFFFFFFFF
        self._is_done = False
        self._socket = sockets.open_socket(PART_BYTES * 8)
        try:
            self._socket.send(build_dump(family, self._sequence))
        except OSError as error:
            self.close()
            raise system_error(error.errno or 0, "cannot list the connection-tracking table") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it, wherever it is."""
        self._socket.close()

    def read(self, max_bytes: int) -> bytes:
        """Some more entries, as whole netlink messages one after the other; nothing at the end.

        Args:
            max_bytes: At most so many, but always one part of the kernel's (`PART_BYTES`).

        Raises:
            SystemCallError: The kernel refuses, or stopped.
        """
        parts: list[bytes] = []
        size = 0
        while not self._is_done and (not parts or size + PART_BYTES <= max_bytes):
            part = self._part()
            if part:
                parts.append(part)
                size += len(part)
        return b"".join(parts)

    def _part(self) -> bytes:
        try:
            data = self._socket.recv(PART_BYTES)
        except OSError as error:
            raise system_error(error.errno or 0, "the list of connections stopped in its middle") from error
        if len(data) < _DONE.size:
            return b""
        _length, kind, _flags, _sequence, _port, outcome = _DONE.unpack_from(data)
        if kind == a.NLMSG_ERROR:
            raise system_error(-outcome, "the kernel does not list its connections")
        return self._without_end(data)

    def _without_end(self, data: bytes) -> bytes:
        """Cut off the end mark, which comes alone today; it has our sequence number, so nothing else looks like it."""
        length, kind, _flags, sequence, _port, outcome = _DONE.unpack_from(data, len(data) - _DONE.size)
        if (length, kind, sequence) != (_DONE.size, a.NLMSG_DONE, self._sequence):
            return data
        self._is_done = True
        if outcome < 0:
            raise system_error(-outcome, "the list of connections stopped in its middle")
        return data[: -_DONE.size]
