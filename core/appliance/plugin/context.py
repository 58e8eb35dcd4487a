"""What a running service may touch, and nothing else.

`Context` is a protocol: the supervisor gives one to services in this process, the isolation bridge one
to services in their own process, the testing kit builds one by hand. A service cannot tell them apart.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, overload, runtime_checkable

from appliance.events import Event, Request
from appliance.plugin.node import Node

if TYPE_CHECKING:
    # The command line knows declarations without the loop they will run in.
    import trio

E = TypeVar("E", bound=Event)
E1 = TypeVar("E1", bound=Event)
E2 = TypeVar("E2", bound=Event)
E3 = TypeVar("E3", bound=Event)
E4 = TypeVar("E4", bound=Event)
E_co = TypeVar("E_co", bound=Event, covariant=True)
R = TypeVar("R")


class Overflow(StrEnum):
    """What a subscription does when its queue is full."""

    LAG = "lag"
    """Drop the queue and raise `Lagged` on the next receive: the default, loud and simple."""
    DROP_OLDEST = "drop-oldest"
    """Forget the oldest: for displays."""
    COALESCE = "coalesce"
    """Keep the latest per retained key: for watchers of state."""


class Lagged(Exception):  # noqa: N818 - a condition, as in tokio's broadcast
    """The subscriber was too slow; `missed` events are gone. Re-read retained state."""

    def __init__(self, missed: int) -> None:
        super().__init__(f"{missed} events were missed")
        self.missed = missed


class NoProvider(Exception):  # noqa: N818
    """Nobody serves this request (its plugin is absent, starting, or crashed)."""


class ProviderFailed(Exception):  # noqa: N818
    """The provider of a request raised something that is not an `ApplianceError`."""


class Logger(Protocol):
    """A structured logger: a fixed snake_case event name, everything else as fields."""

    def debug(self, event: str, **fields: object) -> None: ...
    def info(self, event: str, **fields: object) -> None: ...
    def warning(self, event: str, **fields: object) -> None: ...
    def error(self, event: str, **fields: object) -> None: ...


class Subscription(Protocol[E_co]):
    """One bounded queue of events. ``async for event in subscription`` or ``await receive()``."""

    async def receive(self) -> E_co:
        """Wait for the next event; always a checkpoint.

        Raises:
            Lagged: Events were lost; raised before anything newer is returned.
        """
        ...

    def receive_nowait(self) -> E_co:
        """The next event, or `trio.WouldBlock`."""
        ...

    def __aiter__(self) -> Subscription[E_co]: ...
    async def __anext__(self) -> E_co: ...


class Counter(Protocol):
    """A number that only grows."""

    def inc(self, amount: float = 1.0, **labels: object) -> None: ...
    def advance(self, total: float, **labels: object) -> None:
        """Take over the number that somebody else counts, such as the kernel."""
        ...


class Gauge(Protocol):
    """A number that is set."""

    def set(self, value: float, **labels: object) -> None: ...


class Metrics(Protocol):
    """Where a service declares its metrics. Names are prefixed with the plugin's name by the host."""

    def counter(self, name: str, help: str, labels: tuple[str, ...] = ()) -> Counter: ...  # noqa: A002
    def gauge(self, name: str, help: str, labels: tuple[str, ...] = ()) -> Gauge: ...  # noqa: A002


class Started(Protocol):
    """How a service says that it is ready."""

    def started(self, value: None = None) -> None: ...


ReloadHandler = Callable[[object], Awaitable[None]]
RequestHandler = Callable[[Request[R]], Awaitable[R]]


@runtime_checkable
class Context(Protocol):
    """The world of one running service."""

    @property
    def name(self) -> str:
        """Full name, ``plugin/key``; also the bus source of everything it publishes."""
        ...

    @property
    def config(self) -> object:
        """`Service.config`, replaced when a reload has been accepted (see `on_reload`)."""
        ...

    @property
    def node(self) -> Node:
        """Who this node is."""
        ...

    @property
    def log(self) -> Logger: ...

    @property
    def metrics(self) -> Metrics: ...

    @property
    def state_dir(self) -> Path:
        """A directory of this plugin that survives restarts and upgrades; it exists."""
        ...

    @property
    def random(self) -> random.Random: ...

    @property
    def stopping(self) -> trio.Event:
        """Set when the service should finish; it is cancelled `Service.grace_s` later."""
        ...

    def publish(self, event: Event) -> None:
        """Tell everybody. Never blocks, never fails because of a subscriber."""
        ...

    @overload
    def subscribe(
        self, a: type[E1], /, *, capacity: int = 64, overflow: Overflow = Overflow.LAG, replay: bool = True
    ) -> AbstractContextManager[Subscription[E1]]: ...
    @overload
    def subscribe(
        self, a: type[E1], b: type[E2], /, *, capacity: int = 64, overflow: Overflow = Overflow.LAG, replay: bool = True
    ) -> AbstractContextManager[Subscription[E1 | E2]]: ...
    @overload
    def subscribe(
        self,
        a: type[E1],
        b: type[E2],
        c: type[E3],
        /,
        *,
        capacity: int = 64,
        overflow: Overflow = Overflow.LAG,
        replay: bool = True,
    ) -> AbstractContextManager[Subscription[E1 | E2 | E3]]: ...
    @overload
    def subscribe(
        self,
        a: type[E1],
        b: type[E2],
        c: type[E3],
        d: type[E4],
        /,
        *,
        capacity: int = 64,
        overflow: Overflow = Overflow.LAG,
        replay: bool = True,
    ) -> AbstractContextManager[Subscription[E1 | E2 | E3 | E4]]: ...
    def subscribe(
        self, *types: type[Event], capacity: int = 64, overflow: Overflow = Overflow.LAG, replay: bool = True
    ) -> AbstractContextManager[Subscription[Event]]:
        """Listen. Open it before reporting `started()`, so that nothing is missed in between.

        Retained events are replayed first, in order, unless `replay` is off.
        """
        ...

    async def call(self, request: Request[R]) -> R:
        """Ask the one provider of this request, under the caller's own deadline.

        Raises:
            NoProvider: Nobody serves it.
            ApplianceError: What the provider raised, unchanged.
            ProviderFailed: The provider has a bug; the cause is attached.
        """
        ...

    def serve(self, kind: type[Request[R]], handler: RequestHandler[R]) -> AbstractContextManager[None]:
        """Answer requests of this type while the block lasts. A second provider is refused."""
        ...

    def demoted(self, reason: str, weight: int) -> AbstractContextManager[None]:
        """Make this node a worse candidate while the block lasts; withdrawn however it ends."""
        ...

    def on_reload(self, handler: ReloadHandler) -> AbstractContextManager[None]:
        """Take configuration changes live while the block lasts, instead of being restarted.

        `handler(new_config)` applies the difference and raises to refuse it (the host then rolls the
        whole change back and calls it again with the old one). `config` changes after it returned.
        """
        ...
