"""The event bus of one node. Theory first, because the code is short:

`publish` is a plain function. Without a checkpoint there is no cancellation in the middle, so either
every subscriber has the event or none; and because a publish completes before anything else runs, all
subscribers see the same order. It only moves a tuple into bounded queues: no subscriber can block it,
slow it down or make it fail. What it does refuse are mistakes of the publisher himself.

Three things ride on the same step, so they cannot disagree: the trace, the table of retained facts, and
the queues. `subscribe` copies the retained facts and joins in one step too: no gap, no duplicate.

Everything here belongs to the thread of the trio loop; from others use `trio.from_thread.run_sync`.
Packets and connection states never go over the bus: it carries decisions and facts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import trio

from appliance.bus.calls import Calls
from appliance.bus.envelope import Envelope, handling
from appliance.bus.subscription import COALESCE_MAX, BusSubscription, SubscriptionStatistics
from appliance.bus.trace import Trace
from appliance.errors import PluginError
from appliance.events import Event, Request, Retracted
from appliance.events.base import SOURCE
from appliance.plugin.context import Overflow, RequestHandler

E = TypeVar("E", bound=Event)
R = TypeVar("R")
Clock = Callable[[], float]
Key = tuple[str, tuple[object, ...]]
"""What a fact is about: ``module:qualname`` of its class and the values of its `retain` fields."""

CAUSES_MAX = 32
"""Longest chain of causes. Honest ones have a handful of links; longer is two services chasing each other."""
RETAINED_MAX = COALESCE_MAX
"""Bound of the table of facts, so that a key taken from the network cannot eat the node's memory."""
CHAIN_SHOWN = 6
"""Links of a refused chain that go into the message: enough to see the cycle."""


class FeedbackLoopError(PluginError):
    """A service answers its own consequences for ever. Raised in the service that closes the loop."""

    def __init__(self, message: str, *, hint: str, chain: tuple[Envelope, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.chain = chain


@dataclass(frozen=True, slots=True, kw_only=True)
class BusStatistics:
    """The bus at one moment."""

    published: int
    """Publications and calls since the start; the `seq` of the latest."""
    refused: int
    """Publications that closed a feedback loop."""
    retained: int
    subscriptions: tuple[SubscriptionStatistics, ...]
    providers: tuple[tuple[str, str], ...]
    """Request class and the service that answers it."""


class _Route(NamedTuple):
    """What publishing one class of events takes; computed once per class and change of subscribers."""

    type_name: str
    retain_by: tuple[str, ...] | None
    subscriptions: tuple[BusSubscription[Event], ...]


class EventBus:
    """Publish, subscribe, retain, ask."""

    def __init__(self, *, clock: Clock = trio.current_time, wall: Clock = time.time) -> None:
        self.trace = Trace()
        """The last publications and calls."""
        self._clock = clock
        self._wall = wall
        self._seq = 0
        self._refused = 0
        self._subscriptions: list[BusSubscription[Event]] = []
        self._routes: dict[type[Event], _Route] = {}
        # Always in order of seq: an update removes the entry and appends it again.
        self._retained: dict[Key, Envelope] = {}
        self._calls = Calls(self)

    # --- events -----------------------------------------------------------------------------------

    def publish(self, event: Event, *, source: str) -> Envelope:
        """Tell everybody. Never blocks, never fails because of a subscriber.

        Args:
            event: A fact, of a class declared with `@event()`.
            source: Full name of the publisher, ``plugin/key``.

        Raises:
            FeedbackLoopError: The publisher is handling an event at the end of a chain of `CAUSES_MAX` causes.
            PluginError: The table of retained facts is full.
            TypeError: Not an event, or its key is not hashable.
        """
        # All refusals come before the first effect.
        route = self._routes.get(type(event)) or self._route(type(event))
        key = _key(event, route, source)
        if route.retain_by is not None and len(self._retained) >= RETAINED_MAX and key not in self._retained:
            raise PluginError(
                f"{source} cannot publish {type(event).__qualname__}: {RETAINED_MAX} facts are already retained",
                hint="its `retain` field takes too many values; retain by something that is configured",
            )
        current = handling.get()
        if current is not None and current[0] is self and current[1].depth >= CAUSES_MAX:
            self._refused += 1
            raise self._loop(event, source, current[1])
        envelope = self.record(event, source=source)
        if route.retain_by is not None and key is not None:
            self._retained.pop(key, None)
            self._retained[key] = envelope
        for subscription in route.subscriptions:
            subscription.put(envelope, key)
        return envelope

    @contextmanager
    def subscribe(
        self,
        *types: type[E],
        name: str,
        capacity: int = 64,
        overflow: Overflow = Overflow.LAG,
        replay: bool = True,
    ) -> Iterator[BusSubscription[E]]:
        """Listen to these classes and all their subclasses while the block lasts.

        Args:
            types: One or more event classes; `Event` is everything.
            name: Who listens, for `show bus`.
            capacity: Events that may wait; COALESCE is bounded by the number of facts instead.
            overflow: What happens when that is exceeded.
            replay: Begin with the retained facts, in order.
        """
        if not types or not all(isinstance(kind, type) and issubclass(kind, Event) for kind in types):
            raise TypeError(f"{name} subscribes to {types!r}; event classes are needed")
        if capacity < 1:
            raise ValueError(f"{name} subscribes with capacity {capacity}; at least 1 is needed")
        facts = [(k, e) for k, e in self._retained.items() if isinstance(e.event, types)] if replay else []
        subscription: BusSubscription[E] = BusSubscription(
            self, types, name=name, capacity=capacity, overflow=overflow, replay=facts
        )
        self._subscriptions.append(subscription)  # type: ignore[arg-type]  # the bus only puts
        self._routes.clear()
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)  # type: ignore[arg-type]
            self._routes.clear()
            subscription.close()

    def retained(self, event_type: type[Event]) -> tuple[Envelope, ...]:
        """The facts of this class and its subclasses that hold now, in order of publication."""
        return tuple(envelope for envelope in self._retained.values() if isinstance(envelope.event, event_type))

    def forget(self, source: str) -> None:
        """Withdraw every fact of a source that stopped or crashed: the dead must not leave "MASTER" standing.

        Each one is followed by a `Retracted`. Facts that another source has meanwhile stated stay.
        """
        gone = [key for key, envelope in self._retained.items() if envelope.source == source]
        for key in gone:
            del self._retained[key]
        # Not through publish(): this is the clean-up after somebody else's failure and must not be refused.
        route = self._routes.get(Retracted) or self._route(Retracted)
        for type_name, values in gone:
            event = Retracted(event_type=type_name, key=values, source=source)
            envelope = self.record(event, source=source)
            for subscription in route.subscriptions:
                subscription.put(envelope, (type_name, values))

    # --- requests ---------------------------------------------------------------------------------

    async def call(self, request: Request[R], *, source: str = "") -> R:
        """Ask the one provider of this request, in this task and under the caller's own deadline.

        Raises:
            NoProvider: Nobody serves it, or its provider stopped meanwhile.
            ApplianceError: What the provider raised, unchanged.
            ProviderFailed: The provider has a bug; the cause is attached.
        """
        return await self._calls.call(request, source=source)

    def serve(self, kind: type[Request[R]], handler: RequestHandler[R], *, source: str) -> AbstractContextManager[None]:
        """Answer requests of exactly this type while the block lasts. A second provider is refused."""
        return self._calls.serve(kind, handler, source=source)

    # --- causes, trace, numbers -------------------------------------------------------------------

    @contextmanager
    def handling(self, envelope: Envelope | None) -> Iterator[None]:
        """What is published inside the block, and by tasks started in it, has this envelope as its cause.

        Receiving does this by itself. The isolation bridge, which moves events between processes, and
        whoever hands an event to another task, say it with this. ``None`` says that there is no cause:
        a service started in the course of a reload is not for ever a consequence of that reload.
        """
        token = handling.set(None if envelope is None else (self, envelope))
        try:
            yield
        finally:
            handling.reset(token)

    def record(self, event: Event, *, source: str) -> Envelope:
        """Number, stamp and trace something without telling anybody; not for plugins."""
        current = handling.get()
        self._seq += 1
        if current is None or current[0] is not self:
            envelope = Envelope(self._seq, self._clock(), self._wall(), source, None, event)
        else:
            cause = current[1]
            envelope = Envelope(self._seq, self._clock(), self._wall(), source, cause.seq, event, cause.depth + 1)
        self.trace.append(envelope)
        return envelope

    def statistics(self) -> BusStatistics:
        """Numbers at this moment."""
        return BusStatistics(
            published=self._seq,
            refused=self._refused,
            retained=len(self._retained),
            subscriptions=tuple(subscription.statistics(self._clock) for subscription in self._subscriptions),
            providers=self._calls.providers(),
        )

    def _route(self, kind: type[Event]) -> _Route:
        if not issubclass(kind, Event) or "retain_by" not in vars(kind):
            raise TypeError(f"{kind.__qualname__} cannot be published: declare it with @event()")
        listening = tuple(subscription for subscription in self._subscriptions if subscription.accepts(kind))
        route = self._routes[kind] = _Route(f"{kind.__module__}:{kind.__qualname__}", kind.retain_by, listening)
        return route

    def _loop(self, event: Event, source: str, cause: Envelope) -> FeedbackLoopError:
        chain = self.trace.why(cause.seq)
        shown = [f"{link.seq} {type(link.event).__qualname__} by {link.source}" for link in chain[-CHAIN_SHOWN:]]
        return FeedbackLoopError(
            f"feedback loop: {source} must not publish {type(event).__qualname__}, which is the last of"
            f" {cause.depth + 1} events that caused each other: … → {' → '.join(shown)}",
            hint="one of these services reacts to a consequence of its own event; publish only when a value changed",
            chain=chain,
        )


def _key(event: Event, route: _Route, source: str) -> Key | None:
    if route.retain_by is not None:
        values = tuple(source if field is SOURCE else getattr(event, field) for field in route.retain_by)
        key = (route.type_name, values)
    elif isinstance(event, Retracted):
        # A retraction is about the fact that it withdraws: a coalescing queue then holds either, never both.
        key = (event.event_type, event.key)
    else:
        return None
    hash(key)  # a list in it is refused here, not half-way through a publish
    return key
