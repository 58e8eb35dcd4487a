"""What a service in this process sees of the node, on the real bus; and the part all contexts share.

`BaseContext` carries what does not depend on where the service runs: identity, demotion, the reload
handler. `ServiceContext` adds the bus. The context of an isolated service (`appliance.host.isolated`)
adds the bridge instead, which is why this module imports neither the bus nor the metrics at run time.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from appliance.events import Demotion, Event, Request
from appliance.plugin.context import Logger, Metrics, Overflow, ReloadHandler, RequestHandler, Subscription
from appliance.plugin.node import Node

if TYPE_CHECKING:
    from appliance.bus import EventBus
    from appliance.metrics import MetricsRegistry

R = TypeVar("R")

DEMOTION_MAX = 240
"""The most one reason may weigh: advskew 240 is what a demoted CARP node advertises (pf's carp(4))."""


class BaseContext:
    """Identity, demotion and reload handler of one run of a service."""

    def __init__(self, *, name: str, config: object, node: Node, state_dir: Path, log: Logger, rng: random.Random):
        self.name = name
        self.config = config
        self.node = node
        self.log = log
        self.state_dir = state_dir
        self.random = rng
        self.stopping = trio.Event()
        self.reload_handler: ReloadHandler | None = None
        self._demotions: dict[str, list[int]] = {}

    def publish(self, event: Event) -> None:
        """Tell everybody."""
        raise TypeError("a context has to say where its events go")

    @contextmanager
    def demoted(self, reason: str, weight: int) -> Iterator[None]:
        """Make this node a worse candidate while the block lasts; withdrawn however it ends.

        The same reason may be held several times at once; the heaviest counts, and it is withdrawn
        when the last block ends.
        """
        if not 0 <= weight <= DEMOTION_MAX:
            raise ValueError(f"a demotion weighs 0 to {DEMOTION_MAX}, not {weight}")
        held = self._demotions.setdefault(reason, [])
        before = max(held, default=0)
        held.append(weight)
        self._tell(reason, before)
        try:
            yield
        finally:
            before = max(held)
            held.remove(weight)
            self._tell(reason, before)
            if not held:
                del self._demotions[reason]

    def _tell(self, reason: str, before: int) -> None:
        now = max(self._demotions[reason], default=0)
        if now != before:
            self.publish(Demotion(reason=reason, weight=now))

    @contextmanager
    def on_reload(self, handler: ReloadHandler) -> Iterator[None]:
        """Take configuration changes live while the block lasts, instead of being restarted."""
        if self.reload_handler is not None:
            raise RuntimeError(f"service {self.name} already has a reload handler")
        self._set_reload_handler(handler)
        try:
            yield
        finally:
            self._set_reload_handler(None)

    def _set_reload_handler(self, handler: ReloadHandler | None) -> None:
        self.reload_handler = handler


class ServiceContext(BaseContext):
    """The `Context` of a service that runs in this process."""

    def __init__(
        self,
        *,
        bus: EventBus,
        name: str,
        plugin: str,
        config: object,
        node: Node,
        state_dir: Path,
        metrics: MetricsRegistry,
        log: Logger,
        rng: random.Random,
    ) -> None:
        own_dir = state_dir / plugin
        own_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        super().__init__(name=name, config=config, node=node, state_dir=own_dir, log=log, rng=rng)
        self.metrics: Metrics = metrics.scoped(plugin)
        self.bus = bus
        self.over = trio.Event()
        """Set when this run of the service has ended, however it did."""
        self.begun = trio.Event()
        """Set when its code runs; before that an isolated service is being loaded in its process."""
        self.pid: int | None = None
        """The process it runs in, when that is not ours."""

    def publish(self, event: Event) -> None:
        """Tell everybody. Never blocks, never fails because of a subscriber."""
        self.bus.publish(event, source=self.name)

    def subscribe(
        self, *types: type[Any], capacity: int = 64, overflow: Overflow = Overflow.LAG, replay: bool = True
    ) -> AbstractContextManager[Subscription[Any]]:
        """Listen; retained events first."""
        return self.bus.subscribe(*types, name=self.name, capacity=capacity, overflow=overflow, replay=replay)

    async def call(self, request: Request[R]) -> R:
        """Ask the one provider of this request, under the caller's own deadline."""
        return await self.bus.call(request, source=self.name)

    def serve(self, kind: type[Request[R]], handler: RequestHandler[R]) -> AbstractContextManager[None]:
        """Answer requests of this type while the block lasts. A second provider is refused."""
        return self.bus.serve(kind, handler, source=self.name)
