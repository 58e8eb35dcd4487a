"""What the kernel reports about its entries: many events at once, none of one's own, and never a silent loss.

Events of the entries that a program put in itself come back to it like all others, and a TCP handshake makes
several; a filter in the kernel drops them for less than it would cost to look at them here.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection, Iterable
from ctypes import addressof, c_char
from typing import Self

from appliance.errors import KernelError
from appliance.net.conntrack import sockets
from appliance.net.conntrack.entry import Group
from appliance.net.fastpath import system_error

SLOT_BYTES = 1024
"""An IPv6 event with counters, labels and times is about 450 bytes; helper and security context add some."""
SLOTS = 1024
RECEIVE_BYTES = 64 << 20

_SO_ATTACH_FILTER = 26
_PORT_AT = 12
_LOAD_WORD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
"""BPF_LD|BPF_W|BPF_ABS, BPF_JMP|BPF_JEQ|BPF_K, BPF_RET|BPF_K (linux/filter.h, linux/bpf_common.h)."""
_IGNORE_MAX = 200
"""A conditional jump of classic BPF reaches 255 instructions."""

_KIND_AT, _KIND_DELETE, _ATTRIBUTES_AT = 4, 2, 20
"""The low byte of nlmsg_type, IPCTNL_MSG_CT_DELETE, and where the attributes begin."""
_ATTRIBUTE, _NESTED = 0xFFFFF00C, 0xFFFFF010
"""Ancillary loads (SKF_AD_NLATTR, SKF_AD_NLATTR_NEST): from the offset in A, the attribute of the type in X; or 0."""
_LOAD_BYTE, _SET_A, _SET_X, _A_TO_X = 0x30, 0x00, 0x01, 0x07
_BYTE_AT_X, _WORD_AT_X, _JUMP_IF_SET = 0x50, 0x40, 0x45
_TUPLE_ORIG, _TUPLE_PROTO, _PROTO_NUM, _STATUS, _TCP, _ASSURED = 1, 2, 1, 3, 6, 4
_NEXT, _OUT = -1, -2
"""Where a jump goes: the next instruction, or out of the part of the program."""
_HIDE_UNFINISHED_TCP = (
    (_LOAD_BYTE, _NEXT, _NEXT, _KIND_AT),
    (_JUMP_EQUAL, _OUT, _NEXT, _KIND_DELETE),
    (_SET_A, _NEXT, _NEXT, _ATTRIBUTES_AT),
    (_SET_X, _NEXT, _NEXT, _TUPLE_ORIG),
    (_LOAD_WORD, _NEXT, _NEXT, _ATTRIBUTE),
    (_JUMP_EQUAL, _OUT, _NEXT, 0),
    (_SET_X, _NEXT, _NEXT, _TUPLE_PROTO),
    (_LOAD_WORD, _NEXT, _NEXT, _NESTED),
    (_JUMP_EQUAL, _OUT, _NEXT, 0),
    (_SET_X, _NEXT, _NEXT, _PROTO_NUM),
    (_LOAD_WORD, _NEXT, _NEXT, _NESTED),
    (_JUMP_EQUAL, _OUT, _NEXT, 0),
    (_A_TO_X, _NEXT, _NEXT, 0),
    (_BYTE_AT_X, _NEXT, _NEXT, 4),
    (_JUMP_EQUAL, _NEXT, _OUT, _TCP),
    (_SET_A, _NEXT, _NEXT, _ATTRIBUTES_AT),
    (_SET_X, _NEXT, _NEXT, _STATUS),
    (_LOAD_WORD, _NEXT, _NEXT, _ATTRIBUTE),
    (_JUMP_EQUAL, _OUT, _NEXT, 0),
    (_A_TO_X, _NEXT, _NEXT, 0),
    (_WORD_AT_X, _NEXT, _NEXT, 4),
    (_JUMP_IF_SET, _OUT, _NEXT, _ASSURED),
    (_RETURN, _NEXT, _NEXT, 0),
)


_HINT = (
    "What was missed is seen by reading the table again. If this happens often, events come faster than they are read."
)


class OverrunError(KernelError):
    """The kernel had to drop events. The table itself is right: dump it, and go on draining."""


def event_filter(ignore_ports: Collection[int], *, hide_unfinished_tcp: bool = False) -> bytes:
    """A classic BPF program (struct sock_filter[]) that drops events nobody wants.

    Args:
        ignore_ports: Those caused by these netlink port ids.
        hide_unfinished_tcp: Those of TCP connections that are not ASSURED, except that they end.
    """
    program = []
    if hide_unfinished_tcp:
        end = len(_HIDE_UNFINISHED_TCP)
        for at, (code, if_true, if_false, value) in enumerate(_HIDE_UNFINISHED_TCP):
            out = end - at - 1
            program.append((code, out if if_true == _OUT else 0, out if if_false == _OUT else 0, value))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program) + port_filter(ignore_ports)


def port_filter(ignore_ports: Collection[int]) -> bytes:
    """The part of `event_filter` about port ids."""
    if len(ignore_ports) > _IGNORE_MAX:
        raise ValueError(f"more than {_IGNORE_MAX} port ids")
    program = [(_LOAD_WORD, 0, 0, _PORT_AT)]
    for after, port in enumerate(sorted(ignore_ports, reverse=True)):
        # BPF loads words as the network has them, netlink headers are as the host has them.
        swapped = socket.htonl(port)
        program.insert(1, (_JUMP_EQUAL, after + 1, 0, swapped))
    program += [(_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


class EventSocket:
    """Events of some groups. Readable when there are some; draining it never waits.

    After an overrun the kernel drops everything until the socket has been drained to the end, so drain at once.

    NETLINK_BROADCAST_ERROR, with which the kernel keeps DESTROY events for which there is no room, is off: the dead
    entries count towards the limit of the table until somebody reads, so a reader that hangs would stop the node
    from forwarding new connections. Whoever missed an end reads the table again.
    """

    def __init__(
        self,
        groups: Iterable[Group],
        *,
        receive_buffer: int = RECEIVE_BYTES,
        ignore_ports: Collection[int] = (),
        hide_unfinished_tcp: bool = False,
    ) -> None:
        """Subscribe, in the network namespace of the calling thread.

        Args:
            groups: Which events.
            receive_buffer: Bytes of events that the kernel keeps for us.
            ignore_ports: Netlink port ids of programs whose doings are not reported.
            hide_unfinished_tcp: Do not report TCP connections before they are ASSURED.

        Raises:
            SystemCallError: No CAP_NET_ADMIN, or no ctnetlink in this kernel.
        """
        self._socket = sockets.open_socket(receive_buffer)
        self._slots = sockets.Slots(SLOTS, SLOT_BYTES)
        self._truncated = 0
        try:
            if ignore_ports or hide_unfinished_tcp:
                self._attach(event_filter(ignore_ports, hide_unfinished_tcp=hide_unfinished_tcp))
            for group in groups:
                self._socket.setsockopt(sockets.SOL_NETLINK, sockets.NETLINK_ADD_MEMBERSHIP, group)
        except OSError as error:
            self._socket.close()
            raise system_error(error.errno or 0, "cannot subscribe to conntrack events") from error

    def _attach(self, program: bytes) -> None:
        code = bytearray(program)
        where = addressof(c_char.from_buffer(code))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, where))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """For whoever waits until there is something."""
        return self._socket.fileno()

    @property
    def port(self) -> int:
        """The netlink port id of this socket."""
        name: tuple[int, int] = self._socket.getsockname()
        return name[0]

    def close(self) -> None:
        """Unsubscribe."""
        self._socket.close()

    def drain(self, max_messages: int) -> bytes:
        """Whole netlink messages, one after the other, each of a length that is a multiple of four.

        An event is one datagram, and ctnetlink pads every attribute, so nothing has to be added between them.

        Args:
            max_messages: At most so many, and at most `SLOTS`.

        Raises:
            OverrunError: Events were lost; later ones may be waiting.
        """
        if self._truncated != self._slots.truncated:
            self._truncated = self._slots.truncated
            raise OverrunError(f"a conntrack event of more than {SLOT_BYTES} bytes was lost", hint=_HINT)
        try:
            return b"".join(self._slots.receive(self._socket.fileno(), max_messages))
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise OverrunError("the kernel dropped conntrack events", hint=_HINT) from error
            raise system_error(error.errno or 0, "cannot read conntrack events") from error
