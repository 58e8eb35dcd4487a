"""Many requests with one system call: entries put in, changed, removed, or asked for.

The kernel works on a request before `send` returns, and what it has to say about it is in the receive buffer
then. So nothing has to be acknowledged: whatever is not reported as an error has been done.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from typing import Self

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack import sockets
from appliance.net.fastpath import system_error

SEND_BYTES = 128 << 10
"""Less than the send buffer of a socket (net.core.wmem_default, 208 KiB), which one send must not exceed."""
SEND_MAX = 512
"""Requests whose answers (up to 5 KiB of the kernel's memory each) surely find room in the receive buffer."""
RECEIVE_BYTES = 8 << 20

_ERROR = struct.Struct("=i")
_STATS = a.message(a.CT_STATS, a.NLM_F_ACK, 0, b"", 0)


class _Requests:
    """A socket for requests with what comes back."""

    def __init__(self, slots: int, slot_bytes: int) -> None:
        self._socket = sockets.open_socket(RECEIVE_BYTES)
        self._slots = sockets.Slots(slots, slot_bytes)
        name: tuple[int, int] = self._socket.getsockname()
        self.port = name[0]
        """The netlink port id: events of what is done here carry it."""
        try:
            self._try()
        except BaseException:
            self._socket.close()
            raise

    def _try(self) -> None:
        # Without the capability the kernel refuses a whole batch with one error for its first message.
        for kind, answer in self._exchange(_STATS):
            if kind == a.NLMSG_ERROR and (code := _code(answer)):
                raise system_error(code, "the kernel does not let us at its connection-tracking table")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _exchange(self, requests: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
        """Send; then the type and the message of everything that came back."""
        try:
            self._socket.send(requests)
            for answer in self._slots.drain(self._socket.fileno()):
                yield a.HEADER.unpack_from(answer)[1], answer
        except OSError as error:
            raise system_error(error.errno or 0, "conntrack netlink does not work") from error


class Injector(_Requests):
    """Changes the table. Not for use by two threads at once."""

    def __init__(self) -> None:
        super().__init__(slots=256, slot_bytes=128)

    def send(self, buffer: bytes | memoryview, count: int) -> list[tuple[int, int]]:
        """Do what `count` messages ask for, each tried whatever became of the others.

        Args:
            buffer: The messages, one after the other; the sequence number of each is its place, from 0.
            count: How many.

        Returns:
            Place and errno of those that the kernel refused, in their order.

        Raises:
            SystemCallError: Netlink itself does not work.
        """
        refused: list[tuple[int, int]] = []
        for part in _portions(buffer, count):
            for kind, answer in self._exchange(part):
                if kind == a.NLMSG_ERROR and (code := _code(answer)):
                    refused.append((_sequence(answer), code))
        return refused


class Asker(_Requests):
    """Looks entries up. Not for use by two threads at once."""

    def __init__(self) -> None:
        super().__init__(slots=256, slot_bytes=2048)

    def ask(self, buffer: bytes | memoryview, count: int) -> bytes:
        """Entries of the table, as netlink messages one after the other.

        Args:
            buffer: `count` GET messages. The kernel finds an entry by either of its tuples, so an answer may
                have the tuple that was asked for as its reply.
            count: How many.

        Returns:
            The answers, each with the sequence number of its question, without those that do not exist.

        Raises:
            SystemCallError: Netlink itself does not work, or the kernel refused a question.
        """
        found: list[bytes] = []
        for part in _portions(buffer, count):
            for kind, answer in self._exchange(part):
                if kind == a.CT_NEW:
                    found.append(bytes(answer))
                elif kind == a.NLMSG_ERROR and _code(answer) not in (0, errno.ENOENT):
                    raise system_error(_code(answer), "the kernel does not look a connection up")
        return b"".join(found)


def _code(answer: memoryview) -> int:
    """The errno of an NLMSG_ERROR; 0 is an acknowledgement."""
    code: int = _ERROR.unpack_from(answer, a.HEADER.size)[0]
    return -code


def _sequence(answer: memoryview) -> int:
    sequence: int = a.HEADER.unpack_from(answer)[3]
    return sequence


def _portions(buffer: bytes | memoryview, count: int) -> Iterator[bytes | memoryview]:
    """Parts of whole messages that may be sent at once."""
    if len(buffer) <= SEND_BYTES and count <= SEND_MAX:
        if count:
            yield buffer
        return
    view = memoryview(buffer).cast("B")
    start = end = number = 0
    for _ in range(count):
        length = (a.HEADER.unpack_from(view, end)[0] + 3) & ~3
        if length < a.HEADER.size:
            raise ValueError("not a netlink message")
        if number == SEND_MAX or end + length - start > SEND_BYTES:
            yield view[start:end]
            start, number = end, 0
        end, number = end + length, number + 1
    yield view[start:end]
