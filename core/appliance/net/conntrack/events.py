"""What the kernel reports about its entries: many events at once, none of one's own, and never a silent loss.

Events of the entries that a program put in itself come back to it like all others; a filter in the kernel drops
them for less than it would cost to look at them here.
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


_HINT = (
    "What was missed is seen by reading the table again. If this happens often, events come faster than they are read."
)


class OverrunError(KernelError):
    """The kernel had to drop events. The table itself is right: dump it, and go on draining."""


def port_filter(ignore_ports: Collection[int]) -> bytes:
    """A classic BPF program (struct sock_filter[]) that drops netlink messages caused by these port ids."""
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
    ) -> None:
        """Subscribe, in the network namespace of the calling thread.

        Args:
            groups: Which events.
            receive_buffer: Bytes of events that the kernel keeps for us.
            ignore_ports: Netlink port ids of programs whose doings are not reported.

        Raises:
            SystemCallError: No CAP_NET_ADMIN, or no ctnetlink in this kernel.
        """
        self._socket = sockets.open_socket(receive_buffer)
        self._slots = sockets.Slots(SLOTS, SLOT_BYTES)
        self._truncated = 0
        try:
            if ignore_ports:
                self._attach(port_filter(ignore_ports))
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
