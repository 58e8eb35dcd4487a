"""Synchronous kernel access for paths where a millisecond counts: netlink, carrier, sysctls.

Imports neither trio nor pyroute2, so that a guard process and the election process stay small. Every
call here is one or two system calls that the kernel answers before they return; none of them waits for
the network. All objects belong to the network namespace of the thread that made them.
"""

from __future__ import annotations

import array
import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import Self

from appliance.errors import KernelError
from appliance.net import rtmessages as m
from appliance.net.rtfacts import AddressEvent as AddressEvent
from appliance.net.rtfacts import AddressInfo as AddressInfo
from appliance.net.rtfacts import LinkEvent as LinkEvent
from appliance.net.rtfacts import LinkInfo as LinkInfo
from appliance.net.rtfacts import Lost as Lost
from appliance.net.rtfacts import NeighbourEvent as NeighbourEvent
from appliance.net.rtfacts import NetconfEvent as NetconfEvent
from appliance.net.rtfacts import RouteChange as RouteChange
from appliance.net.rtfacts import RouteEvent as RouteEvent
from appliance.net.rtfacts import parse_address, parse_event, parse_link
from appliance.net.rtmessages import add_address as add_address
from appliance.net.rtmessages import addrgenmode_none as addrgenmode_none
from appliance.net.rtmessages import delete_address as delete_address
from appliance.net.rtmessages import delete_group as delete_group
from appliance.net.rtmessages import delete_link as delete_link
from appliance.net.rtmessages import link_down as link_down
from appliance.net.rtmessages import link_up as link_up
from appliance.net.rtmessages import new_bridge as new_bridge
from appliance.net.rtmessages import new_link as new_link
from appliance.net.rtmessages import new_macvlan as new_macvlan
from appliance.net.rtmessages import new_veth as new_veth
from appliance.net.rtmessages import new_vlan as new_vlan
from appliance.net.rtmessages import set_link as set_link
from appliance.net.rtmessages import set_master as set_master
from appliance.net.rtmessages import set_netns as set_netns

BATCH_MAX = 64
"""Messages per send: more acknowledgements than this overflow the socket's buffer."""
ACK_TIMEOUT_S = 1.0
"""The kernel answers within the send; only a lost acknowledgement makes a receive wait."""
DUMP_TRIES = 5
"""A dump that changed under our eyes is repeated this often."""
DRAIN_MAX = 256
"""Datagrams read per `Monitor.drain`, so that a storm of events cannot keep the caller for ever."""

_BUFFER_SIZE = 65536
_RECEIVE_BYTES = 4 << 20
_SOL_NETLINK = 270
_NETLINK_ADD_MEMBERSHIP, _NETLINK_CAP_ACK, _NETLINK_EXT_ACK = 1, 10, 11
_NETLINK_GET_STRICT_CHK = 12
_SO_RCVBUFFORCE = 33
_NLM_F_DUMP_INTR, _NLM_F_CAPPED, _NLM_F_ACK_TLVS = 0x10, 0x100, 0x200
_NLMSGERR_ATTR_MSG = 1
_SIOCETHTOOL, _SIOCGIFFLAGS, _ETHTOOL_GLINK = 0x8946, 0x8913, 0x0A
_IFF_RUNNING = 0x40


class Group(IntEnum):
    """Multicast groups of routing netlink (RTNLGRP_* of linux/rtnetlink.h)."""

    LINK = 1
    NEIGH = 3
    IPV4_IFADDR = 5
    IPV4_ROUTE = 7
    IPV6_IFADDR = 9
    IPV6_ROUTE = 11
    IPV6_IFINFO = 12
    IPV4_NETCONF = 24
    IPV6_NETCONF = 25


class SystemCallError(KernelError):
    """The kernel refused a request with an errno, kept in `code`."""

    def __init__(self, message: str, *, hint: str, code: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.message, self.hint, self.code))


def _rebuild(message: str, hint: str, code: int) -> SystemCallError:
    return SystemCallError(message, hint=hint, code=code)


_HINTS = {
    errno.EPERM: "This needs CAP_NET_ADMIN: run as root, or give the service AmbientCapabilities=CAP_NET_ADMIN.",
    errno.ENODEV: "The device does not exist, or has just gone: see `ip link`.",
    errno.EEXIST: "It exists already: somebody else, or an earlier run, has made it.",
    errno.EADDRNOTAVAIL: "The address is not on that device (any more).",
    errno.EOPNOTSUPP: "This kernel lacks the feature; load its module or use a kernel that has it.",
    errno.ENETDOWN: "The device is down: `ip link set DEVICE up`.",
}


def system_error(code: int, what: str, detail: str = "") -> SystemCallError:
    """An error for people of an errno, the attempted thing, and the kernel's own explanation."""
    text = f"{what}: {os.strerror(code)}" + (f" ({detail})" if detail else "")
    return SystemCallError(text, hint=_HINTS.get(code, "See `dmesg` and `ip -d link`."), code=code)


def open_route_socket(groups: Sequence[int] = ()) -> socket.socket:
    """A bound routing netlink socket with explanations, strict checking and a large buffer."""
    try:
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
    except OSError as error:
        raise system_error(error.errno or 0, "cannot open a routing netlink socket") from error
    try:
        enlarge_receive_buffer(sock, _RECEIVE_BYTES)
        for option in (_NETLINK_EXT_ACK, _NETLINK_CAP_ACK, _NETLINK_GET_STRICT_CHK):
            sock.setsockopt(_SOL_NETLINK, option, 1)
        sock.bind((0, 0))
        for group in groups:
            sock.setsockopt(_SOL_NETLINK, _NETLINK_ADD_MEMBERSHIP, group)
    except OSError as error:
        sock.close()
        raise system_error(error.errno or 0, "cannot set up a routing netlink socket") from error
    return sock


def enlarge_receive_buffer(sock: socket.socket, size: int) -> None:
    """As much as asked for with CAP_NET_ADMIN, otherwise as much as the system allows."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)


class Netlink:
    """Requests to the kernel and its answers. Not for use by two threads at once."""

    def __init__(self) -> None:
        self._socket = open_route_socket()
        seconds = int(ACK_TIMEOUT_S)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", seconds, 0))
        self._buffer = memoryview(bytearray(_BUFFER_SIZE))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def request(self, message: bytes) -> None:
        """Do one thing.

        Raises:
            SystemCallError: The kernel refused; `code` is the errno, the text has its explanation.
        """
        code, detail = self._exchange((message,))[0]
        if code:
            raise system_error(code, "the kernel refused a network change", detail)

    def batch(self, messages: Sequence[bytes]) -> list[int]:
        """Do many things, each tried whatever became of the others; errno (0 = done) of each."""
        results: list[int] = []
        for start in range(0, len(messages), BATCH_MAX):
            results += [code for code, _ in self._exchange(messages[start : start + BATCH_MAX])]
        return results

    def _exchange(self, messages: Sequence[bytes]) -> list[tuple[int, str]]:
        first = self._sequence + 1
        self._sequence += len(messages)
        if self._sequence > 0x7FFFFFFF:
            first, self._sequence = 1, len(messages)
        out = bytearray(b"".join(messages))
        offset = 0
        for number, message in enumerate(messages):
            struct.pack_into("=I", out, offset + 8, first + number)
            offset += len(message)
        # A lost acknowledgement is reported as what it is, not as success.
        results: list[tuple[int, str]] = [(errno.ENOBUFS, "no acknowledgement")] * len(messages)
        pending = len(messages)
        try:
            self._socket.send(out)
            while pending:
                pending -= self._collect(first, results)
        except (BlockingIOError, OSError) as error:
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS):
                raise system_error(error.errno or 0, "routing netlink does not work") from error
        return results

    def _collect(self, first: int, results: list[tuple[int, str]]) -> int:
        """Read one datagram of acknowledgements; how many of ours were in it."""
        size = self._socket.recv_into(self._buffer)
        found = offset = 0
        while offset + m.HEADER.size <= size:
            length, kind, flags, sequence, _port = m.HEADER.unpack_from(self._buffer, offset)
            if length < m.HEADER.size:
                break
            number = sequence - first
            if kind == m.NLMSG_ERROR and 0 <= number < len(results):
                results[number] = acknowledgement(self._buffer, offset + m.HEADER.size, offset + length, flags)
                found += 1
            offset += (length + 3) & ~3
        return found

    def link(self, name: str) -> LinkInfo | None:
        """One device as it is now, or nothing when there is none; also makes the kernel look at its carrier."""
        self._sequence += 1
        out = bytearray(m.get_link(name))
        struct.pack_into("=I", out, 8, self._sequence)
        try:
            self._socket.send(out)
            while True:
                data = memoryview(self._socket.recv(_BUFFER_SIZE))
                length, kind, flags, sequence, _port = m.HEADER.unpack_from(data)
                if sequence == self._sequence:
                    break
        except OSError as error:
            raise system_error(error.errno or 0, "routing netlink does not work") from error
        if kind == m.RTM_NEWLINK:
            return parse_link(data, m.HEADER.size, length)
        code, detail = acknowledgement(data, m.HEADER.size, length, flags)
        if code == errno.ENODEV:
            return None
        raise system_error(code, f"cannot ask for the device {name}", detail)

    def dump_links(self) -> list[LinkInfo]:
        """All devices of this namespace."""
        return [parse_link(data, 0, len(data)) for data in self._dump(m.get_links())]

    def dump_addresses(self, index: int | None = None) -> list[AddressInfo]:
        """All addresses, or those of one device (none when it does not exist)."""
        found: list[AddressInfo] = []
        for family in (socket.AF_INET, socket.AF_INET6):
            try:
                bodies = self._dump(m.get_addresses(family, index or 0))
            except SystemCallError as error:
                if error.code != errno.ENODEV:
                    raise
                continue
            parsed = (parse_address(data, 0, len(data)) for data in bodies)
            found += [a for a in parsed if a is not None and index in (None, a.index)]
        return found

    def _dump(self, message: bytes) -> list[memoryview]:
        for _ in range(DUMP_TRIES):
            bodies = self._dump_once(message)
            if bodies is not None:
                return bodies
        raise system_error(errno.EBUSY, "devices and addresses change faster than they can be read")

    def _dump_once(self, message: bytes) -> list[memoryview] | None:
        """Bodies of all answers, or nothing when the kernel says that they are inconsistent."""
        self._sequence += 1
        out = bytearray(message)
        struct.pack_into("=I", out, 8, self._sequence)
        bodies: list[memoryview] = []
        interrupted = False
        try:
            self._socket.send(out)
            while True:
                data = memoryview(self._socket.recv(_BUFFER_SIZE))
                offset = 0
                while offset + m.HEADER.size <= len(data):
                    length, kind, flags, sequence, _port = m.HEADER.unpack_from(data, offset)
                    if length < m.HEADER.size:
                        break
                    if sequence == self._sequence:
                        interrupted = interrupted or bool(flags & _NLM_F_DUMP_INTR)
                        if kind in (m.NLMSG_ERROR, m.NLMSG_DONE):
                            code, detail = acknowledgement(data, offset + m.HEADER.size, offset + length, flags)
                            if code:
                                raise system_error(code, "the kernel does not list its devices or addresses", detail)
                            return None if interrupted else bodies
                        bodies.append(data[offset + m.HEADER.size : offset + length])
                    offset += (length + 3) & ~3
        except OSError as error:
            raise system_error(error.errno or 0, "routing netlink does not work") from error


def acknowledgement(data: memoryview, offset: int, end: int, flags: int) -> tuple[int, str]:
    """``(errno, explanation)`` of NLMSG_ERROR or NLMSG_DONE."""
    if end - offset < 4:
        return 0, ""
    code = -struct.unpack_from("=i", data, offset)[0]
    if not code or not flags & _NLM_F_ACK_TLVS or end - offset < 20:
        return code, ""
    echoed = m.HEADER.size if flags & _NLM_F_CAPPED else struct.unpack_from("=I", data, offset + 4)[0]
    for kind, start, stop in m.attributes(data, offset + 4 + ((echoed + 3) & ~3), end):
        if kind == _NLMSGERR_ATTR_MSG:
            return code, bytes(data[start:stop]).rstrip(b"\0").decode(errors="replace")
    return code, ""


class Monitor:
    """Notifications of the kernel about devices, addresses, neighbours and switches; non-blocking."""

    def __init__(self, *groups: Group) -> None:
        self._socket = open_route_socket(groups)
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def drain(self) -> list[RouteEvent]:
        """Everything that is there; contains `Lost` when the kernel had to drop something."""
        events: list[RouteEvent] = []
        for _ in range(DRAIN_MAX):
            try:
                data = memoryview(self._socket.recv(_BUFFER_SIZE))
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise system_error(error.errno or 0, "cannot read routing netlink notifications") from error
                events.append(Lost())
                continue
            offset = 0
            while offset + m.HEADER.size <= len(data):
                length, kind, _flags, _sequence, _port = m.HEADER.unpack_from(data, offset)
                if length < m.HEADER.size:
                    break
                event = parse_event(data, kind, offset + m.HEADER.size, offset + length)
                if event is not None:
                    events.append(event)
                offset += (length + 3) & ~3
        return events


class CarrierProbe:
    """Asks a device for its carrier, which also makes the kernel report a change that it sits on.

    The kernel may delay the notification of a lost carrier by up to 0.9 s; ETHTOOL_GLINK costs 4 us.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._value = array.array("I", (_ETHTOOL_GLINK, 0))
        self._address = self._value.buffer_info()[0]
        self._flags = bytearray(40)

    def close(self) -> None:
        self._socket.close()

    def carrier(self, device: str) -> bool | None:
        """Whether frames can pass; ``None`` when there is no such device."""
        name = device.encode()
        self._value[0], self._value[1] = _ETHTOOL_GLINK, 0
        try:
            fcntl.ioctl(self._socket.fileno(), _SIOCETHTOOL, struct.pack("@16sP16x", name, self._address))
            return bool(self._value[1])
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            if error.errno != errno.EOPNOTSUPP:
                raise system_error(error.errno or 0, f"cannot ask {device} for its carrier") from error
        return self._running(device, name)

    def _running(self, device: str, name: bytes) -> bool | None:
        # Some virtual devices (ifb, dummy) have no ethtool operation; their flags are as good.
        struct.pack_into("@16s24x", self._flags, 0, name)
        try:
            fcntl.ioctl(self._socket.fileno(), _SIOCGIFFLAGS, self._flags)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise system_error(error.errno or 0, f"cannot ask {device} for its flags") from error
        return bool(struct.unpack_from("@H", self._flags, 16)[0] & _IFF_RUNNING)


def carrier(device: str) -> bool | None:
    """`CarrierProbe.carrier` for a single question."""
    probe = CarrierProbe()
    try:
        return probe.carrier(device)
    finally:
        probe.close()


SPINNING_SYSCTLS = frozenset({"forwarding", "ip_forward", "disable_ipv6", "disable_policy", "proxy_ndp"})
"""Their handlers try the kernel's RTNL lock, and begin anew when somebody has it (net/ipv4/devinet.c,
net/ipv6/addrconf.c: ``restart_syscall``)."""


class Sysctl:
    """One file below /proc/sys, kept open: a write is one system call.

    The file belongs to the network namespace of the thread that opened it and may be written from any.
    """

    def __init__(self, path: str) -> None:
        """`path` is ``net/ipv4/conf/lan0/forwarding``, relative to /proc/sys."""
        self.path = path
        self._spins = path.rpartition("/")[2] in SPINNING_SYSCTLS
        try:
            self._fd = os.open(f"/proc/sys/{path}", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise system_error(error.errno or 0, f"cannot open the sysctl {path}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self) -> str:
        """The value without the line end."""
        try:
            return os.pread(self._fd, 4096, 0).decode().strip()
        except OSError as error:
            raise system_error(error.errno or 0, f"cannot read the sysctl {self.path}") from error

    def write(self, value: str) -> None:
        """Set the value; of those in `SPINNING_SYSCTLS` with ordinary priority, as long as it takes."""
        try:
            if self._spins:
                with ordinary_priority():
                    os.pwrite(self._fd, value.encode(), 0)
            else:
                os.pwrite(self._fd, value.encode(), 0)
        except OSError as error:
            raise system_error(error.errno or 0, f"cannot write {value!r} to the sysctl {self.path}") from error


@contextlib.contextmanager
def ordinary_priority() -> Iterator[None]:
    """Leave the real-time scheduler for a system call that may spin: it would spin before the one it waits for.

    Seen with a device being deleted: the deletion had the RTNL lock, two heartbeats wrote sysctls, and for
    0.95 s, until the kernel throttles real-time processes, nothing else ran on either core.
    """
    policy = os.sched_getscheduler(0)
    if policy not in (os.SCHED_FIFO, os.SCHED_RR):
        yield
        return
    priority = os.sched_getparam(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)
