"""The `Context` of a service in its own process: the same promises, kept over the bridge.

What differs is inherent and small: retained facts replayed by `subscribe` arrive a moment later (wait with
`receive`, do not poll with `receive_nowait`), and a publish or a `serve` that the node refuses ends the
service with that error instead of raising at the call. Imported by isolated services; it must stay light.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar, cast

import trio

from appliance.errors import PluginError, RefusedError
from appliance.events import Event, Request
from appliance.host.bridge import WINDOW_COALESCE, WINDOW_MAX, Answering, Asking, Channel, cause_now
from appliance.host.context import BaseContext
from appliance.host.frames import (
    Call,
    Credit,
    Job,
    Published,
    Reloadable,
    Samples,
    Serve,
    Subscribe,
    Unserve,
    Unsubscribe,
)
from appliance.metrics import MetricsRegistry, Sample
from appliance.plugin.context import (
    Counter,
    Gauge,
    Lagged,
    Logger,
    NoProvider,
    Overflow,
    ReloadHandler,
    RequestHandler,
)

E = TypeVar("E", bound=Event)
R = TypeVar("R")

SHIP_INTERVAL_S = 1.0
"""Metrics are shipped at most this often, and only when a number changed: an idle service never wakes up."""


class RemoteSubscription(Generic[E]):
    """Satisfies `appliance.plugin.Subscription`; the queue proper is on the node's bus."""

    def __init__(self, channel: Channel, number: int, window: int, name: str) -> None:
        self._channel = channel
        self._number = number
        self._name = name
        self._queue: deque[tuple[int, E] | Lagged] = deque()  # bounded by the window
        self._lot = trio.lowlevel.ParkingLot()
        self._is_closed = False
        self._taken = 0
        self._return_at = max(1, window // 2)

    def put(self, item: tuple[int, E] | Lagged) -> None:
        """The next event with its number, or the news that some are lost."""
        self._queue.append(item)
        self._lot.unpark()

    def close(self) -> None:
        """Wake every receiver with `trio.ClosedResourceError`."""
        self._is_closed = True
        self._lot.unpark_all()
        cause_now.set(None)

    async def receive(self) -> E:
        """Wait for the next event; always a checkpoint."""
        cause_now.set(None)
        await trio.lowlevel.checkpoint()
        while not (self._queue or self._is_closed):
            await self._lot.park()
        return self._take()

    def receive_nowait(self) -> E:
        """The next event that has arrived, or `trio.WouldBlock`."""
        cause_now.set(None)
        if not (self._queue or self._is_closed):
            raise trio.WouldBlock
        return self._take()

    def _take(self) -> E:
        if self._is_closed:
            raise trio.ClosedResourceError(f"the subscription of {self._name} is closed")
        item = self._queue.popleft()
        if isinstance(item, Lagged):
            raise item
        seq, event = item
        self._taken += 1
        if self._taken >= self._return_at:
            self._channel.send(Credit(self._number, self._taken))
            self._taken = 0
        cause_now.set(seq)
        return event

    def __aiter__(self) -> RemoteSubscription[E]:
        return self

    async def __anext__(self) -> E:
        return await self.receive()


class RemoteMetrics:
    """Satisfies `appliance.plugin.Metrics`: counts here, ships totals."""

    def __init__(self, channel: Channel, plugin: str) -> None:
        self._channel = channel
        self._registry = MetricsRegistry()
        self._scoped = self._registry.scoped(plugin)
        self._changed = trio.Event()
        self._shipped: dict[tuple[str, tuple[str, ...]], float] = {}

    def counter(self, name: str, help: str, labels: tuple[str, ...] = ()) -> Counter:  # noqa: A002
        """Declare a counter."""
        return _NotingCounter(self._scoped.counter(name, help, labels), self._note)

    def gauge(self, name: str, help: str, labels: tuple[str, ...] = ()) -> Gauge:  # noqa: A002
        """Declare a gauge."""
        return _NotingGauge(self._scoped.gauge(name, help, labels), self._note)

    def _note(self) -> None:
        self._changed.set()

    async def ship_changes(self) -> None:
        """Ship whenever something changed, for the life of the service."""
        while True:
            await self._changed.wait()
            self.ship()
            await trio.sleep(SHIP_INTERVAL_S)

    def ship(self) -> None:
        """Ship what changed since the last time."""
        self._changed = trio.Event()
        changed: list[Sample] = []
        for sample in self._registry.samples():
            key = (sample.name, sample.labels)
            if self._shipped.get(key) != sample.value:
                self._shipped[key] = sample.value
                changed.append(sample)
        if changed:
            self._channel.send(Samples(tuple(tuple(sample) for sample in changed)))


class _NotingCounter:
    def __init__(self, inner: Counter, note: Callable[[], None]) -> None:
        self._inner = inner
        self._note = note

    def inc(self, amount: float = 1.0, **labels: object) -> None:
        self._inner.inc(amount, **labels)
        self._note()

    def advance(self, total: float, **labels: object) -> None:
        self._inner.advance(total, **labels)
        self._note()


class _NotingGauge:
    def __init__(self, inner: Gauge, note: Callable[[], None]) -> None:
        self._inner = inner
        self._note = note

    def set(self, value: float, **labels: object) -> None:
        self._inner.set(value, **labels)
        self._note()


class RemoteContext(BaseContext):
    """The `Context` of an isolated service."""

    def __init__(self, channel: Channel, job: Job, log: Logger) -> None:
        super().__init__(
            name=job.name,
            config=job.config,
            node=job.node,
            state_dir=job.state_dir,
            log=log,
            rng=random.Random(job.seed),
        )
        self.metrics = RemoteMetrics(channel, job.name.partition("/")[0])
        self._channel = channel
        self._asking = Asking(channel)
        self._subscriptions: dict[int, RemoteSubscription[Any]] = {}
        self._numbers = 0
        self._handlers: dict[type[Request[Any]], Callable[[Any], Awaitable[Any]]] = {}

    # --- what the service uses --------------------------------------------------------------------

    def publish(self, event: Event) -> None:
        """Tell everybody. Never blocks."""
        if not isinstance(event, Event):
            raise TypeError(f"{self.name} publishes {event!r}; an event is needed")
        self._channel.send(Published(event, cause_now.get()))

    @contextmanager
    def subscribe(
        self, *types: type[Any], capacity: int = 64, overflow: Overflow = Overflow.LAG, replay: bool = True
    ) -> Iterator[RemoteSubscription[Any]]:
        """Listen; retained events first."""
        if not types or not all(isinstance(kind, type) and issubclass(kind, Event) for kind in types):
            raise TypeError(f"{self.name} subscribes to {types!r}; event classes are needed")
        if capacity < 1:
            raise ValueError(f"{self.name} subscribes with capacity {capacity}; at least 1 is needed")
        self._numbers += 1
        number = self._numbers
        window = min(capacity, WINDOW_COALESCE if overflow is Overflow.COALESCE else WINDOW_MAX)
        subscription: RemoteSubscription[Any] = RemoteSubscription(self._channel, number, window, self.name)
        self._subscriptions[number] = subscription
        self._channel.send(Subscribe(number, types, capacity, overflow, replay, window))
        try:
            yield subscription
        finally:
            del self._subscriptions[number]
            self._channel.send(Unsubscribe(number))
            subscription.close()

    async def call(self, request: Request[R]) -> R:
        """Ask the one provider of this request, under the caller's own deadline."""
        cause = cause_now.get()
        return cast("R", await self._asking.ask(lambda number: Call(number, request, cause)))

    @contextmanager
    def serve(self, kind: type[Request[R]], handler: RequestHandler[R]) -> Iterator[None]:
        """Answer requests of this type while the block lasts."""
        if kind in self._handlers:
            raise PluginError(
                f"{self.name} cannot serve {kind.__qualname__}: it already does", hint="serve each request once"
            )
        self._handlers[kind] = handler
        self._channel.send(Serve(kind))
        try:
            yield
        finally:
            del self._handlers[kind]
            self._channel.send(Unserve(kind))

    def _set_reload_handler(self, handler: ReloadHandler | None) -> None:
        super()._set_reload_handler(handler)
        self._channel.send(Reloadable(handler is not None))

    # --- what arrives from the node ---------------------------------------------------------------

    def deliver(self, number: int, item: tuple[int, Event] | Lagged) -> None:
        """Something for a subscription, unless it has been closed meanwhile."""
        subscription = self._subscriptions.get(number)
        if subscription is not None:
            subscription.put(item)

    def begin(self, answering: Answering, call: Call) -> None:
        """Answer a request that somebody else made."""

        async def work() -> object:
            handler = self._handlers.get(type(call.request))
            if handler is None:
                raise NoProvider(f"{self.name} stopped serving {type(call.request).__qualname__}")
            cause_now.set(call.cause)
            return await handler(call.request)

        answering.begin(call.number, work)

    async def reload(self, config: object) -> None:
        """Give the service its new configuration."""
        handler = self.reload_handler
        if handler is None:
            raise RefusedError(f"{self.name} has no reload handler any more", hint="try again")
        await handler(config)
        self.config = config

    @property
    def asking(self) -> Asking:
        """The calls of the service that are not answered yet."""
        return self._asking
