"""One supervised service: start, watch, back off, start again, drain, cancel.

A unit is one task for as long as its service is wanted. Each *attempt* runs `Service.run` in a nursery
of its own, so whatever the service breaks stays inside; `except* Exception` takes the service's errors and
lets `Cancelled` through, also when both come mixed.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import trio

from appliance.bus.envelope import handling
from appliance.errors import ApplianceError, RefusedError
from appliance.events import Demotion, ServiceCrashed, ServiceStarted, ServiceStopped
from appliance.host.context import DEMOTION_MAX, ServiceContext
from appliance.host.failures import NotReadyError, ReturnedError, detail, first_leaf, one_line
from appliance.plugin.context import Logger, ReloadHandler, Started
from appliance.plugin.contributions import CrashPolicy, Service
from appliance.plugin.node import Node

if TYPE_CHECKING:
    from appliance.bus import EventBus
    from appliance.host.spares import Spares
    from appliance.metrics import MetricsRegistry

SOURCE = "supervisor"
"""Bus source of what the supervisor itself says about services."""
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 30.0
HEALTHY_S = 60.0
"""Running this long makes the next crash a first one again."""
CRASHES_MAX = 10
"""More crashes than this inside `CRASH_WINDOW_S` and the service stays down. With the doubling back-off,
a service that dies at once is given up after about two and a half minutes."""
CRASH_WINDOW_S = 300.0
LOADING_DEADLINE_S = 60.0
"""Longest time until the process of an isolated service has loaded it: a quarter of a second of computing, which took
half a minute in one of two virtual machines on a busy host."""
READY_DEADLINE_S = 30.0
"""Longest time from then to ``started()``; opening sockets takes milliseconds, waiting for a slow device seconds."""
RELOAD_DEADLINE_S = 20.0
"""Longest time for one reload handler; changing some hundred addresses takes well under a second."""
STUCK_S = 5.0
"""How long a cancelled service may still take before it is reported as stuck. Last words are bounded to
0.5 s by rule, an isolated service is killed earlier."""


ServiceRun = Callable[[ServiceContext, Started], Awaitable[None]]
"""What `Service.run` is, here or in a process of its own."""
SEE = "see `appliance show services` and the log of the service"


class ServiceState(StrEnum):
    """Where a service is in its life."""

    WAITING = "waiting"
    """For the services that provide what it needs."""
    STARTING = "starting"
    RUNNING = "running"
    BACKOFF = "back-off"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"
    """Its crash budget is spent; it stays down."""


class WantedService(Protocol):
    """A service with its owner: `appliance.host.plugins.PluginService`."""

    @property
    def name(self) -> str: ...
    @property
    def plugin(self) -> str: ...
    @property
    def distribution(self) -> str: ...
    @property
    def service(self) -> Service: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all units of one node share."""

    bus: EventBus
    node: Node
    state_dir: Path
    metrics: MetricsRegistry
    seed: int | None
    spares: Spares | None
    logger: Callable[[str], Logger]
    """Makes the logger of a service by its full name."""
    moved: Callable[[], None]
    """Called after a unit changed its state."""
    may_start: Callable[[Unit], Awaitable[None]]
    """Returns when everything the unit needs is there."""
    leave: Callable[[str], None]
    """Asks the node to stop, with a reason."""


class _Readiness:
    """The `Started` given to a service: reports at once, not at the next scheduling."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self.event = trio.Event()
        self._tell = tell

    def started(self, value: object = None) -> None:
        if self.event.is_set():
            raise RuntimeError("started() was called twice")
        self.event.set()
        self._tell()


async def _call_handler(context: ServiceContext, handler: ReloadHandler, config: object) -> BaseException | None:
    """Await a reload handler until its deadline or the end of its service; the error, if any."""
    result: BaseException | None = NotReadyError(f"the reload did not finish within {RELOAD_DEADLINE_S:g} s")

    async def call() -> None:
        nonlocal result
        try:
            await handler(config)
        except Exception as error:  # noqa: BLE001 - the supervisor is where a service's errors end
            result = error
        else:
            result = None
        nursery.cancel_scope.cancel(reason="the reload handler has finished")

    async def give_up() -> None:
        nonlocal result
        await context.over.wait()
        result = ReturnedError("the service ended during the reload")
        nursery.cancel_scope.cancel(reason="the service ended during the reload")

    with trio.move_on_after(RELOAD_DEADLINE_S):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            nursery.start_soon(give_up)
    return result


class Unit:
    """One service under supervision, from being wanted to being stopped."""

    def __init__(self, wanted: WantedService, around: Surroundings, *, predecessor: Unit | None = None) -> None:
        self.wanted = wanted
        self.name = wanted.name
        self.state = ServiceState.WAITING
        self.since = trio.current_time()
        self.restarts = 0
        self.error: str | None = None
        """Why it crashed last."""
        self.settled = False
        """The first attempt has ended in being ready or in a crash."""
        self.reloading = False
        """A reload handler is to be called, or is at it."""
        self.has_heir = False
        """It is stopped only to be replaced by a unit of the same name."""
        self.uncertain = False
        """A refused or unfinished reload may have left parts of the new configuration behind."""
        self.context: ServiceContext | None = None
        self.stop_reason: str | None = None
        self.ended = trio.Event()
        self.log = around.logger(self.name)
        self._around = around
        self._bus = around.bus
        self._stop_asked = trio.Event()
        self._backoff_s = BACKOFF_FIRST_S
        self._crashes: deque[float] = deque(maxlen=CRASHES_MAX + 1)
        self._ready_at: float | None = None
        # A restart must not make a sick node look healthy for a moment: the demotion is handed on.
        self._is_demoting: bool = predecessor is not None and predecessor._is_demoting
        self._crash_counter = around.metrics.scoped(SOURCE).counter(
            "service_crashes", "Crashes of services", labels=("service",)
        )

    @property
    def service(self) -> Service:
        """What the plugin declared."""
        return self.wanted.service

    def is_stopping(self) -> bool:
        """Whether somebody asked it to stop."""
        return self.stop_reason is not None

    async def run(self) -> None:
        """Keep the service running until it is asked to stop."""
        handling.set(None)  # what the service does is not a consequence of whatever made somebody start it
        try:
            while not self.is_stopping():
                async with self._runner() as run:
                    await self._around.may_start(self)
                    if self.is_stopping():
                        break
                    failure = await self._attempt(run)
                if self.is_stopping():
                    if failure is not None:
                        self.log.warning("service_failed_while_stopping", error=one_line(failure))
                    break
                delay_s = self._crashed(failure or ReturnedError("it returned without being asked to"))
                with trio.move_on_after(delay_s):
                    await self._stop_asked.wait()
        finally:
            self._gone()

    def ask_to_stop(self, reason: str) -> None:
        """Begin to drain; the unit's own task does the rest, `ended` says when it is done."""
        if self.stop_reason is None:
            self.stop_reason = reason
            self._stop_asked.set()

    async def stop(self, reason: str) -> None:
        """Stop and wait for it, but not for ever: a service may refuse to be cancelled."""
        self.ask_to_stop(reason)
        with trio.move_on_after(max(self.service.grace_s, 0.0) + STUCK_S):
            await self.ended.wait()
        if not self.ended.is_set():
            self.log.error("service_stuck", reason=reason)

    async def reload(self, wanted: WantedService) -> None:
        """Hand the running service its new configuration through its reload handler.

        Raises:
            ApplianceError: It refused, crashed or took too long; the old configuration counts.
        """
        context = self.context
        self.uncertain = True
        error: BaseException | None = ReturnedError("it has no reload handler any more")
        if context is not None and context.reload_handler is not None and not context.over.is_set():
            error = await _call_handler(context, context.reload_handler, wanted.service.config)
        if error is not None:
            why = error.message if isinstance(error, ApplianceError) else one_line(error)
            hint = error.hint if isinstance(error, ApplianceError) else SEE
            kind = type(error) if isinstance(error, RefusedError) else ApplianceError
            raise kind(f"service {self.name} refused its new configuration: {why}", hint=hint) from error
        assert context is not None
        context.config = wanted.service.config
        self.wanted = wanted
        self.uncertain = False

    async def _attempt(self, run: ServiceRun) -> BaseException | None:
        """Run the service once; the error it ended with, if any."""
        self._ready_at = None
        self._move(ServiceState.STARTING)
        failure: BaseException | None = None
        try:
            self.context = context = self._new_context()
            self.uncertain = False
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    readiness = _Readiness(self._is_ready)
                    nursery.start_soon(self._drain, context, scope)
                    nursery.start_soon(self._body, run, context, readiness, scope, name=f"service {self.name}")
                    with trio.move_on_after(LOADING_DEADLINE_S):
                        await context.begun.wait()
                    if not context.begun.is_set() and not self.is_stopping():
                        raise NotReadyError(f"its process did not load it within {LOADING_DEADLINE_S:g} s")
                    with trio.move_on_after(READY_DEADLINE_S):
                        await readiness.event.wait()
                    if not readiness.event.is_set() and not self.is_stopping():
                        raise NotReadyError(f"it did not become ready within {READY_DEADLINE_S:g} s")
        except* Exception as group:  # noqa: BLE001 - this is the supervisor
            failure = first_leaf(group)
            self.log.debug("service_traceback", trace=detail(failure))
        finally:
            if self.context is not None:
                self.context.over.set()
        return failure

    def _new_context(self) -> ServiceContext:
        around = self._around
        seed = None if around.seed is None else f"{around.seed}/{around.node.name}/{self.name}"
        return ServiceContext(
            bus=self._bus,
            name=self.name,
            plugin=self.wanted.plugin,
            config=self.service.config,
            node=around.node,
            state_dir=around.state_dir,
            metrics=around.metrics,
            log=self.log,
            rng=random.Random(seed),
        )

    @asynccontextmanager
    async def _runner(self) -> AsyncIterator[ServiceRun]:
        """What runs the service, in its own process if it wants one: that one loads while the service waits."""
        if self.service.isolation is None:
            yield self.service.run
            return
        # Imported here, because most nodes of a test and all in-process services do without it.
        from appliance.host.isolation import IsolatedRun

        isolated = IsolatedRun(self.wanted, self._around.metrics, self._around.spares)
        try:
            with suppress(OSError):  # tried again, and told, when the service is to be started
                isolated.prepare()
            yield isolated
        finally:
            await isolated.discard()

    async def _body(
        self, run: ServiceRun, context: ServiceContext, readiness: _Readiness, scope: trio.CancelScope
    ) -> None:
        if self.service.isolation is None:
            context.begun.set()
        await run(context, readiness)
        if not self.is_stopping():
            raise ReturnedError("it returned without being asked to")
        scope.cancel(reason=f"{self.name} has finished")

    async def _drain(self, context: ServiceContext, scope: trio.CancelScope) -> None:
        await self._stop_asked.wait()
        self._move(ServiceState.DRAINING)
        context.stopping.set()
        await trio.sleep(max(self.service.grace_s, 0.0))
        scope.cancel(reason=f"{self.name}: {self.stop_reason}")

    def _is_ready(self) -> None:
        self._ready_at = trio.current_time()
        if self.is_stopping():
            return
        self._demote(0)
        self._move(ServiceState.RUNNING)
        # Published as the service: bus.forget() then withdraws it together with its other facts.
        self._bus.publish(ServiceStarted(service=self.name), source=self.name)
        self._settle()

    def _crashed(self, failure: BaseException) -> float:
        """Account for a crash and tell everybody; the seconds until the next attempt."""
        now = trio.current_time()
        self.error = one_line(failure)
        delay_s = self._next_delay(now)
        self._crash_counter.inc(service=self.name)
        if self.service.on_crash is CrashPolicy.DEMOTE:
            self._demote(DEMOTION_MAX)
        self._bus.forget(self.name)
        self._bus.publish(
            ServiceCrashed(
                service=self.name,
                error=self.error,
                distribution=self.wanted.distribution,
                restart_in_s=delay_s,
            ),
            source=SOURCE,
        )
        self.log.error("service_crashed", error=self.error, distribution=self.wanted.distribution, restart_in_s=delay_s)
        self._move(ServiceState.FAILED if delay_s is None else ServiceState.BACKOFF)
        self._settle()
        if self.service.on_crash is CrashPolicy.STOP_NODE:
            self._around.leave(f"service {self.name} crashed: {self.error}")
        if delay_s is None:
            return float("inf")
        self.restarts += 1
        return delay_s

    def _next_delay(self, now: float) -> float | None:
        if self.service.on_crash is CrashPolicy.STOP_NODE:
            return None
        if self._ready_at is not None and now - self._ready_at >= HEALTHY_S:
            self._backoff_s = BACKOFF_FIRST_S
        self._crashes.append(now)
        while self._crashes[0] < now - CRASH_WINDOW_S:
            self._crashes.popleft()
        if len(self._crashes) > CRASHES_MAX:
            return None
        delay_s = self._backoff_s
        self._backoff_s = min(self._backoff_s * 2, BACKOFF_MAX_S)
        return delay_s

    def _gone(self) -> None:
        """Withdraw everything the service stood for. No checkpoint: it also happens while cancelled."""
        reason = self.stop_reason or "the supervisor was cancelled"
        self._bus.forget(self.name)
        if not self.has_heir:
            self._demote(0)
        self._move(ServiceState.STOPPED)
        self._bus.publish(ServiceStopped(service=self.name, reason=reason), source=SOURCE)
        self.log.info("service_stopped", reason=reason)
        self.ended.set()

    def _demote(self, weight: int) -> None:
        if (weight > 0) is self._is_demoting:
            return
        self._is_demoting = weight > 0
        self._bus.publish(Demotion(reason=f"service:{self.name}", weight=weight), source=SOURCE)

    def _settle(self) -> None:
        if not self.settled:
            self.settled = True
            self._around.moved()

    def _move(self, state: ServiceState) -> None:
        self.state = state
        self.since = trio.current_time()
        self._around.moved()
