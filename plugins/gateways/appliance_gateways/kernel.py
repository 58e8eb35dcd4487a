"""The kernel's side: rules and routes over routing netlink, one sysctl, and connections that are ended.

Calls are a few system calls each, which the kernel answers before they return.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Self

import trio

from appliance.net import rtmessages as m
from appliance.net.conntrack import Injector
from appliance.net.conntrack import attributes as ct
from appliance.net.fastpath import Group, Netlink, acknowledgement, open_route_socket, system_error
from appliance_gateways import routing
from appliance_gateways.routing import Item

DUMP_TRIES = 5
"""A list that changed while it was read is read again so often."""
ANSWER_MAX_S = 2
_BUFFER_SIZE = 65536
_NLM_F_DUMP_INTR = 0x10
_CTA_MARK_MASK = 21
_ALREADY_SO = frozenset({errno.EEXIST, errno.ESRCH, errno.ENOENT})
_SYSCTLS = Path("/proc/sys/net")
_LOOSE = 2


class Router:
    """Our rules and routes in this network namespace."""

    def __init__(self) -> None:
        self._netlink = Netlink()
        self._lister = open_route_socket()
        self._lister.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("@ll", ANSWER_MAX_S, 0))
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._netlink.close()
        self._lister.close()

    def indexes(self, devices: Iterable[str]) -> dict[str, int]:
        """Index of each device that exists and is up: only those can have routes."""
        links = {device: self._netlink.link(device) for device in devices}
        return {device: link.index for device, link in links.items() if link is not None and link.up}

    def read(self) -> set[Item]:
        """What is there of ours.

        Raises:
            SystemCallError: The kernel does not list it.
        """
        found: set[Item] = set()
        for version in (4, 6):
            for question in (routing.dump_rules(version), routing.dump_routes(version)):
                items = (routing.parse(kind, body) for kind, body in self._list(question))
                found.update(item for item in items if item is not None)
        return found

    def make(self, wanted: Collection[Item]) -> list[str]:
        """Add what is missing, then remove what is not wanted; a sentence for each refusal.

        Raises:
            SystemCallError: Routing netlink itself does not work.
        """
        add, remove = routing.changes(wanted, self.read())
        refused = []
        for message, item in [*((routing.addition(i), i) for i in add), *((routing.removal(i), i) for i in remove)]:
            (code,) = self._netlink.batch([message])
            if code and code not in _ALREADY_SO:
                refused.append(f"{routing.describe(item)}: {system_error(code, 'refused').message}")
        return refused

    def _list(self, question: bytes) -> list[tuple[int, bytes]]:
        for _ in range(DUMP_TRIES):
            answers = self._list_once(question)
            if answers is not None:
                return answers
        raise system_error(errno.EBUSY, "rules and routes change faster than they can be read")

    def _list_once(self, question: bytes) -> list[tuple[int, bytes]] | None:
        self._sequence = self._sequence % 0x7FFFFFFF + 1
        sent = bytearray(question)
        struct.pack_into("=I", sent, 8, self._sequence)
        answers: list[tuple[int, bytes]] = []
        interrupted = False
        try:
            self._lister.send(sent)
            while True:
                data = memoryview(self._lister.recv(_BUFFER_SIZE))
                for kind, flags, sequence, start, end in _messages(data):
                    if sequence != self._sequence:
                        continue
                    interrupted = interrupted or bool(flags & _NLM_F_DUMP_INTR)
                    if kind in (m.NLMSG_ERROR, m.NLMSG_DONE):
                        code, detail = acknowledgement(data, start, end, flags)
                        if code in (errno.ENOENT, errno.EAFNOSUPPORT):
                            return []  # no such table yet, or no IPv6 at all
                        if code:
                            raise system_error(code, "the kernel does not list its rules and routes", detail)
                        return None if interrupted else answers
                    answers.append((kind, bytes(data[start:end])))
        except OSError as error:
            raise system_error(error.errno or 0, "routing netlink does not work") from error


class Watch:
    """Tells when somebody else has removed a rule or a route of ours."""

    def __init__(self) -> None:
        groups = (*routing.RULE_GROUPS.values(), Group.IPV4_ROUTE, Group.IPV6_ROUTE)
        self._socket = trio.socket.from_stdlib_socket(open_route_socket(groups))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    async def removed(self) -> None:
        """Wait until something of ours may be gone.

        Raises:
            SystemCallError: Notifications cannot be read.
        """
        while True:
            try:
                data = memoryview(await self._socket.recv(_BUFFER_SIZE))
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return  # something was lost: look
                raise system_error(error.errno or 0, "cannot read routing netlink notifications") from error
            if any(routing.is_ours(kind, bytes(data[start:end])) for kind, _f, _s, start, end in _messages(data)):
                return


def _messages(data: memoryview) -> Iterable[tuple[int, int, int, int, int]]:
    """Netlink messages of a datagram as ``(type, flags, sequence, start, end)`` of their bodies."""
    offset = 0
    while offset + m.HEADER.size <= len(data):
        length, kind, flags, sequence, _port = m.HEADER.unpack_from(data, offset)
        if length < m.HEADER.size:
            return
        yield kind, flags, sequence, offset + m.HEADER.size, min(offset + length, len(data))
        offset += (length + 3) & ~3


def accept_asymmetry(device: str) -> str:
    """Set rp_filter of a WAN to loose: why it could not be, or nothing.

    In strict mode the kernel drops what comes in from a WAN that is not the default route's. Off (0) is no better:
    the larger of this and that of "all" counts.
    """
    path = _SYSCTLS / "ipv4" / "conf" / device / "rp_filter"
    try:
        if path.read_text(encoding="ascii").strip() != str(_LOOSE):
            path.write_text(f"{_LOOSE}\n", encoding="ascii")
    except FileNotFoundError:
        return ""  # the device is set up when it appears
    except OSError as error:
        return f"net.ipv4.conf.{device}.rp_filter cannot be set to {_LOOSE}: {error.strerror}"
    return ""


def end_connections(number: int) -> None:
    """Remove every connection of a gateway from the kernel's table, in one request that the kernel filters itself.

    Raises:
        SystemCallError: The kernel refused.
    """
    if not 1 <= number <= routing.MARK_MASK:
        raise ValueError(f"no gateway has the number {number}, and without one every connection would be ended")
    mark = ct.be32(ct.MARK, number) + ct.be32(_CTA_MARK_MASK, routing.MARK_MASK)
    with Injector() as injector:
        for _place, code in injector.send(ct.message(ct.CT_DELETE, 0, 0, mark, 0), 1):
            raise system_error(code, "connections of a dead gateway cannot be ended")
