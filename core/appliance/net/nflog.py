"""Packets that rules log to a group (NFLOG): the first bytes of each, and where it came from and was going.

Thin and synchronous: what is waiting is drained. The kernel collects packets and hands over many with one datagram,
either when it is full or when the oldest has waited for `FLUSH_S`. It numbers them, so what it had to drop because
nobody read is counted exactly. Who reads slowly loses packets of the log and nothing else: the rule's verdict does
not depend on it. Message layout: linux/netfilter/nfnetlink_log.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack import sockets
from appliance.net.conntrack.entry import Malformed
from appliance.net.fastpath import SystemCallError, system_error

COPY_BYTES = 128
"""Of each packet: an IPv6 header with extensions and a TCP header."""
DATAGRAM_BYTES = 7680
"""Some thirty packets: one takes about 250 bytes. With its own bookkeeping the kernel takes 8 KiB for it."""
FLUSH_S = 0.1
"""Longest time that the kernel keeps a packet to collect others."""
RECEIVE_BYTES = 256 << 10
"""Room for about sixty datagrams (Linux doubles what is asked for): two thousand packets. More would only be older
when they are read."""
TEXT_MAX = 127
"""Characters of a prefix (NF_LOG_PREFIXLEN)."""

_PACKET, _CONFIG = 0x400, 0x401
"""NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET and NFULNL_MSG_CONFIG."""
_HEADER, _MARK, _TIMESTAMP, _INDEV, _OUTDEV, _PAYLOAD, _PREFIX, _SEQ = 1, 2, 3, 4, 5, 9, 10, 12
_CFG_COMMAND, _CFG_MODE, _CFG_DATAGRAM, _CFG_TIMEOUT, _CFG_THRESHOLD, _CFG_FLAGS = 1, 2, 3, 4, 5, 6
_BIND, _COPY_PACKET, _NUMBERED = 1, 2, 1
_THRESHOLD = 256
"""More packets than fit into a datagram: only room and time decide when it is sent."""
_SEQ_MASK = 0xFFFFFFFF
_READ_BYTES = 32768
"""The kernel fills all the memory that it got for a datagram, which may be twice as much as was asked for."""
_TAKEN = "Another program may have the group (`cat /proc/net/netfilter/nfnetlink_log`); this also needs CAP_NET_ADMIN."


class Logged(NamedTuple):
    """One packet as a rule logged it."""

    prefix: str
    """Of the rule, without blanks at its ends."""
    hook: int
    """NF_INET_*: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting."""
    indev: int
    """Index of the device it came in at, or 0."""
    outdev: int
    """Index of the device it was to leave by, or 0."""
    mark: int
    timestamp: float
    """Seconds since 1970 as the kernel saw it; 0 when it did not say (output)."""
    protocol: int
    """Ethertype: 0x0800 or 0x86DD; 0 when the kernel did not say (output)."""
    payload: bytes
    """The first `COPY_BYTES` from the IP header on."""
    missed: int
    """Packets that the kernel logged just before this one and had to drop."""


@dataclass(slots=True)
class LogCounters:
    """What is missing in the log; the packets themselves met their verdict."""

    overruns: int = 0
    """Times that the receive buffer was full."""
    lost: int = 0
    """Packets that the kernel numbered but could not hand over."""
    malformed: int = 0


class PacketLog:
    """One group of this network namespace. Readable when packets wait; not for use by two threads at once."""

    def __init__(self, group: int, *, receive_buffer: int = RECEIVE_BYTES, flush_s: float = FLUSH_S) -> None:
        """Bind it.

        Args:
            group: 0 to 65535, as in the rules that log.
            receive_buffer: Bytes of messages that the kernel keeps for us.
            flush_s: In steps of 10 ms.

        Raises:
            SystemCallError: No CAP_NET_ADMIN, another program has the group (also EPERM), or this kernel has no NFLOG.
        """
        self.group = group
        self.counters = LogCounters()
        self._expected = 0
        self._buffer = bytearray(_READ_BYTES)
        self._socket = sockets.open_socket(receive_buffer)
        try:
            self._bind(flush_s)
            self._socket.setblocking(False)
        except BaseException:
            self._socket.close()
            raise

    def _bind(self, flush_s: float) -> None:
        body = a.attribute(_CFG_COMMAND, bytes((_BIND,)))
        body += a.attribute(_CFG_MODE, struct.pack(">IBx", COPY_BYTES, _COPY_PACKET))
        body += a.be32(_CFG_DATAGRAM, DATAGRAM_BYTES) + a.be32(_CFG_TIMEOUT, round(flush_s * 100))
        body += a.be32(_CFG_THRESHOLD, _THRESHOLD) + a.be16(_CFG_FLAGS, _NUMBERED)
        length = a.BODY + len(body)
        header = a.HEADER.pack(length, _CONFIG, a.NLM_F_REQUEST | a.NLM_F_ACK, 0, 0)
        family = struct.pack(">BBH", socket.AF_UNSPEC, 0, self.group)
        what = f"cannot use packet log group {self.group}"
        try:
            self._socket.send(header + family + body)
            while a.HEADER.unpack_from(answer := self._socket.recv(_READ_BYTES))[1] != a.NLMSG_ERROR:
                list(self._packets(memoryview(answer)))  # logged before the answer: only counted
        except OSError as error:
            raise system_error(error.errno or errno.EIO, what) from error
        code: int = -struct.unpack_from("=i", answer, a.HEADER.size)[0]
        if code == errno.EPERM:
            raise SystemCallError(f"{what}: {os.strerror(code)}", hint=_TAKEN, code=code)
        if code:
            raise system_error(code, what)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """For whoever waits until there is something; -1 once closed."""
        return self._socket.fileno()

    def close(self) -> None:
        """Unbind. Rules that log to the group go on as if they did not."""
        self._socket.close()

    def drain(self, max_packets: int) -> list[Logged]:
        """Packets that wait, in the order in which they came, without waiting for any.

        Args:
            max_packets: Stop when there are so many. The last datagram is read to its end: a few dozen more.

        Raises:
            SystemCallError: Netlink itself does not work.
        """
        found: list[Logged] = []
        while len(found) < max_packets and (datagram := self._receive()):
            found += self._packets(datagram)
        return found

    def _receive(self) -> memoryview:
        """The next datagram, valid until the next call; empty when there is none."""
        while True:
            try:
                size = self._socket.recv_into(self._buffer)
                return memoryview(self._buffer)[:size]
            except BlockingIOError:
                return memoryview(b"")
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise system_error(error.errno or 0, f"cannot read packet log group {self.group}") from error
                self.counters.overruns += 1  # said once, then comes what was kept

    def _packets(self, datagram: memoryview) -> Iterator[Logged]:
        offset = 0
        while offset < len(datagram):
            length, kind = 0, 0
            if offset + a.HEADER.size <= len(datagram):
                length, kind, *_ = a.HEADER.unpack_from(datagram, offset)
            if length < a.HEADER.size or offset + length > len(datagram):
                self.counters.malformed += 1
                return
            if kind == _PACKET:
                try:
                    yield self._packet(bytes(datagram[offset + a.BODY : offset + length]))
                except Malformed:
                    self.counters.malformed += 1
            offset += (length + 3) & ~3

    def _packet(self, attributes: bytes) -> Logged:
        """
        Raises:
            Malformed: Not as the kernel writes it.
        """
        found = dict(a.walk(attributes))
        missed = self._missed(found)
        header, stamp = found.get(_HEADER, bytes(4)), found.get(_TIMESTAMP, bytes(16))
        if len(header) < 3:
            raise Malformed(f"a packet header of {len(header)} bytes")
        seconds, microseconds = a.number(stamp[:8], 8), a.number(stamp[8:], 8)
        return Logged(
            prefix=found.get(_PREFIX, b"")[:TEXT_MAX].split(b"\0", 1)[0].decode(errors="replace").strip(),
            hook=header[2],
            indev=_number(found, _INDEV),
            outdev=_number(found, _OUTDEV),
            mark=_number(found, _MARK),
            timestamp=seconds + microseconds / 1e6,
            protocol=int.from_bytes(header[:2], "big"),
            payload=found.get(_PAYLOAD, b"")[:COPY_BYTES],
            missed=missed,
        )

    def _missed(self, found: dict[int, bytes]) -> int:
        """How many were dropped before this one."""
        if _SEQ not in found:
            return 0
        number = a.number(found[_SEQ], 4)
        missed = (number - self._expected) & _SEQ_MASK
        self.counters.lost += missed
        self._expected = (number + 1) & _SEQ_MASK
        return missed


def _number(found: dict[int, bytes], kind: int) -> int:
    return a.number(found[kind], 4) if kind in found else 0
