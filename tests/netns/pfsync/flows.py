"""Real flows through the firewalls, many and fast: raw packets of a client and a server, sent with `sendmmsg`.

``python flows.py LAB --kind udp|tcp|open --count N [--first K] [--rate R]`` sends the flows number K to K+N-1 and
prints one line of JSON. A flow is the packets that make one: a datagram, or a whole TCP handshake and farewell. No
stack takes part at either end (`sink` keeps them silent), so one processor makes tens of thousands per second. The
same number is always the same flow: sent again, it refreshes its entry.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from appliance.lab import Lab, netns
from tests.netns.pfsync.natrules import CLIENT4, SERVER4, VIP4

Bytes = npt.NDArray[np.uint8]
FIRST_DPORT, DPORTS = 20000, 40000
FIRST_SPORT, SPORTS = 1000, 6000
"""Neither the server's services nor what the stacks choose for their own connections."""
MARKER_DPORT = FIRST_DPORT - 1
"""Flows whose way to the peer is timed."""
BATCH = 128
TICK_S = 0.0005
BEHIND_MAX_S = 0.05
"""A generator that is later than this has met its limit: it goes on at its rate and does not send a burst."""
SEND_BUFFER = 8 << 20
FIN, SYN, ACK = 1, 2, 16
MMSG = np.dtype({
    "names": ["name", "namelen", "iov", "iovlen"],
    "formats": ["u8", "u4", "u8", "u8"],
    "offsets": [0, 8, 16, 24],
    "itemsize": 64,
})  # fmt: skip
"""struct mmsghdr on 64-bit Linux; what has no name here stays zero."""
_SO_SNDBUFFORCE = 32
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Step:
    """One packet of a flow."""

    from_server: bool
    flags: int
    seq: int
    ack: int


TCP_OPEN = (Step(False, SYN, 1000, 0), Step(True, SYN | ACK, 2000, 1001), Step(False, ACK, 1001, 2001))
TCP_WHOLE = (
    *TCP_OPEN,
    Step(False, FIN | ACK, 1001, 2001),
    Step(True, FIN | ACK, 2001, 1002),
    Step(False, ACK, 1002, 2002),
)


def sink(lab: Lab) -> None:
    """Keeps the stacks of client and server from answering packets they know nothing about."""
    low, high, first, last = MARKER_DPORT, FIRST_DPORT + DPORTS - 1, FIRST_SPORT, FIRST_SPORT + SPORTS - 1
    for role, theirs, ours in (("server", f"{first}-{last}", f"{low}-{high}"),
                               ("client", f"{low}-{high}", f"{first}-{last}")):  # fmt: skip
        netns.nft(
            lab.topology.namespace(role),
            "table ip sink {\n  chain quiet {\n    type filter hook prerouting priority raw;\n"
            f"    tcp sport {theirs} tcp dport {ours} drop\n    udp sport {theirs} udp dport {ours} drop\n  }}\n}}\n",
        )


def raw_socket(lab: Lab, role: str) -> socket.socket:
    """A socket for complete IPv4 packets in a namespace of the lab."""

    def make() -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        made.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, SEND_BUFFER)
        return made

    return netns.inside(lab.topology.namespace(role), make)


class Burst:
    """Up to `BATCH` packets of one form that are sent with one system call, their ports patched in."""

    def __init__(self, channel: socket.socket, source: str, target: str, transport: bytes, *, swapped: bool) -> None:
        header = bytearray(20)
        header[0], header[8], header[9] = 0x45, 64, socket.IPPROTO_UDP if len(transport) == 8 else socket.IPPROTO_TCP
        header[12:16], header[16:20] = socket.inet_aton(source), socket.inet_aton(target)
        self._packets: Bytes = np.tile(np.frombuffer(bytes(header) + transport, np.uint8), (BATCH, 1))
        self._ports = self._packets[:, 20:24].view(">u2")
        self._order = (1, 0) if swapped else (0, 1)
        self._sum = self._packets[:, 36:38].view(">u2") if len(transport) == 20 else None
        self._base = sum_of_words(bytes(header[12:20]) + bytes((0, header[9], 0, len(transport))) + transport)
        self._channel = channel
        self._fd = channel.fileno()
        self._name = np.frombuffer(
            int(socket.AF_INET).to_bytes(2, sys.byteorder) + bytes(2) + socket.inet_aton(target) + bytes(8), np.uint8
        ).copy()
        size = self._packets.shape[1]
        self._vectors = np.empty((BATCH, 2), np.uint64)
        self._vectors[:, 0] = self._packets.ctypes.data + np.arange(BATCH, dtype=np.uint64) * np.uint64(size)
        self._vectors[:, 1] = size
        self._messages = np.zeros(BATCH, MMSG)
        self._messages["name"], self._messages["namelen"] = self._name.ctypes.data, 16
        self._messages["iov"] = self._vectors.ctypes.data + np.arange(BATCH, dtype=np.uint64) * np.uint64(16)
        self._messages["iovlen"] = 1

    def send(self, sport: npt.NDArray[Any], dport: npt.NDArray[Any]) -> int:
        """The packets of these flows; returns how many the kernel took."""
        count = len(sport)
        self._ports[:count, self._order[0]] = sport
        self._ports[:count, self._order[1]] = dport
        if self._sum is not None:
            total = self._base + sport.astype(np.uint32) + dport
            total = (total & 0xFFFF) + (total >> 16)
            self._sum[:count, 0] = 0xFFFF - ((total & 0xFFFF) + (total >> 16))
        done = 0
        while done < count:
            start = self._messages.ctypes.data + 64 * done
            sent = _libc.sendmmsg(self._fd, ctypes.c_void_p(start), count - done, 0)
            if sent <= 0:
                break  # the neighbour is not known yet, or the queue is full: these flows are not counted
            done += sent
        return done


def sum_of_words(data: bytes) -> int:
    """The sum of the 16-bit words, folded; not yet inverted."""
    total = int(np.frombuffer(data, ">u2").sum(dtype=np.uint64))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def bursts(lab: Lab, kind: str) -> list[Burst]:
    """What makes flows of a kind, in order."""
    client = raw_socket(lab, "client")
    if kind == "udp":
        return [Burst(client, CLIENT4, SERVER4, bytes((0, 0, 0, 0, 0, 8, 0, 0)), swapped=False)]
    server = raw_socket(lab, "server")
    made = []
    for step in TCP_WHOLE if kind == "tcp" else TCP_OPEN:
        head = bytes(4) + step.seq.to_bytes(4, "big") + step.ack.to_bytes(4, "big")
        transport = head + bytes((0x50, step.flags, 0xFF, 0xFF, 0, 0, 0, 0))
        ends = (SERVER4, VIP4) if step.from_server else (CLIENT4, SERVER4)
        made.append(Burst(server if step.from_server else client, *ends, transport, swapped=step.from_server))
    return made


def ports(first: int, count: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Source and destination ports of the flows with these numbers."""
    numbers = np.arange(first, first + count)
    return FIRST_SPORT + numbers // DPORTS % SPORTS, FIRST_DPORT + numbers % DPORTS


def send_all(steps: Sequence[Burst], first: int, count: int, rate: float) -> int:
    """Sends flows, at once or paced; returns how many went out completely."""
    done = sent = 0
    start = time.monotonic()
    while sent < count:
        due = count
        if rate:
            now = time.monotonic()
            due = min(count, int((now - start) * rate))
            if due - sent > BEHIND_MAX_S * rate:
                start, due = now - (sent + BATCH) / rate, min(count, sent + BATCH)
            if due <= sent:
                time.sleep(TICK_S)
                continue
        now_count = min(BATCH, due - sent)
        numbers = ports(first + sent, now_count)
        done += min(step.send(*numbers) for step in steps)
        sent += now_count
    return done


def run(lab: Lab, kind: str, count: int, *, first: int = 0, rate: float = 0.0, timeout_s: float = 120.0) -> float:
    """`send_all` in a process of its own; returns the flows per second it reached."""
    import subprocess

    argv = [sys.executable, __file__, lab.name, "--kind", kind, "--count", str(count), "--first", str(first)]
    done = subprocess.run(
        [*argv, "--rate", str(rate)], capture_output=True, text=True, timeout=timeout_s, check=True
    ).stdout
    return float(json.loads(done)["per_s"])


def fill(lab: Lab, entries: Callable[[], int], count: int, rounds: int = 5) -> None:
    """Until the master tracks this many background flows: half datagrams, half established TCP."""
    for _ in range(rounds):
        if entries() >= count:
            return
        run(lab, "udp", count // 2)
        run(lab, "open", count - count // 2)
    raise RuntimeError(f"the master tracks {entries()} flows after {rounds} attempts to make {count}")


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("lab")
    parser.add_argument("--kind", choices=("udp", "tcp", "open"), default="udp")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--rate", type=float, default=0.0)
    options = parser.parse_args()
    # One processor: packets of a flow must not overtake each other in the queues of two.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    steps = bursts(Lab.open(options.lab), options.kind)
    start = time.monotonic()
    done = send_all(steps, options.first, options.count, options.rate)
    took = time.monotonic() - start
    print(json.dumps({"flows": done, "seconds": took, "per_s": done / took}))


if __name__ == "__main__":
    main()
