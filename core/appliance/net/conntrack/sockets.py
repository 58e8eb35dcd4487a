"""Netfilter netlink sockets, and many datagrams with one system call.

`recvmmsg` fills fixed slots of one buffer that is allocated once; what is left between the messages is then
closed up. Python has no `recvmmsg`, and one `recv` per message costs more than the message.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator

from appliance.net.fastpath import enlarge_receive_buffer, system_error

NETLINK_NETFILTER = 12
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP, NETLINK_CAP_ACK = 1, 10
ANSWER_MAX_S = 2
"""The kernel answers within the call; only a lost answer makes a receive wait."""


def open_socket(receive_bytes: int) -> socket.socket:
    """A bound socket for ctnetlink; the port id that the kernel gave it is the first part of its name.

    Raises:
        SystemCallError: This kernel has no netfilter netlink.
    """
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    except OSError as error:
        raise system_error(error.errno or 0, "cannot open a netfilter netlink socket") from error
    try:
        enlarge_receive_buffer(sock, receive_bytes)
        sock.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)  # errors do not repeat the whole message
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", ANSWER_MAX_S, 0))
        sock.bind((0, 0))
    except OSError as error:
        sock.close()
        raise system_error(error.errno or 0, "cannot set up a netfilter netlink socket") from error
    return sock


class _Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("size", ctypes.c_size_t)]


class _Message(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_void_p),
        ("name_size", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_size", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    ]


class _Received(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = [("message", _Message), ("size", ctypes.c_uint32)]


class Slots:
    """A buffer for some datagrams of bounded size; the pages of those that are never used cost nothing."""

    def __init__(self, count: int, size: int) -> None:
        self.count = count
        self.truncated = 0
        """Datagrams, since the beginning, that did not fit into a slot; they have not been returned."""
        self._size = size
        self._buffer = bytearray(count * size)
        self._bytes = memoryview(self._buffer)
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))
        self._vectors = (_Vector * count)()
        self._headers = (_Received * count)()
        for number, (header, vector) in enumerate(zip(self._headers, self._vectors, strict=True)):
            vector.base, vector.size = base + number * size, size
            header.message.vectors = ctypes.addressof(vector)
            header.message.vector_count = 1
        words = memoryview(self._headers).cast("B").cast("I")
        step = ctypes.sizeof(_Received) // 4
        self._sizes = words[_Received.size.offset // 4 :: step]
        self._flags = words[(_Received.message.offset + _Message.flags.offset) // 4 :: step]
        self._recvmmsg = ctypes.CDLL(None, use_errno=True).recvmmsg

    def receive(self, fd: int, count: int) -> list[memoryview]:
        """What is there, without waiting: at most this many datagrams, valid until the next call.

        Raises:
            OSError: As of recvmmsg(2). ENOBUFS: the kernel had to drop messages; what it kept comes next.
        """
        got: int = self._recvmmsg(fd, self._headers, min(count, self.count), socket.MSG_DONTWAIT, None)
        if got < 0:
            code = ctypes.get_errno()
            if code == errno.EAGAIN:
                return []
            raise OSError(code, os.strerror(code))
        size, data = self._size, self._bytes
        sizes = self._sizes[:got].tolist()
        parts = [data[start : start + n] for start, n in zip(range(0, got * size, size), sizes, strict=True)]
        if any(self._flags[:got].tolist()):
            parts = self._whole(parts)
        return parts

    def _whole(self, parts: list[memoryview]) -> list[memoryview]:
        whole = [part for part, flags in zip(parts, self._flags, strict=False) if not flags & socket.MSG_TRUNC]
        self.truncated += len(parts) - len(whole)
        return whole

    def drain(self, fd: int) -> Iterator[memoryview]:
        """Everything that is there, until nothing is; each datagram is valid until the next is asked for."""
        while parts := self.receive(fd, self.count):
            yield from parts
