"""What replicating states costs and how well it keeps up: our replicator and conntrackd in the same run.

Everything is asked of the kernel: CPU of the replicators' processes from `/proc`, arrivals at a counter of the
server, states in the connection-tracking table of the standby. A conntrackd with an external cache puts nothing into
that table before a takeover: there the daemon is asked how many it holds, and it has no lag that could be compared.
"""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from markers import Markers
from replicators import (
    FTFW,
    FTFW_DIRECT,
    NODES,
    NOTRACK,
    NOTRACK_DIRECT,
    Conntrackd,
    Ours,
    Replicator,
    arrived,
    require_conntrackd,
    room_for_states,
)

from appliance.errors import ApplianceError
from appliance.lab import Lab, netns
from appliance.lab.lab import unique_name
from appliance.net.conntrack import Dump
from appliance_pfsync.decode import Decoder
from appliance_pfsync.flow import key_hashes
from tests.netns.pfsync import flows, natrules

SHORT_S = 2
"""How long finished flows live while costs are measured, so that their end is part of the cost."""
LONG_S = natrules.IDLE_TIMEOUT_S
SWEEP_S = 0.5
DRAINED_S = 20.0
REST = 100
"""Entries that are nobody's flows: the nodes' own."""
STILL_S = 1.0
IDLE_S, IDLE_SHARE = 0.5, 0.05
POLL_S = 0.01
GIVE_UP_S = 60.0
COMMON_RATE = 10_000
DUMP_BYTES = 128 << 10
Say = Callable[[str], None]
PARTS = ("cost", "lag", "bulk", "overrun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Flows per second of one kind."""

    kind: str
    rate: int

    def __str__(self) -> str:
        return f"{self.kind} {self.rate / 1000:g} k/s"


LOADS = (Load(kind="tcp", rate=1000), Load(kind="tcp", rate=15_000),
         Load(kind="udp", rate=10_000), Load(kind="udp", rate=40_000))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much is measured."""

    runs: int = 3
    seconds: float = 6.0
    bulk: int = 100_000
    burst: int = 150_000
    flood: int = 200_000
    parts: tuple[str, ...] = PARTS
    systems: tuple[str, ...] = ("ours", "ftfw", "notrack", "ftfw-direct", "notrack-direct")


QUICK = Options(runs=1, seconds=1.5, bulk=20_000, burst=120_000, flood=40_000)
MODES: dict[str, Callable[[], Replicator]] = {
    "ours": Ours,
    "ftfw": lambda: Conntrackd(FTFW),
    "notrack": lambda: Conntrackd(NOTRACK),
    "ftfw-direct": lambda: Conntrackd(FTFW_DIRECT),
    "notrack-direct": lambda: Conntrackd(NOTRACK_DIRECT),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """One load of one run."""

    flows: int
    """That reached the server."""
    achieved: float
    """Flows per second that the generator sent."""
    sender_us: float
    receiver_us: float
    replicated: float
    """Part of the flows that were new to the standby."""

    @property
    def total_us(self) -> float:
        """Of both nodes."""
        return self.sender_us + self.receiver_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Flood:
    """Datagrams of as many flows as the generator can make."""

    offered: float
    carried: float
    """States per second that the standby took, from its first to its last."""
    missing: int
    """Flows that fw1 tracks and fw2 does not hold when nothing moves any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """From the packet that makes a flow to its entry in the standby's kernel, in milliseconds."""

    rate: float
    """Flows per second that the generator sent meanwhile."""
    p50: float
    p99: float
    lost: int
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulk:
    """A standby without a state gets the whole table."""

    started_s: float
    """From starting it (ours: the node; conntrackd, which runs: the request) until it holds all."""
    transfer_s: float
    """From its first per cent of the states until it holds all."""
    memory_mb: tuple[float, float]
    """Proportional set size of the replicators on fw1 and fw2 that hold them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrun:
    """The kernel dropped events of fw1."""

    dropped: int
    """Events for which there was no room, of whoever listens on fw1."""
    behind: int
    """States that fw2 lacked when fw1's replicator went on."""
    seconds: float | None
    """From then until fw2 held 99.9 % of them; ``None``: never while it was watched."""
    missing: int


@dataclass(slots=True)
class Results:
    """Everything about one replicator."""

    name: str
    costs: dict[str, list[Cost]] = field(default_factory=dict)
    flood: Flood | None = None
    lags: list[Lag] = field(default_factory=list)
    bulk: list[Bulk] = field(default_factory=list)
    overrun: Overrun | None = None


class Bench:
    """One replicator in its lab. Flows are numbered on and on, so that none is ever repeated by accident."""

    def __init__(self, what: Replicator, lab: Lab, say: Say) -> None:
        self._what, self._lab, self._say = what, lab, say
        self._first = 10_000
        self._markers = 0

    def _numbers(self, count: int) -> int:
        first, self._first = self._first, self._first + count
        return first

    def _lifetimes(self, seconds: int) -> None:
        names = ("udp_timeout", "udp_timeout_stream", "tcp_timeout_time_wait")
        for node in NODES:
            netns.write_sysctls(
                self._lab.topology.namespace(node),
                {f"net/netfilter/nf_conntrack_{name}": str(seconds) for name in names},
            )

    def _entries(self, node: str = "fw1") -> int:
        return natrules.entries(self._lab, node)

    def empty(self) -> None:
        """No flow on either node."""
        for node in NODES:
            self._lab.exec(node, "conntrack", "-F", check=False)
        until(lambda: self._entries() < REST and self._what.held(self._lab) < REST, DRAINED_S)
        until(self._is_idle, DRAINED_S)

    def _is_idle(self) -> bool:
        """The replicators have nothing left to do."""
        before = sum(self._what.cpu_s(self._lab, node) for node in NODES)
        time.sleep(IDLE_S)
        return sum(self._what.cpu_s(self._lab, node) for node in NODES) - before <= IDLE_SHARE * IDLE_S

    # --- cost ----------------------------------------------------------------------------------------------

    def cost(self, load: Load, seconds: float) -> Cost:
        """CPU per flow, its end included."""
        lab, what = self._lab, self._what
        self._lifetimes(SHORT_S)
        count = int(load.rate * seconds)
        first = self._numbers(count)
        before = [what.cpu_s(lab, node) for node in NODES]
        seen, created = arrived(lab, load.kind), what.created(lab)
        with sweeping(lab):
            achieved = flows.run(lab, load.kind, count, first=first, rate=load.rate)
            until(lambda: self._entries() < REST, DRAINED_S)
            until_still(lambda: what.held(lab))
        used = [(what.cpu_s(lab, node) - old) * 1e6 for node, old in zip(NODES, before, strict=True)]
        came = arrived(lab, load.kind) - seen
        return Cost(
            flows=came,
            achieved=achieved,
            sender_us=used[0] / came,
            receiver_us=used[1] / came,
            replicated=(what.created(lab) - created) / came,
        )

    def flood(self, count: int) -> Flood:
        """Without any pace: what is carried, and is everything there in the end?"""
        self._lifetimes(LONG_S)
        self.empty()
        lab, what = self._lab, self._what
        base, first = what.held(lab), self._numbers(count)
        start = end = 0.0
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(flows.run, lab, "udp", count, first=first)
            until(lambda: what.held(lab) > base + REST, GIVE_UP_S)
            start, held, last = time.monotonic(), 0, what.held(lab)
            end = start
            while not sending.done() or time.monotonic() - end < STILL_S:
                held = what.held(lab)
                if held != last:
                    end, last = time.monotonic(), held
                time.sleep(POLL_S)
            offered = sending.result()
        return Flood(offered=offered, carried=(last - base) / (end - start), missing=self._missing())

    def _missing(self) -> int:
        """How many of the flows that fw1 tracks the standby does not hold."""
        if not self._what.holds_in_kernel:
            return max(0, self._entries() - REST - self._what.held(self._lab))
        here, there = (keys(self._lab, node) for node in NODES)
        return len(np.setdiff1d(here, there))

    # --- lag -----------------------------------------------------------------------------------------------

    @property
    def has_lag(self) -> bool:
        """States go into the standby's kernel."""
        return self._what.holds_in_kernel

    def lag(self, rate: float, seconds: float) -> Lag:
        """While this many other flows per second begin. None ends: the kernel removes many at once, and whoever
        hears of that is busy for a while."""
        lab = self._lab
        self._lifetimes(LONG_S)
        self.empty()
        count = int(rate * (seconds + 1))
        with ThreadPoolExecutor(1) as pool, Markers(lab, self._markers) as markers:
            sending = pool.submit(flows.run, lab, "udp", count, first=self._numbers(count), rate=rate)
            until(lambda: self._entries() > rate / 4, GIVE_UP_S)
            found = markers.measure(seconds)
            achieved = sending.result()
        self._markers += found.sent
        values = sorted(found.lags_ms) or [float("nan")]
        return Lag(
            rate=achieved,
            p50=values[len(values) // 2],
            p99=values[min(len(values) - 1, int(len(values) * 0.99))],
            lost=found.sent - len(found.lags_ms),
            count=found.sent,
        )

    # --- bulk ----------------------------------------------------------------------------------------------

    def bulk(self, count: int) -> Bulk:
        """A standby that was away."""
        lab, what = self._lab, self._what
        self._lifetimes(LONG_S)
        flows.fill(lab, self._entries, count)
        until(lambda: what.held(lab) >= 0.999 * count, GIVE_UP_S)
        memory = (what.memory_mb(lab, "fw1"), what.memory_mb(lab, "fw2"))
        what.reset_standby(lab)
        start = time.monotonic()
        what.start_bulk(lab)
        until(lambda: what.held(lab) >= 0.01 * count, GIVE_UP_S, 0.001)
        begun = time.monotonic()
        has_all = until(lambda: what.held(lab) >= 0.999 * count, GIVE_UP_S, 0.001)
        end = time.monotonic()
        is_done = has_all and until(lambda: what.is_bulk_done(lab), GIVE_UP_S)
        if not is_done:
            self._say(f"  {what.name}: fw2 holds {what.held(lab)} of {count} states after {GIVE_UP_S:.0f} s")
        return Bulk(
            started_s=end - start if is_done else float("inf"),
            transfer_s=end - begun if is_done else float("inf"),
            memory_mb=memory,
        )

    # --- overrun -------------------------------------------------------------------------------------------

    def overrun(self, count: int) -> Overrun:
        """fw1's replicator stands still while more connections begin than its buffer has room for."""
        lab, what = self._lab, self._what
        self._lifetimes(LONG_S)
        self.empty()
        pids, dropped = what.pids(lab, "fw1"), dropped_events(lab, "fw1")
        netns.send_signal(pids, signal.SIGSTOP)
        try:
            flows.run(lab, "open", count, first=self._numbers(count))
            behind = self._missing()
        finally:
            netns.send_signal(pids, signal.SIGCONT)
        start = time.monotonic()
        is_equal = until(lambda: what.held(lab) >= 0.999 * self._entries() - REST, GIVE_UP_S)
        seconds = time.monotonic() - start
        until_still(lambda: what.held(lab))
        dropped = dropped_events(lab, "fw1") - dropped
        return Overrun(dropped=dropped, behind=behind, seconds=seconds if is_equal else None, missing=self._missing())


def keys(lab: Lab, node: str) -> npt.NDArray[np.uint64]:
    """One number for each of the generator's flows that a node's kernel tracks."""

    def read() -> npt.NDArray[np.uint64]:
        decoder, found = Decoder(), [np.empty(0, np.uint64)]
        with Dump(socket.AF_INET) as dump:
            while part := dump.read(DUMP_BYTES):
                four = decoder.decode(part, dump=True).flows4
                found.append(key_hashes(four[four["orig_dport"] >= flows.FIRST_DPORT]))
        return np.concatenate(found)

    return netns.inside(lab.topology.namespace(node), read)


def dropped_events(lab: Lab, node: str) -> int:
    """How many netlink messages the kernel of a node could not deliver to sockets that are open: column Drops."""

    def read() -> int:
        lines = Path("/proc/thread-self/net/netlink").read_text().splitlines()
        at = lines[0].split().index("Drops")
        return sum(int(line.split()[at]) for line in lines[1:])

    return netns.inside(lab.topology.namespace(node), read)


@contextmanager
def sweeping(lab: Lab) -> Iterator[None]:
    """Flows of fw1 end when their time is over: the kernel by itself looks for such only now and then.

    Every look at the table removes what has expired; asked for a mark that nothing has, it does nothing else.
    """
    over = threading.Event()

    def sweep() -> None:
        while not over.wait(SWEEP_S):
            lab.exec("fw1", "conntrack", "-L", "--mark", "77", check=False)

    thread = threading.Thread(target=sweep)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def until(condition: Callable[[], bool], seconds: float, poll_s: float = POLL_S) -> bool:
    """Wait; whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True


def until_still(value: Callable[[], int]) -> None:
    """Wait until a number has not changed for a while."""
    last, since = value(), time.monotonic()
    deadline = since + DRAINED_S
    while time.monotonic() < min(since + STILL_S, deadline):
        time.sleep(10 * POLL_S)
        now = value()
        if now != last:
            last, since = now, time.monotonic()


def measure(options: Options, say: Say) -> list[Results]:
    """Everything, one replicator after the other in every run, so that a disturbance hits all of them."""
    found = {mode: Results(name=MODES[mode]().name) for mode in options.systems}
    require_conntrackd()
    with room_for_states():
        for number in range(options.runs):
            for mode, results in found.items():
                what = MODES[mode]()
                try:
                    with what.running(unique_name("b")) as lab:
                        _one_run(Bench(what, lab, say), options, results, say, is_first=number == 0)
                except ApplianceError as error:
                    say(f"  {what.name}: run {number + 1} broke off: {error.message}")
    return list(found.values())


def _one_run(bench: Bench, options: Options, results: Results, say: Say, *, is_first: bool) -> None:
    name = results.name
    if "cost" in options.parts:
        for load in LOADS:
            cost = bench.cost(load, options.seconds)
            results.costs.setdefault(str(load), []).append(cost)
            say(
                f"  {name:<42} {load!s:<12} {cost.sender_us:6.1f} + {cost.receiver_us:6.1f} us, achieved "
                f"{cost.achieved:7.0f}/s, replicated {cost.replicated:.1%} of {cost.flows}"
            )
    if is_first and {"cost", "lag"} & set(options.parts):
        results.flood = bench.flood(options.flood)
        say(f"  {name:<42} flood: {results.flood}")
        bench.empty()
    if "lag" in options.parts and bench.has_lag:
        half = results.flood.carried / 2 if results.flood else COMMON_RATE
        for rate in (COMMON_RATE, half):
            lag = bench.lag(rate, options.seconds)
            results.lags.append(lag)
            say(f"  {name:<42} lag at {lag.rate:6.0f}/s: p50 {lag.p50:.2f} p99 {lag.p99:.2f} ms, lost {lag.lost}")
        bench.empty()
    if "overrun" in options.parts and is_first:
        results.overrun = bench.overrun(options.burst)
        say(f"  {name:<42} overrun: {results.overrun}")
        bench.empty()
    if "bulk" in options.parts:
        bulk = bench.bulk(options.bulk)
        results.bulk.append(bulk)
        say(f"  {name:<42} bulk: {bulk}")
