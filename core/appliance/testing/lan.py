"""A broadcast domain in memory: what one port sends, all others receive, late, twice or never.

It has no task of its own. A frame is put into the queue of each receiver together with the time at which
it arrives, and `Port.receive` sleeps until then; under a mock clock days of traffic cost seconds. All
faults are decided with the LAN's own seeded generator, so a run repeats exactly.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import trio

QUEUE_MAX = 1024
"""Frames waiting at one port. A real socket buffer (212 kB) holds a few hundred frames; then it drops too."""

CAPTURE_MAX = 20_000
"""Frames kept by the capture; the oldest go first."""

LATENCY_S = 0.000_1
"""One way through a switch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One transmission as the capture saw it."""

    at: float
    """`trio.current_time()` of the sending."""
    source: str
    data: bytes
    delivered: tuple[str, ...]
    """Ports it was queued for."""
    lost: tuple[str, ...]
    """Ports that should have had it but for a fault."""


@dataclass(frozen=True, slots=True)
class _Fault:
    loss: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    duplicates: float = 0.0


_NO_FAULT = _Fault()


class Port:
    """One plug in a LAN. Made by `Lan.port`."""

    def __init__(self, lan: Lan, name: str) -> None:
        self.name = name
        self.lan = lan
        self.dropped = 0
        """Frames lost because the queue was full."""
        self._queue: list[tuple[float, int, bytes]] = []
        self._parked = trio.lowlevel.ParkingLot()
        self._link_up = True
        self._link_changed = trio.Event()

    @property
    def link_up(self) -> bool:
        """Whether this port sees a carrier."""
        return self._link_up

    def send(self, data: bytes) -> None:
        """Transmit a frame. Never blocks and never fails: without a link it is gone, as on a wire."""
        self.lan.transmit(self, data)

    async def receive(self) -> bytes:
        """Wait for the next frame to arrive."""
        await trio.lowlevel.checkpoint()
        while True:
            now = trio.current_time()
            if self._queue and self._queue[0][0] <= now:
                return heapq.heappop(self._queue)[2]
            with trio.move_on_at(self._queue[0][0] if self._queue else float("inf")):
                await self._parked.park()

    async def wait_link(self, *, up: bool) -> None:
        """Wait until the link is up, or down."""
        while self._link_up is not up:
            await self._link_changed.wait()
        await trio.lowlevel.checkpoint()

    def pull(self) -> None:
        """Pull the cable: no link, and what was on its way in is gone."""
        self._set_link(False)
        self._queue.clear()

    def plug(self) -> None:
        """Plug the cable in again."""
        self._set_link(True)

    def _set_link(self, up: bool) -> None:
        if self._link_up is not up:
            self._link_up = up
            self._link_changed.set()
            self._link_changed = trio.Event()

    def arrive(self, at: float, number: int, data: bytes) -> bool:
        """Take a frame that will have arrived at this time; False when the queue is full."""
        if len(self._queue) >= QUEUE_MAX:
            self.dropped += 1
            return False
        heapq.heappush(self._queue, (at, number, data))
        self._parked.unpark_all()
        return True


class Lan:
    """A switch with any number of ports."""

    def __init__(self, name: str = "lan", *, seed: int = 0, latency_s: float = LATENCY_S) -> None:
        self.name = name
        self.capture: deque[Frame] = deque(maxlen=CAPTURE_MAX)
        """Everything that was sent, oldest first."""
        self.echoes = False
        """A loop somewhere: senders get their own frames back."""
        self._latency_s = latency_s
        self._random = random.Random(seed)
        self._ports: dict[str, Port] = {}
        self._sides: dict[str, int] = {}
        self._faults: dict[tuple[str | None, str | None], _Fault] = {}
        self._numbers = itertools.count()

    def port(self, name: str) -> Port:
        """The port of this name, made on first use."""
        if name not in self._ports:
            self._ports[name] = Port(self, name)
        return self._ports[name]

    def disturb(
        self,
        *,
        source: str | None = None,
        target: str | None = None,
        loss: float = 0.0,
        delay_s: float = 0.0,
        jitter_s: float = 0.0,
        duplicates: float = 0.0,
    ) -> None:
        """Make frames from `source` to `target` (None: any) suffer; the most specific setting counts.

        Args:
            source: Name of the sending port.
            target: Name of the receiving port.
            loss: Share of frames lost, 0 to 1.
            delay_s: Added to the latency.
            jitter_s: A random part added on top; frames may overtake each other.
            duplicates: Share of frames that arrive twice.
        """
        self._faults[source, target] = _Fault(loss, delay_s, jitter_s, duplicates)

    def partition(self, *sides: Iterable[str]) -> None:
        """Split the LAN: only ports named on the same side hear each other. Unnamed ports form one more side."""
        self._sides = {name: number for number, side in enumerate(sides, start=1) for name in side}

    def heal(self) -> None:
        """Undo partitions, disturbances and echoes. Pulled cables stay pulled."""
        self._sides.clear()
        self._faults.clear()
        self.echoes = False

    def transmit(self, sender: Port, data: bytes) -> None:
        """Bring a frame to every port that should have it. Called by `Port.send`."""
        now = trio.current_time()
        delivered: list[str] = []
        lost: list[str] = []
        for port in self._ports.values():
            if port is sender and not self.echoes:
                continue
            reached = sender.link_up and port.link_up and self._same_side(sender, port)
            (delivered if reached and self._deliver(sender, port, data, now) else lost).append(port.name)
        self.capture.append(Frame(at=now, source=sender.name, data=data, delivered=tuple(delivered), lost=tuple(lost)))

    def _same_side(self, a: Port, b: Port) -> bool:
        return self._sides.get(a.name, 0) == self._sides.get(b.name, 0)

    def _deliver(self, sender: Port, port: Port, data: bytes, now: float) -> bool:
        fault = self._fault(sender.name, port.name)
        if self._random.random() < fault.loss:
            return False
        copies = 2 if self._random.random() < fault.duplicates else 1
        taken = False
        for _ in range(copies):
            late_s = fault.delay_s + fault.jitter_s * self._random.random()
            taken |= port.arrive(now + self._latency_s + late_s, next(self._numbers), data)
        return taken

    def _fault(self, source: str, target: str) -> _Fault:
        for key in ((source, target), (source, None), (None, target), (None, None)):
            if key in self._faults:
                return self._faults[key]
        return _NO_FAULT
