"""A scan, as somebody on the other side would do it: every port of every address, and whatever comes back is noted."""

from __future__ import annotations

import errno
import select
import socket
import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import NamedTuple

from appliance.lab import Lab, netns
from tests.netns.rules.talk import family_of

WAIT_S = 1.2
"""One repetition of a SYN: an answer that took a lost packet is still noted."""


class Finding(NamedTuple):
    """Something that answered."""

    protocol: str
    address: str
    port: int
    how: str
    """``open``, ``closed`` (refused by a reset or an ICMP error), ``rejected`` (by another ICMP error)."""


_HOW = {0: "open", errno.ECONNREFUSED: "closed"}


def scan(lab: Lab, role: str, addresses: Iterable[str], ports: Iterable[int]) -> set[Finding]:
    """What a machine finds behind these addresses and ports, by TCP connections and UDP datagrams."""
    targets = [(address, port) for address in addresses for port in ports]
    return netns.inside(lab.topology.namespace(role), lambda: _tcp(targets) | _udp(targets))


def _tcp(targets: list[tuple[str, int]]) -> set[Finding]:
    with ExitStack() as stack:
        waiting = {}
        found: set[Finding] = set()
        for address, port in targets:
            probe = stack.enter_context(socket.socket(family_of(address), socket.SOCK_STREAM))
            probe.setblocking(False)
            result = probe.connect_ex((address, port))
            if result == errno.EINPROGRESS:
                waiting[probe.fileno()] = (probe, address, port)
            else:
                found.add(Finding("tcp", address, port, _HOW.get(result, "rejected")))
        poll = select.poll()
        for number in waiting:
            poll.register(number, select.POLLOUT)
        end = time.monotonic() + WAIT_S
        while waiting and (left := end - time.monotonic()) > 0:
            for number, _ in poll.poll(left * 1000):
                poll.unregister(number)
                probe, address, port = waiting.pop(number)
                result = probe.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                found.add(Finding("tcp", address, port, _HOW.get(result, "rejected")))
        return found


def _udp(targets: list[tuple[str, int]]) -> set[Finding]:
    with ExitStack() as stack:
        probes = []
        for address, port in targets:
            probe = stack.enter_context(socket.socket(family_of(address), socket.SOCK_DGRAM))
            probe.setblocking(False)
            probe.connect((address, port))
            probe.send(b"\0" * 8)
            probes.append((probe, address, port))
        time.sleep(WAIT_S)
        found: set[Finding] = set()
        for probe, address, port in probes:
            try:
                probe.recv(100)
            except BlockingIOError:
                continue
            except OSError as error:
                found.add(Finding("udp", address, port, _HOW.get(error.errno or 0, "rejected")))
            else:
                found.add(Finding("udp", address, port, "open"))
        return found
