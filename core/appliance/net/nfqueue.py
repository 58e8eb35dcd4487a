"""Packets that the kernel holds until somebody decides about them (NFQUEUE), with their connection-tracking entries.

Thin and synchronous: what is waiting is drained, what was drained is accepted later, in any order. Of a packet only
its number and its entry are copied. Everything fails open: packets for which there is no room, in the queue or in the
receive buffer, pass at once.

Two things the kernel does with packets that are held, and nobody can change: they are *dropped* when the socket closes
or its process dies, and when any hook of the network namespace is removed (a base chain is deleted). So accept what is
held before. Message layout: linux/netfilter/nfnetlink_queue.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack import sockets
from appliance.net.conntrack.entry import Malformed
from appliance.net.fastpath import system_error

MAXLEN = 8192
"""Packets that the kernel holds; more pass at once."""
RECEIVE_BYTES = 16 << 20
"""Room to tell about `MAXLEN` packets: the kernel counts up to 2 KiB of its memory for each."""
SLOTS = 256
SLOT_BYTES = 4096
"""Numbers and names of a packet are about 150 bytes, an IPv6 entry with everything about 450."""
VERDICTS_MAX = 1024
"""Verdicts in one system call: 32 KiB, far less than a send buffer."""

_PACKET, _VERDICT, _CONFIG = 0x300, 0x301, 0x302
"""NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET, _VERDICT and _CONFIG."""
_PACKET_HEADER, _VERDICT_HEADER, _CT = 1, 2, 11
_CFG_COMMAND, _CFG_PARAMS, _CFG_MAXLEN, _CFG_MASK, _CFG_FLAGS = 1, 2, 3, 4, 5
_BIND, _COPY_META = 1, 1
_FAIL_OPEN, _CONNTRACK, _GSO = 0x1, 0x2, 0x4
_ACCEPT = 1  # NF_ACCEPT
_VERDICT_MESSAGE = struct.Struct("=IHHIIBB2sHHII")
"""nlmsghdr, nfgenmsg with the number of the queue, one attribute."""
_TRIES = 2
"""EAGAIN: the kernel has loaded its module for connection tracking and wants to be asked again."""


@dataclass(slots=True)
class QueueCounters:
    """What did not go as meant; nothing was held or lost by it."""

    overruns: int = 0
    """Times that the receive buffer was full; packets passed at once."""
    refused: int = 0
    """Verdicts about packets that were gone: their device or a hook had been removed."""
    malformed: int = 0


class PacketQueue:
    """One queue of this network namespace. Readable when packets wait; not for use by two threads at once."""

    def __init__(self, number: int, *, maxlen: int = MAXLEN, receive_buffer: int = RECEIVE_BYTES) -> None:
        """Bind it.

        Args:
            number: Of the queue, 0 to 65535, as in the rule that fills it.
            maxlen: Packets held at most.
            receive_buffer: Bytes of messages that the kernel keeps for us.

        Raises:
            SystemCallError: No CAP_NET_ADMIN, another program has the queue (EBUSY or EPERM), or this kernel has no
                NFQUEUE or cannot tell entries with it (EOPNOTSUPP: CONFIG_NETFILTER_NETLINK_GLUE_CT).
        """
        self.number = number
        self.counters = QueueCounters()
        self._socket = sockets.open_socket(receive_buffer)
        self._slots = sockets.Slots(SLOTS, SLOT_BYTES)
        self._resource = number.to_bytes(2, "big")
        try:
            self._bind(maxlen)
        except BaseException:
            self._socket.close()
            raise

    def _bind(self, maxlen: int) -> None:
        flags = _FAIL_OPEN | _CONNTRACK | _GSO
        body = a.attribute(_CFG_COMMAND, struct.pack(">BxH", _BIND, 0))
        body += a.attribute(_CFG_PARAMS, struct.pack(">IB", 0, _COPY_META)) + a.be32(_CFG_MAXLEN, maxlen)
        body += a.be32(_CFG_MASK, flags) + a.be32(_CFG_FLAGS, flags)
        for _ in range(_TRIES):
            code = self._configure(body)
            if code != errno.EAGAIN:
                break
        if code:
            raise system_error(code, f"cannot use packet queue {self.number}")

    def _configure(self, body: bytes) -> int:
        """The errno with which the kernel refuses, or 0."""
        length = a.BODY + len(body)
        header = a.HEADER.pack(length, _CONFIG, a.NLM_F_REQUEST | a.NLM_F_ACK, 0, 0)
        try:
            self._socket.send(header + struct.pack("=BB", socket.AF_UNSPEC, 0) + self._resource + body)
            while a.HEADER.unpack_from(answer := self._socket.recv(SLOT_BYTES))[1] != a.NLMSG_ERROR:
                self.accept([number for number, _ in self._packet(answer)])  # it came before the answer
        except OSError as error:
            return error.errno or errno.EIO
        code: int = struct.unpack_from("=i", answer, a.HEADER.size)[0]
        return -code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """For whoever waits until there is something; -1 once closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Unbind. The kernel drops what is held."""
        self._socket.close()

    def drain(self, max_packets: int) -> list[tuple[int, bytes]]:
        """Packets that wait, in the order in which they came, without waiting for any.

        Args:
            max_packets: At most so many, and at most `SLOTS`.

        Returns:
            The number of each, for `accept`, and its entry: the attributes of a ctnetlink message about it, as
            `appliance.net.conntrack` has them after the header; empty if the packet is not tracked.

        Raises:
            SystemCallError: Netlink itself does not work.
        """
        packets: list[tuple[int, bytes]] = []
        while not packets and (datagrams := self._receive(max_packets)):
            for datagram in datagrams:
                packets += self._packet(bytes(datagram))
        return packets

    def _receive(self, count: int) -> list[memoryview]:
        while True:
            try:
                return self._slots.receive(self._socket.fileno(), count)
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise system_error(error.errno or 0, f"cannot read packet queue {self.number}") from error
                self.counters.overruns += 1  # said once, then comes what was kept

    def _packet(self, message: bytes) -> list[tuple[int, bytes]]:
        """The packet of a message, or none."""
        kind = a.HEADER.unpack_from(message)[1]
        if kind == a.NLMSG_ERROR:
            self.counters.refused += 1
        if kind != _PACKET:
            return []
        try:
            found = dict(a.walk(message[a.BODY :]))
            return [(a.number(found[_PACKET_HEADER][:4], 4), found.get(_CT, b""))]
        except (Malformed, KeyError):
            self.counters.malformed += 1
            return []

    def accept(self, ids: Sequence[int]) -> None:
        """Let packets go on, in this order. Those that are gone are counted when the queue is drained next.

        Raises:
            SystemCallError: Netlink itself does not work.
        """
        size, pack, resource = _VERDICT_MESSAGE.size, _VERDICT_MESSAGE.pack, self._resource
        htonl = socket.htonl
        accept = htonl(_ACCEPT)
        for start in range(0, len(ids), VERDICTS_MAX):
            part = [
                pack(size, _VERDICT, a.NLM_F_REQUEST, 0, 0, 0, 0, resource, 12, _VERDICT_HEADER, accept, htonl(number))
                for number in ids[start : start + VERDICTS_MAX]
            ]
            try:
                self._socket.send(b"".join(part))
            except OSError as error:
                raise system_error(error.errno or 0, f"cannot answer for packet queue {self.number}") from error
