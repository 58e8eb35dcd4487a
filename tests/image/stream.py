"""One TCP connection through the cluster whose every byte is accounted for.

``python -m tests.image.stream talk|serve ADDRESS``: the client sends numbers, one after the other, until its standard
input ends; the server sends each of them back. Both refuse a number that is not the next one, neither connects again,
and what they say at the end tells it all.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from appliance_images.hub import Segment
from tests.image.cable import plugged

PORT = 4001
NUMBER = struct.Struct("!Q")
INTERVAL_S = 0.05
"""Between two numbers."""
GIVE_UP_S = 120.0
"""Without an answer: longer than any takeover, and TCP itself would still try."""
END_S = 60.0
BEGIN_S = 60.0


class Numbers:
    """Checks that they come in order, from pieces of any size."""

    def __init__(self) -> None:
        self.count = 0
        self._rest = b""

    def take(self, data: bytes) -> None:
        """More of them."""
        whole = self._rest + data
        end = len(whole) - len(whole) % NUMBER.size
        for (number,) in NUMBER.iter_unpack(whole[:end]):
            assert number == self.count, f"{number} came, and {self.count} is next"
            self.count += 1
        self._rest = whole[end:]


def serve(address: str) -> dict[str, Any]:
    """Send back what the first client sends, until it ends: how many numbers, and whom the server saw."""
    numbers = Numbers()
    with socket.create_server((address, PORT)) as server:
        print("listens", flush=True)
        connection, peer = server.accept()
    with connection:
        while data := connection.recv(65536):
            numbers.take(data)
            connection.sendall(data)
    return {"count": numbers.count, "seen": peer[0]}


def begin(address: str) -> socket.socket:
    """Connect, more than once if need be: machines that were restored on a busy one take a while to answer ARP."""
    end = time.monotonic() + BEGIN_S
    while True:
        try:
            return socket.create_connection((address, PORT), timeout=GIVE_UP_S)
        except OSError as error:
            if error.errno != errno.EHOSTUNREACH or time.monotonic() > end:
                raise


def talk(address: str) -> dict[str, Any]:
    """Send until told to end: how many numbers, how many came back, and the longest time without any."""
    with begin(address) as connection:
        print("connected", flush=True)
        sent, numbers, longest_s = 0, Numbers(), 0.0
        heard, due, watched = time.monotonic(), time.monotonic(), [connection, sys.stdin]
        while True:
            now = time.monotonic()
            assert now - heard < GIVE_UP_S, f"nothing for {GIVE_UP_S:g} s after {numbers.count} numbers"
            if sys.stdin in watched and now >= due:
                connection.sendall(NUMBER.pack(sent))
                sent, due = sent + 1, now + INTERVAL_S
            ready = select.select(watched, [], [], INTERVAL_S)[0]
            if sys.stdin in ready:
                watched.remove(sys.stdin)
                connection.shutdown(socket.SHUT_WR)
            if connection in ready:
                if not (data := connection.recv(65536)):
                    return {"sent": sent, "back": numbers.count, "longest_s": round(longest_s, 1)}
                numbers.take(data)
                longest_s, heard = max(longest_s, time.monotonic() - heard), time.monotonic()


class Stream:
    """Both ends of one connection, each a process on a machine of its own."""

    def __init__(self, client: subprocess.Popen[str], server: subprocess.Popen[str]) -> None:
        self._client, self._server = client, server

    def end(self) -> dict[str, Any]:
        """Let it end in good order; what both sides counted."""
        told: dict[str, Any] = {}
        for process in (self._client, self._server):
            output, _ = process.communicate(timeout=END_S)
            assert process.returncode == 0, f"the connection did not end well: {output}"
            told |= json.loads(output)
        return told


@contextmanager
def connected(lan: Segment, wan: Segment, number: int) -> Iterator[Stream]:
    """A connection from a client on the LAN to a server on the WAN; each number has machines of its own.

    Their ports in the segments are called client0 and server0, and so on.
    """
    where = f"198.51.100.{1 + number}"
    with (
        _machine(wan, f"server{number}", f"{where}/24", "serve", where) as server,
        _machine(lan, f"client{number}", f"192.168.1.{10 + number}/24", "talk", where, "192.168.1.1") as client,
    ):
        yield Stream(client, server)


@contextmanager
def _machine(
    segment: Segment, name: str, address: str, what: str, server: str, router: str = ""
) -> Iterator[subprocess.Popen[str]]:
    """A process that has begun: the server listens, the client is connected."""
    with segment.station(name) as cable:
        argv = plugged(cable, address, sys.executable, "-m", "tests.image.stream", what, server, router=router)
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            argv, pass_fds=[cable.fileno()], stdin=pipe, stdout=pipe, text=True, start_new_session=True
        )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline(), f"{name} did not begin"
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


if __name__ == "__main__":
    print(json.dumps({"serve": serve, "talk": talk}[sys.argv[1]](sys.argv[2])), flush=True)
