"""One subscriber's bounded queue, and what happens when it is full.

The two halves never wait for each other. `put` belongs to the bus: it is synchronous, runs no foreign
code and cannot fail. `receive` belongs to the subscriber: it is a checkpoint every time (skipping it
when something is queued measures three times faster and starves the loop), and it takes an envelope
only after its last checkpoint, so a cancelled receive loses nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import trio

from appliance.bus.envelope import Envelope, handling
from appliance.events import Event
from appliance.plugin.context import Lagged, Overflow

E = TypeVar("E", bound=Event)

COALESCE_MAX = 16384
"""Bound of a COALESCE queue, and of all retained facts. It covers 255 virtual hosts on 64 interfaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionStatistics:
    """How one subscriber keeps up."""

    name: str
    types: tuple[str, ...]
    overflow: Overflow
    capacity: int
    queued: int
    peak: int
    """Most that was ever queued, replayed facts not counted."""
    delivered: int
    missed: int
    oldest_age_s: float | None
    """How long the next envelope has been waiting."""


class BusSubscription(Generic[E]):
    """Satisfies `appliance.plugin.Subscription`. Made by `EventBus.subscribe`."""

    def __init__(
        self,
        bus: object,
        types: tuple[type[Event], ...],
        *,
        name: str,
        capacity: int,
        overflow: Overflow,
        replay: Iterable[tuple[Hashable, Envelope]],
    ) -> None:
        self.name = name
        self.types = types
        self._bus = bus
        self._overflow = overflow
        self._coalesces = overflow is Overflow.COALESCE
        self._capacity = COALESCE_MAX if self._coalesces else capacity
        # An ordered dict and not a deque: in COALESCE the newer fact has to find the older one. Other
        # queues use the sequence number as the key, so that one code path serves all three policies.
        self._queue: OrderedDict[Hashable, Envelope] = OrderedDict()
        for key, envelope in replay:
            self._queue[key if self._coalesces else envelope.seq] = envelope
        # What is replayed is bounded by the number of facts and must not make a fresh subscriber lag.
        self._replayed = len(self._queue)
        self._lot = trio.lowlevel.ParkingLot()
        self._closed = False
        self._unreported = 0
        self._missed = 0
        self._delivered = 0
        self._peak = 0

    def accepts(self, kind: type[Event]) -> bool:
        """Whether events of this class are delivered here."""
        return issubclass(kind, self.types)

    # --- the bus's half ---------------------------------------------------------------------------

    def put(self, envelope: Envelope, key: Hashable) -> None:
        """Queue one envelope; make room according to the policy when there is none."""
        queue = self._queue
        slot: Hashable = envelope.seq
        if self._coalesces and key is not None:
            slot = key
            queue.pop(slot, None)  # the newer fact goes to the end: whatever is queued stays in order of seq
        if len(queue) >= self._capacity + self._replayed:
            self._make_room()
        queue[slot] = envelope
        if (load := len(queue) - self._replayed) > self._peak:
            self._peak = load
        if self._lot:
            self._lot.unpark()

    def _make_room(self) -> None:
        if self._overflow is Overflow.DROP_OLDEST:
            self._queue.popitem(last=False)
            self._missed += 1
            return
        # Dropping all of it, not only the oldest: the subscriber has to start afresh anyway, and a queue
        # that stays full would make it lag again at once.
        self._unreported += len(self._queue)
        self._missed += len(self._queue)
        self._queue.clear()
        self._replayed = 0

    def close(self) -> None:
        """Wake every receiver with `trio.ClosedResourceError`; nothing is delivered any more."""
        self._closed = True
        self._queue.clear()
        self._lot.unpark_all()
        current = handling.get()
        if current is not None and current[0] is self._bus:
            handling.set(None)  # what follows the block is not the handling of its last event

    # --- the subscriber's half --------------------------------------------------------------------

    async def receive(self) -> E:
        """Wait for the next event; always a checkpoint.

        Raises:
            Lagged: Events were lost; raised before anything newer is returned.
        """
        return cast("E", (await self.receive_envelope()).event)

    async def receive_envelope(self) -> Envelope:
        """As `receive`, with number, time, source and cause."""
        handling.set(None)  # coming back for more means: done with the previous one
        await trio.lowlevel.checkpoint()
        # A loop, because another task on the same subscription may have been quicker.
        while not (self._queue or self._unreported or self._closed):
            await self._lot.park()
        return self._take()

    def receive_nowait(self) -> E:
        """The next event, or `trio.WouldBlock`."""
        handling.set(None)
        if not (self._queue or self._unreported or self._closed):
            raise trio.WouldBlock
        return cast("E", self._take().event)

    def _take(self) -> Envelope:
        if self._closed:
            raise trio.ClosedResourceError(f"the subscription of {self.name} is closed")
        if self._unreported:
            # Before anything newer: who acts on the new before knowing of the loss acts wrongly.
            missed, self._unreported = self._unreported, 0
            raise Lagged(missed)
        _, envelope = self._queue.popitem(last=False)
        if not self._queue:
            self._replayed = 0
        self._delivered += 1
        handling.set((self._bus, envelope))
        return envelope

    def __aiter__(self) -> BusSubscription[E]:
        return self

    async def __anext__(self) -> E:
        return await self.receive()

    def statistics(self, clock: Callable[[], float]) -> SubscriptionStatistics:
        """Numbers at this moment."""
        oldest = next(iter(self._queue.values()), None)
        return SubscriptionStatistics(
            name=self.name,
            types=tuple(kind.__qualname__ for kind in self.types),
            overflow=self._overflow,
            capacity=self._capacity,
            queued=len(self._queue),
            peak=self._peak,
            delivered=self._delivered,
            missed=self._missed,
            oldest_age_s=None if oldest is None else clock() - oldest.monotonic,
        )
