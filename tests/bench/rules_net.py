"""A client, a firewall and a server in namespaces without names, and the traffic between them.

The client has every address of 10.0.0.0/8, so that flows can come from any network of an alias. New flows are single
datagrams that a raw socket sends many at a time (the generator of the pfsync benchmarks); the server counts them in
its kernel. Everything a datagram goes through on this machine happens on the processor of the sender.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from rules_texts import CLIENTS, ESTABLISHED_PORT, FORBIDDEN_PORT, PORT_FIRST, PORT_LAST, STRIDE

from appliance.testing.netlab import LabNode, Netlab
from tests.netns.pfsync.flows import BATCH, SEND_BUFFER, Burst

CLIENT, SERVER = "10.0.0.1", "198.51.100.1"
SOURCE_PORT = 4000
ECHO_PORT = PORT_LAST
ANSWER_S = 0.05
CHUNK = BATCH
NFT_MAX_S = 120.0
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 32, 33, 35
ARRIVALS = f"""
table inet arrivals {{
    counter fresh {{ }}
    counter steady {{ }}
    counter forbidden {{ }}
    chain quiet {{
        type filter hook prerouting priority raw;
        udp dport {ESTABLISHED_PORT} counter name steady
        udp dport {FORBIDDEN_PORT} counter name forbidden drop
        udp sport {SOURCE_PORT} udp dport {PORT_FIRST}-{PORT_LAST} counter name fresh drop
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Net:
    """The three machines."""

    client: LabNode
    firewall: LabNode
    server: LabNode

    def load(self, text: str, processor: int | None = None) -> float:
        """Runs ``nft -f -`` on the firewall, perhaps on one processor; returns the seconds it took."""
        return nft(self.firewall, text, processor)

    def arrived(self, name: str) -> int:
        """Packets that have reached the server."""
        shown = self.server.run("nft", "-j", "list", "counter", "inet", "arrivals", name)
        return int(next(each["counter"]["packets"] for each in json.loads(shown)["nftables"] if "counter" in each))

    def forget(self) -> None:
        """Removes all states of connections."""
        self.firewall.inside(lambda: subprocess.run(["conntrack", "-F"], capture_output=True, check=True))

    def only(self, text: str) -> None:
        """This ruleset and no other."""
        self.load("flush ruleset\n")
        self.load(text)
        self.forget()


def nft(node: LabNode, text: str, processor: int | None = None) -> float:
    """Runs ``nft -f -`` on a machine, perhaps on one processor; returns the seconds it took.

    Raises:
        RuntimeError: It refused the text, or did not end in time.
    """

    where = [] if processor is None else ["taskset", "-c", str(processor)]
    data = text.encode()

    def run() -> tuple[float, subprocess.CompletedProcess[bytes]]:
        start = time.perf_counter()
        done = subprocess.run(
            [*where, "nft", "-f", "-"], input=data, capture_output=True, timeout=NFT_MAX_S, check=False
        )
        return time.perf_counter() - start, done

    seconds, done = node.inside(run)
    if done.returncode != 0:
        raise RuntimeError(f"nft refused: {done.stderr.decode(errors='replace')[:1000]}")
    return seconds


@contextmanager
def network() -> Iterator[Net]:
    """Client, firewall and server, connected; neighbours known for good, no state left to chance."""
    with Netlab() as lab:
        net = Net(lab.node("client"), lab.node("firewall"), lab.node("server"))
        lab.connect(net.client, net.firewall, "lan0", ["192.168.1.100/24"])
        lab.connect(net.server, net.firewall, "wan0", [f"{SERVER}/24"])
        lab.address(net.firewall, "lan0", ["192.168.1.2/24"])
        lab.address(net.firewall, "wan0", ["198.51.100.201/24"])
        net.client.run("ip", "route", "add", "local", "10.0.0.0/8", "dev", "lo")
        net.client.run("ip", "route", "add", "default", "via", "192.168.1.2")
        net.server.run("ip", "route", "add", "default", "via", "198.51.100.201")
        net.firewall.run("ip", "route", "add", "10.0.0.0/8", "via", "192.168.1.100")
        for here, there, device, address in (
            (net.client, net.firewall, "lan0", "192.168.1.2"), (net.firewall, net.client, "lan0", "192.168.1.100"),
            (net.server, net.firewall, "wan0", "198.51.100.201"), (net.firewall, net.server, "wan0", SERVER),
        ):  # fmt: skip
            mac = json.loads(there.run("ip", "-j", "link", "show", device))[0]["address"]
            here.run("ip", "neigh", "replace", address, "lladdr", mac, "nud", "permanent", "dev", device)
        nft(
            net.firewall, "table inet warm { chain c { type filter hook forward priority 0; ct state new accept; }; }\n"
        )
        settings = {"net.ipv4.ip_forward": 1, "net.ipv4.conf.all.rp_filter": 0, "net.ipv4.conf.lan0.rp_filter": 0,
                    "net.netfilter.nf_conntrack_udp_timeout": 10}  # fmt: skip
        net.firewall.run("sysctl", "-qw", *(f"{name}={value}" for name, value in settings.items()))
        nft(net.server, ARRIVALS)
        yield net


# --- the generators, each in a process of its own ----------------------------------------------------------------


class Spread(Burst):
    """Datagrams of new flows from many networks in one system call."""

    def __init__(self, channel: socket.socket) -> None:
        super().__init__(channel, CLIENT, SERVER, bytes((0, 0, 0, 0, 0, 8, 0, 0)), swapped=False)
        self._sources = self._packets[:, 12:16].view(">u4")

    def send_from(self, sources: npt.NDArray[np.uint32], dport: npt.NDArray[np.uint32]) -> int:
        """One datagram for each source and port; returns how many the kernel took."""
        self._sources[: len(sources), 0] = sources
        return self.send(np.full(len(dport), SOURCE_PORT), dport)


def flow_numbers(first: int, count: int, entries: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Source and destination port of the flows with these numbers; every number is another flow.

    The sources jump about among the networks, so that no cache of a processor helps more than it would a real one.
    """
    numbers = np.arange(first, first + count, dtype=np.uint64)
    places = numbers * np.uint64(2_654_435_761) % np.uint64(entries)
    host = np.uint64(1) + numbers // np.uint64(entries * 40_000) % np.uint64(120)
    sources = np.uint64(CLIENTS) + places * np.uint64(STRIDE) + host
    return sources.astype(np.uint32), (PORT_FIRST + numbers % np.uint64(PORT_LAST - PORT_FIRST)).astype(np.uint32)


def send_new_flows(first: int, count: int, entries: int, rate: float) -> dict[str, float]:
    """Sends flows, at once or so many a second; `each_us` is the lower quartile of many short pieces of the
    whole: what else runs on the processor now and then does not count."""
    channel = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    channel.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER)
    burst, done, sent = Spread(channel), 0, 0
    start = time.perf_counter()
    times = [start]
    while sent < count:
        due = count if not rate else min(count, int((time.perf_counter() - start) * rate))
        if due <= sent:
            time.sleep(0.0005)
            continue
        number = min(BATCH, due - sent)
        done += burst.send_from(*flow_numbers(first + sent, number, entries))
        sent += number
        if sent >= len(times) * CHUNK:
            times.append(time.perf_counter())
    chunks = sorted(after - before for before, after in pairwise(times)) or [0.0]
    each_s = chunks[len(chunks) // 4] / CHUNK
    return {"sent": done, "seconds": time.perf_counter() - start, "each_us": each_s * 1e6}


def send_steady(count: int, rate: float, port: int) -> dict[str, float]:
    """Numbered datagrams of one flow; each says when it was sent. The second one waits until the first is answered."""
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.bind((CLIENT, 0))
    channel.connect((SERVER, port))
    start = time.perf_counter()
    for number in range(count):
        while (now := time.perf_counter()) < start + number / rate:
            time.sleep(max(0.0, start + number / rate - now))
        channel.send(number.to_bytes(8, "big") + time.time_ns().to_bytes(8, "big"))
        if number == 0:
            time.sleep(ANSWER_S)
    return {"sent": count, "seconds": time.perf_counter() - start}


def receive_steady(count: int, quiet_s: float) -> dict[str, float]:
    """The numbered datagrams: how many came, how much further apart two of them came than they were sent, and the
    longest time that one was on its way. The first one is answered, which makes the connection an established one.

    The kernel says when each one arrived, so that it does not matter when this process or the sender gets to run.
    """
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, SEND_BUFFER)
    channel.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    channel.bind((SERVER, ESTABLISHED_PORT))
    channel.settimeout(quiet_s + 10)
    print("ready", flush=True)
    came, gap_ns, delay_ns, last, last_sent = 0, 0, 0, 0, 0
    while came < count:
        try:
            data, extra, _, sender = channel.recvmsg(64, 64)
        except TimeoutError:
            break
        seconds, rest = struct.unpack("qq", extra[0][2])
        now, sent = seconds * 1_000_000_000 + rest, int.from_bytes(data[8:16], "big")
        if came:
            gap_ns = max(gap_ns, now - last - (sent - last_sent))
        else:
            channel.sendto(b"!", sender)
        delay_ns = max(delay_ns, now - sent)
        last, last_sent, came = now, sent, came + 1
        channel.settimeout(quiet_s)
    return {"came": came, "gap_ms": gap_ns / 1e6, "delay_ms": delay_ns / 1e6}


def echo() -> dict[str, float]:
    """Answers every datagram until it is ended."""
    channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    channel.bind((SERVER, ECHO_PORT))
    print("ready", flush=True)
    while True:
        data, sender = channel.recvfrom(64)
        channel.sendto(data, sender)


def ask(count: int, first: int, entries: int) -> dict[str, float]:
    """New connections one after the other: microseconds from each question to its answer."""
    times, lost = [], 0
    sources, _ = flow_numbers(first, count, entries)
    for source in sources.tolist():
        channel = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        channel.bind((str(IPv4Address(source)), 0))
        channel.settimeout(0.5)
        start = time.perf_counter()
        channel.sendto(b"?", (SERVER, ECHO_PORT))
        try:
            channel.recv(64)
            times.append(time.perf_counter() - start)
        except TimeoutError:
            lost += 1
        channel.close()
    times.sort()
    if not times:
        return {"median_us": float("nan"), "p99_us": float("nan"), "lost": lost}
    return {"median_us": times[len(times) // 2] * 1e6, "p99_us": times[int(len(times) * 0.99)] * 1e6, "lost": lost}


class Generator:
    """One of these functions, in a process on a machine of the network."""

    def __init__(self, node: LabNode, what: str, *arguments: float, processor: int | None = None) -> None:
        argv = [sys.executable, __file__, what, *map(str, arguments)]
        wanted = None if processor is None else {processor}

        def start() -> subprocess.Popen[str]:
            made = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
            if wanted:
                os.sched_setaffinity(made.pid, wanted)
            return made

        self._process = node.inside(start)

    def ready(self) -> Generator:
        """Waits until it says that it is."""
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError("a generator of packets did not start")
        return self

    def result(self, timeout_s: float = 120.0) -> dict[str, float]:
        """Waits for its end."""
        out, _ = self._process.communicate(timeout=timeout_s)
        if self._process.returncode != 0:
            raise RuntimeError(f"a generator of packets ended with status {self._process.returncode}")
        found: dict[str, float] = json.loads(out.splitlines()[-1])
        return found

    def stop(self) -> None:
        """Ends it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


FUNCTIONS = {"new": send_new_flows, "steady": send_steady, "receive": receive_steady, "echo": echo, "ask": ask}


def main(argv: Sequence[str]) -> None:
    """Entry point of a generator: its name, then numbers."""
    numbers = [float(word) if "." in word else int(word) for word in argv[1:]]
    print(json.dumps(FUNCTIONS[argv[0]](*numbers)), flush=True)  # type: ignore[operator]


if __name__ == "__main__":
    main(sys.argv[1:])
