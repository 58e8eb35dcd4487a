"""The process that sends the traffic of a probe, measures, and prints one line of JSON.

``python -m appliance.lab.probe KIND --address A --seconds S [--rate R]``. It prints
``{"flowing": true}`` when the first answer arrives, and the result at its end or on TERM. Timing must
hold on a busy machine, so the process asks for real-time priority, allocates everything before it
starts and keeps the garbage collector out.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import signal
import socket
import struct
import sys
import time
from array import array
from collections.abc import Callable

from appliance.lab.measure import (
    NS_PER_MS,
    PAUSE_MIN_MS,
    SURVIVAL_WINDOW_MS,
    Pauses,
    ProbeKind,
    ProbeResult,
    losses,
    over_time,
    percent,
)

UDP_PORT = 7001
ECHO_PORT = 7002
DOWNLOAD_PORT = 7003
RATES = {ProbeKind.UDP: 1000, ProbeKind.PING: 100, ProbeKind.INTERACTIVE: 100, ProbeKind.CONNECTIONS: 50}
REALTIME_PRIORITY = 60
"""Above the software under test (50): the measuring instrument must not be what is late."""
LINGER_NS = 500 * NS_PER_MS
"""Answers that come this late still count."""
RESYNC_NS = 20 * NS_PER_MS
"""A sender that is later than this does not catch up with a burst: bursts are dropped and would count as loss."""
CONNECT_TIMEOUT_S = 0.25
"""Less than the kernel's first retransmission of a SYN (1 s): a new attempt notices earlier that service is back."""
ICMP_ECHO = struct.Struct("!BBHHHQ")
NUMBER = struct.Struct("!Q")


class Stop:
    """Set by TERM and INT."""

    def __init__(self) -> None:
        self.asked = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: object) -> None:
        self.asked = True


def go_realtime() -> None:
    """SCHED_FIFO where allowed; without it the result's `late_ms` tells."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
    gc.collect()
    gc.freeze()
    gc.disable()


def wall(monotonic_ns: int) -> float:
    """The Unix time of a moment of the monotonic clock."""
    return time.time() - (time.monotonic_ns() - monotonic_ns) / 1e9


def flowing() -> None:
    """Tells whoever waits that the first answer has arrived."""
    sys.stdout.write('{"flowing": true}\n')
    sys.stdout.flush()


Encode = Callable[[int], bytes]
Decode = Callable[[bytes], int]


def udp_socket(address: str) -> tuple[socket.socket, Encode, Decode]:
    """A connected datagram socket and how numbers travel in it."""
    channel = socket.socket(_family(address), socket.SOCK_DGRAM)
    channel.connect((address, UDP_PORT))
    return channel, NUMBER.pack, lambda data: int(NUMBER.unpack_from(data)[0])


def ping_socket(address: str) -> tuple[socket.socket, Encode, Decode]:
    """The kernel's ping socket: it fills in checksum and identity, and delivers our answers only."""
    six = ":" in address
    proto = socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP
    channel = socket.socket(_family(address), socket.SOCK_DGRAM, proto)
    channel.connect((address, 0))
    kind = 128 if six else 8
    return (
        channel,
        lambda number: ICMP_ECHO.pack(kind, 0, 0, 0, number & 0xFFFF, number),
        lambda data: int(ICMP_ECHO.unpack_from(data)[5]),
    )


class Pump:
    """Sends numbered packets at a fixed rate and notes the answers."""

    def __init__(self, channel: socket.socket, encode: Encode, decode: Decode, count: int, interval_ns: int) -> None:
        channel.setblocking(False)
        self._channel, self._encode, self._decode = channel, encode, decode
        self._interval_ns = interval_ns
        self._sent = array("q", bytes(8 * count))
        self._answers = bytearray(count)
        self._total = 0
        self._highest = -1
        self._reordered = 0
        self._slowest_ns = 0
        self._late_ns = 0

    def run(self, kind: ProbeKind, stop: Stop) -> ProbeResult:
        """The whole measurement."""
        start = time.monotonic_ns()
        self._send_all(start, stop)
        end = time.monotonic_ns()
        while time.monotonic_ns() - end < LINGER_NS and not all(self._answers[: self._total]):
            self._drain()
            time.sleep(0.001)
        self._drain()
        found = losses(self._sent[: self._total], self._answers[: self._total], end)
        slices = over_time(self._sent[: self._total], self._answers[: self._total])
        return ProbeResult(
            kind=kind,
            sent=self._total,
            lost=found.lost,
            duplicates=found.duplicates,
            reordered=self._reordered,
            longest_gap_ms=found.longest_gap_ns / NS_PER_MS,
            gap_at=found.gap_start_ns / 1e9,
            survived=found.survived,
            slowest_ms=self._slowest_ns / NS_PER_MS,
            late_ms=self._late_ns / NS_PER_MS,
            received_bytes=0,
            seconds=(end - start) / 1e9,
            loss_percent=percent(slices),
            began=wall(self._sent[0] if self._total else start),
            slices=slices,
            pauses=found.pauses,
        )

    def _send_all(self, start: int, stop: Stop) -> None:
        monotonic_ns = time.monotonic_ns
        send, encode, sent = self._channel.send, self._encode, self._sent
        interval, due = self._interval_ns, start
        for number in range(len(sent)):
            if stop.asked:
                break
            now = monotonic_ns()
            if now < due:
                time.sleep((due - now) * 1e-9)
                now = monotonic_ns()
            late = now - due
            if late > self._late_ns:
                self._late_ns = late
            due = (now if late > RESYNC_NS else due) + interval
            sent[number] = now
            self._total = number + 1
            with contextlib.suppress(OSError):  # unreachable, or refused: it is not answered then, which counts
                send(encode(number))
            self._drain()

    def _drain(self) -> None:
        receive = self._channel.recv
        while True:
            try:
                data = receive(2048)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error that somebody sent about an earlier packet
                continue
            number = self._decode(data)
            if not 0 <= number < self._total:
                continue
            if self._highest < 0:
                flowing()
            if self._answers[number] < 255:
                self._answers[number] += 1
            if number < self._highest:
                self._reordered += 1
            else:
                self._highest = number
            self._slowest_ns = max(self._slowest_ns, time.monotonic_ns() - self._sent[number])


class Gaps:
    """The longest of several waits."""

    def __init__(self) -> None:
        self.longest_ns = 0
        self.start_ns = 0
        self.pauses = Pauses(PAUSE_MIN_MS)

    def note(self, start_ns: int, end_ns: int) -> None:
        """One wait."""
        self.pauses.note(start_ns, end_ns)
        if end_ns - start_ns > self.longest_ns:
            self.longest_ns, self.start_ns = end_ns - start_ns, start_ns


def interactive(address: str, seconds: float, rate: int, stop: Stop) -> ProbeResult:
    """Questions and answers on one connection."""
    gaps, sent, answered, alive = Gaps(), 0, 0, True
    start = time.monotonic_ns()
    end = start + int(seconds * 1e9)
    with socket.create_connection((address, ECHO_PORT), timeout=seconds) as channel:
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (asked := time.monotonic_ns()) < end and not stop.asked:
            sent += 1
            try:
                channel.settimeout(max(0.1, (end - asked + LINGER_NS) / 1e9))
                channel.sendall(NUMBER.pack(sent))
                reply = _exactly(channel, NUMBER.size)
            except OSError:
                alive = False
                gaps.note(asked, time.monotonic_ns())
                break
            answered += 1
            gaps.note(asked, time.monotonic_ns())
            if NUMBER.unpack(reply)[0] != sent:
                alive = False
                break
            if sent == 1:
                flowing()
            time.sleep(1 / rate)
    return _tcp_result(ProbeKind.INTERACTIVE, gaps, start, sent=sent, lost=sent - answered, survived=alive)


def download(address: str, seconds: float, stop: Stop) -> ProbeResult:
    """Receives for as long as it is told, notes the longest pause."""
    gaps, chunks, size = Gaps(), 0, 0
    start = last = time.monotonic_ns()
    end = start + int(seconds * 1e9)
    with socket.create_connection((address, DOWNLOAD_PORT), timeout=seconds) as channel:
        channel.settimeout(0.1)
        while (now := time.monotonic_ns()) < end and not stop.asked:
            try:
                data = channel.recv(262144)
            except TimeoutError:
                continue
            except OSError:
                break
            if not data:
                break
            now = time.monotonic_ns()
            if chunks:
                gaps.note(last, now)
            else:
                flowing()
            last, chunks, size = now, chunks + 1, size + len(data)
    now = time.monotonic_ns()
    gaps.note(last, now)
    alive = chunks > 0 and now - last <= SURVIVAL_WINDOW_MS * NS_PER_MS
    return _tcp_result(ProbeKind.DOWNLOAD, gaps, start, sent=chunks, lost=0, survived=alive, received_bytes=size)


def connections(address: str, seconds: float, rate: int, stop: Stop) -> ProbeResult:
    """New connections, one after the other."""
    gaps, sent, failed = Gaps(), 0, 0
    start = time.monotonic_ns()
    end, gap_start, last = start + int(seconds * 1e9), 0, 0
    while (now := time.monotonic_ns()) < end and not stop.asked:
        sent += 1
        try:
            with socket.create_connection((address, ECHO_PORT), timeout=CONNECT_TIMEOUT_S) as channel:
                channel.sendall(NUMBER.pack(sent))
                _exactly(channel, NUMBER.size)
        except OSError:
            failed += 1
            gap_start = gap_start or now
        else:
            if gap_start:
                gaps.note(gap_start, time.monotonic_ns())
            if not last:
                flowing()
            gap_start, last = 0, time.monotonic_ns()
        time.sleep(max(0.0, 1 / rate - (time.monotonic_ns() - now) / 1e9))
    now = time.monotonic_ns()
    if gap_start:
        gaps.note(gap_start, now)
    alive = last > 0 and now - last <= SURVIVAL_WINDOW_MS * NS_PER_MS
    return _tcp_result(ProbeKind.CONNECTIONS, gaps, start, sent=sent, lost=failed, survived=alive)


def _tcp_result(
    kind: ProbeKind, gaps: Gaps, start_ns: int, *, sent: int, lost: int, survived: bool, received_bytes: int = 0
) -> ProbeResult:
    return ProbeResult(
        kind=kind,
        sent=sent,
        lost=lost,
        longest_gap_ms=gaps.longest_ns / NS_PER_MS,
        gap_at=gaps.start_ns / 1e9,
        survived=survived,
        slowest_ms=gaps.longest_ns / NS_PER_MS,
        received_bytes=received_bytes,
        seconds=(time.monotonic_ns() - start_ns) / 1e9,
        began=wall(start_ns),
        pauses=gaps.pauses.since(start_ns),
    )


def _exactly(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = channel.recv(size - len(data))
        if not more:
            raise ConnectionResetError("the server closed the connection")
        data += more
    return data


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def measure(kind: ProbeKind, address: str, seconds: float, rate: int, stop: Stop) -> ProbeResult:
    """Runs one probe."""
    if kind is ProbeKind.DOWNLOAD:
        return download(address, seconds, stop)
    if kind is ProbeKind.INTERACTIVE:
        return interactive(address, seconds, rate, stop)
    if kind is ProbeKind.CONNECTIONS:
        return connections(address, seconds, rate, stop)
    channel, encode, decode = udp_socket(address) if kind is ProbeKind.UDP else ping_socket(address)
    with channel:
        pump = Pump(channel, encode, decode, int(seconds * rate), 1_000_000_000 // rate)
        return pump.run(kind, stop)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="python -m appliance.lab.probe")
    parser.add_argument("kind", choices=[str(kind) for kind in ProbeKind])
    parser.add_argument("--address", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--rate", type=int, default=0)
    options = parser.parse_args()
    kind = ProbeKind(options.kind)
    stop = Stop()
    go_realtime()
    try:
        result = measure(kind, options.address, options.seconds, options.rate or RATES.get(kind, 0), stop)
    except OSError as error:
        print(json.dumps({"error": f"{kind} to {options.address}: {error}"}))
        return 1
    print(json.dumps(result.to_json()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
