"""Flows whose way to the standby's kernel is timed: a packet leaves the client, an event comes from fw2.

The instrument must not be what is late: it runs with real-time priority, and a filter in the kernel gives it the
events of its own flows only.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor
from ctypes import addressof, c_char
from dataclasses import dataclass
from typing import Self

import numpy as np

from appliance.lab import Lab, netns
from appliance.net.conntrack import EventSocket, Group
from tests.netns.pfsync import flows
from tests.netns.pfsync.natrules import CLIENT4, SERVER4

REALTIME_PRIORITY = 60
RATE = 100
"""Markers per second."""
LINGER_S = 0.5
SPORT_AT, DPORT_AT = 60, 68
"""Where an IPv4 event has the ports of its original tuple: two headers (20 bytes), the nests CTA_TUPLE_ORIG and
CTA_TUPLE_IP (4 each), two addresses (8 each), the nest CTA_TUPLE_PROTO (4), the protocol (8), then two ports of 8
bytes, each behind an attribute header of 4."""
_SO_ATTACH_FILTER = 26
_LOAD_HALF, _JUMP_EQUAL, _RETURN = 0x28, 0x15, 0x06


@dataclass(frozen=True, slots=True)
class Timed:
    """What came back."""

    sent: int
    lags_ms: list[float]


class Markers:
    """Sends and times them; a context manager."""

    def __init__(self, lab: Lab, first: int) -> None:
        """`first`: how many markers there have been in this lab."""
        self._lab = lab
        self._next = first

    def __enter__(self) -> Self:
        self._channel = flows.raw_socket(self._lab, "client")
        self._burst = flows.Burst(self._channel, CLIENT4, SERVER4, bytes((0, 0, 0, 0, 0, 8, 0, 0)), swapped=False)
        self._events = netns.inside(self._lab.topology.namespace("fw2"), lambda: EventSocket((Group.NEW,)))
        _only_markers(self._events.fileno())
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        self._channel.close()

    def measure(self, seconds: float) -> Timed:
        """In a thread of its own, whose priority nobody inherits."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._measure, seconds).result()

    def _measure(self, seconds: float) -> Timed:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(REALTIME_PRIORITY))
        count = int(seconds * RATE)
        sent_at: dict[int, int] = {}
        lags: list[float] = []
        due = time.monotonic()
        for _ in range(count):
            due += 1 / RATE
            while (left := due - time.monotonic()) > 0:
                self._take(left, sent_at, lags)
            sport = flows.FIRST_SPORT + self._next % flows.SPORTS
            self._next += 1
            numbers = np.array([sport]), np.array([flows.MARKER_DPORT])
            sent_at[sport] = time.monotonic_ns()
            self._burst.send(*numbers)
        end = time.monotonic() + LINGER_S
        while sent_at and (left := end - time.monotonic()) > 0:
            self._take(left, sent_at, lags)
        return Timed(count, lags)

    def _take(self, seconds: float, sent_at: dict[int, int], lags: list[float]) -> None:
        if not select.select([self._events], [], [], seconds)[0]:
            return
        now = time.monotonic_ns()
        data, at = self._events.drain(64), 0
        while at < len(data):
            (length,) = struct.unpack_from("=I", data, at)
            (sport,) = struct.unpack_from(">H", data, at + SPORT_AT)
            if sport in sent_at:
                lags.append((now - sent_at.pop(sport)) / 1e6)
            at += length


def _only_markers(fd: int) -> None:
    program = bytearray(b"".join(struct.pack("=HBBI", *each) for each in (
        (_LOAD_HALF, 0, 0, DPORT_AT),
        (_JUMP_EQUAL, 0, 1, flows.MARKER_DPORT),
        (_RETURN, 0, 0, 0xFFFFFFFF),
        (_RETURN, 0, 0, 0),
    )))  # fmt: skip
    where = addressof(c_char.from_buffer(program))
    with socket.socket(fileno=os.dup(fd)) as same:
        same.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program) // 8, where))
