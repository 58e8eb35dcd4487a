"""Runs a service in its own process, as the `run` of an ordinary supervised service.

To the supervisor there is no difference: `IsolatedRun` reports ready, raises, drains and is cancelled like
any service, and lives exactly as long as the process. The process is `appliance.host.isolated`; what it
asks for over the bridge is done here on the service's real context.

No process outlives its unit: whatever happens here, the last step waits for its end and else kills it.
"""

from __future__ import annotations

import pickle
import signal
import socket
import subprocess
from collections import OrderedDict
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
import trio

from appliance.bus.envelope import Envelope, handling
from appliance.errors import PluginError
from appliance.events import Alarm, Health, Request
from appliance.host.bridge import Answering, Asking, Channel
from appliance.host.context import ServiceContext
from appliance.host.failures import RemoteError
from appliance.host.frames import (
    Begun,
    Call,
    Cancel,
    CancelCall,
    Crashed,
    Credit,
    Delivered,
    Finished,
    Frame,
    Job,
    LogSettings,
    Missed,
    Ping,
    Pong,
    Published,
    Ready,
    Reload,
    Reloadable,
    Reply,
    Samples,
    Serve,
    Start,
    Stop,
    Subscribe,
    Unserve,
    Unsubscribe,
)
from appliance.host.processes import kill, wait_for
from appliance.host.spares import Child, Spares, spawn
from appliance.logs import LEVELS
from appliance.metrics import MetricsRegistry
from appliance.plugin.context import Lagged, Started
from appliance.plugin.contributions import Service

if TYPE_CHECKING:
    from appliance.host.unit import WantedService

LAST_WORDS_S = 2.0
"""From the cancellation of the service to the end of its process. Last words take 0.5 s by rule."""
EXIT_S = 1.0
"""From the end of the conversation to the end of the process; an interpreter exits in some 20 ms."""
PULSE_S = 5.0
"""How often a process is asked whether it lives, and how long its answer may take. A process that is stopped or
stuck is not noticed otherwise, and what it said last (that it is MASTER) would go on to be shown."""
CAUSES_KEPT = 1024
"""Recent events the process may name as the cause of what it publishes."""


@dataclass(slots=True)
class _Pump:
    """One subscription of the process."""

    scope: trio.CancelScope
    credit: int
    more: trio.Event


class IsolatedRun:
    """One run of an isolated service; call it like `Service.run`."""

    def __init__(self, wanted: WantedService, registry: MetricsRegistry, spares: Spares | None) -> None:
        self._wanted = wanted
        self._registry = registry
        self._spares = spares
        self._child: Child | None = None

    def prepare(self) -> None:
        """Start the process already, or take a spare: it loads its modules while the service waits for others.

        Whoever prepares a run has to `discard` it in the end.

        Raises:
            OSError: It cannot be started.
        """
        name = self._wanted.name
        spare = self._spares.take(name) if self._spares is not None else None
        self._child = spare or spawn(name, self._wanted.service.run.__module__)

    async def discard(self) -> None:
        """End what was prepared and never called."""
        child, self._child = self._child, None
        if child is not None:
            child.socket.close()
            await kill(child.process)

    async def __call__(self, ctx: ServiceContext, started: Started) -> None:
        """Start the process, if it was not prepared, and be the service until the process has ended."""
        job = _job(self._wanted.service, ctx)
        if self._child is None:
            self.prepare()
        child, self._child = self._child, None
        assert child is not None
        ctx.pid = child.process.pid
        with child.socket:
            try:
                conversation = _Conversation(ctx, started, self._registry, child.socket)
                await conversation.run(child.process, Start(job))
            finally:
                ctx.pid = None


def _job(service: Service, ctx: ServiceContext) -> bytes:
    assert service.isolation is not None
    job = Job(
        name=ctx.name,
        run=service.run,
        config=ctx.config,
        node=ctx.node,
        state_dir=ctx.state_dir,
        grace_s=service.grace_s,
        seed=ctx.random.getrandbits(64),
        isolation=service.isolation,
        log=_log_settings(),
    )
    try:
        return pickle.dumps(job, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise PluginError(
            f"service {ctx.name} cannot be isolated: {error}",
            hint="its run must be a function at module level and its config picklable",
        ) from error


def _log_settings() -> LogSettings:
    processors = structlog.get_config()["processors"]
    as_json = any(isinstance(item, structlog.processors.JSONRenderer) for item in processors)
    log = structlog.get_logger().bind()
    level = next((level for level in sorted(LEVELS.values()) if log.is_enabled_for(level)), LEVELS["error"])
    return LogSettings(level, as_json)


class _Conversation:
    """Everything between a process that has just been started and its end."""

    def __init__(self, ctx: ServiceContext, started: Started, registry: MetricsRegistry, sock: socket.socket) -> None:
        self._ctx = ctx
        self._started = started
        self._registry = registry
        self._channel = Channel(sock)
        self._asking = Asking(self._channel)
        self._pumps: dict[int, _Pump] = {}
        self._served: dict[type[Request[Any]], ExitStack] = {}
        self._reloadable = ExitStack()
        self._recent: OrderedDict[int, Envelope] = OrderedDict()
        self._shelter = trio.CancelScope(shield=True)
        self._last: Finished | Crashed | None = None
        self._answered = trio.Event()

    async def run(self, process: subprocess.Popen[bytes], start: Start) -> None:
        """Talk until the process has ended; raises what its service raised."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_remotely)
                # Our own cancellation must not end the conversation: the service has last words to say.
                with self._shelter:
                    self._channel.send(start)
                    await self._talk(process)
                nursery.cancel_scope.cancel(reason="the process has ended")
        finally:
            await self._reap(process)
        if isinstance(self._last, Crashed):
            raise RemoteError(self._last.line, self._last.detail)
        if self._last is None:
            raise RemoteError(_obituary(process.returncode))

    async def _cancel_remotely(self) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            self._channel.send(Cancel(cancelled.reason or f"{self._ctx.name} is cancelled"))
            self._shelter.deadline = trio.current_time() + LAST_WORDS_S
            raise

    async def _talk(self, process: subprocess.Popen[bytes]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._channel.pump)
            nursery.start_soon(self._hang_up_after, process)
            nursery.start_soon(self._forward_stop)
            nursery.start_soon(self._feel_pulse, process.pid)
            answering = Answering(self._channel, nursery)
            try:
                while (frame := await self._channel.receive()) is not None:
                    await self._handle(frame, nursery, answering)
            finally:
                # First the registrations, then the waiting: callers shall learn that the provider has stopped.
                for stack in (*self._served.values(), self._reloadable):
                    stack.close()
                self._asking.close(f"the process of {self._ctx.name} has ended")
            nursery.cancel_scope.cancel(reason="the process has ended")

    async def _reap(self, process: subprocess.Popen[bytes]) -> None:
        if self._last is None and process.poll() is None:
            self._channel.send(Cancel("the node gave up on it"))
        with trio.move_on_after(EXIT_S, shield=True):
            await wait_for(process)
        if process.poll() is None:
            self._ctx.log.warning("service_killed", pid=process.pid, why="it did not end by itself")
            await kill(process)  # only itself: what it has forked to clean up after it still has to do so

    async def _hang_up_after(self, process: subprocess.Popen[bytes]) -> None:
        # A process forked by the service (a guard) holds a copy of its socket, so EOF alone would come late or never.
        await wait_for(process)
        self._channel.hang_up()

    async def _forward_stop(self) -> None:
        await self._ctx.stopping.wait()
        self._channel.send(Stop())

    async def _feel_pulse(self, pid: int) -> None:
        """Raise an alarm while the process does not answer; killing it is left to people, who may be debugging it."""
        await self._ctx.begun.wait()  # whoever loads modules does not answer
        while True:
            await trio.sleep(PULSE_S)
            self._answered = trio.Event()
            self._channel.send(Ping())
            with trio.move_on_after(PULSE_S):
                await self._answered.wait()
            if not self._answered.is_set():
                self._tell_silence(pid, active=True)
                await self._answered.wait()  # whenever that is; it is not asked again meanwhile
                self._tell_silence(pid, active=False)

    def _tell_silence(self, pid: int, *, active: bool) -> None:
        name = self._ctx.name
        self._ctx.log.warning("service_silent" if active else "service_answers_again", pid=pid)
        self._ctx.publish(
            Alarm(
                key=f"service/{name}/silent",
                active=active,
                health=Health.FAIL if active else Health.OK,
                what=f"service {name} does not answer: process {pid} is stopped or stuck, "
                "and what is shown of it may no longer be true",
                fix=f"If somebody has stopped it: `kill -CONT {pid}`. If not: `kill -9 {pid}`, and the node starts "
                "it anew.",
            )
        )

    async def _handle(self, frame: Frame, nursery: trio.Nursery, answering: Answering) -> None:
        ctx = self._ctx
        match frame:
            case Published(event, cause):
                with self._because_of(cause):
                    ctx.publish(event)
            case Credit(number, more):
                if number in self._pumps:
                    self._pumps[number].credit += more
                    self._pumps[number].more.set()
            case Subscribe():
                await nursery.start(self._forward_events, frame)
            case Unsubscribe(number):
                if number in self._pumps:
                    self._pumps[number].scope.cancel(reason="the service has unsubscribed")
            case Call():
                answering.begin(frame.number, lambda: self._call(frame))
            case CancelCall(number):
                answering.cancel(number)
            case Reply():
                self._asking.answered(frame)
            case Samples(samples):
                self._registry.merge(samples)
            case Pong():
                self._answered.set()
            case Begun():
                self._ctx.begun.set()
            case Ready():
                self._started.started()
            case Finished() | Crashed():
                self._last = frame
            case _:
                self._register(frame)

    def _register(self, frame: Frame) -> None:
        match frame:
            case Serve(kind):
                stack = self._served[kind] = ExitStack()
                stack.enter_context(self._ctx.serve(kind, self._ask))
            case Unserve(kind):
                self._served.pop(kind).close()
            case Reloadable(True):
                self._reloadable.enter_context(self._ctx.on_reload(self._reload))
            case Reloadable(False):
                self._reloadable.close()
            case _:
                raise TypeError(f"the process of {self._ctx.name} sent {type(frame).__name__}")

    async def _forward_events(self, wanted: Subscribe, *, task_status: trio.TaskStatus[None]) -> None:
        number = wanted.subscription
        with (
            trio.CancelScope() as scope,
            self._ctx.bus.subscribe(
                *wanted.types,
                name=self._ctx.name,
                capacity=wanted.capacity,
                overflow=wanted.overflow,
                replay=wanted.replay,
            ) as events,
        ):
            pump = self._pumps[number] = _Pump(scope, wanted.window, trio.Event())
            task_status.started()
            try:
                while True:
                    while pump.credit <= 0:
                        pump.more = trio.Event()
                        await pump.more.wait()
                    try:
                        envelope = await events.receive_envelope()
                    except Lagged as lagged:
                        self._channel.send(Missed(number, lagged.missed))
                        continue
                    pump.credit -= 1
                    self._remember(envelope)
                    self._channel.send(Delivered(number, envelope.seq, envelope.event))
            finally:
                del self._pumps[number]

    async def _call(self, frame: Call) -> object:
        with self._because_of(frame.cause):
            return await self._ctx.call(frame.request)

    async def _ask(self, request: Request[Any]) -> Any:
        current = handling.get()
        if current is not None:
            self._remember(current[1])
        cause = None if current is None else current[1].seq
        return await self._asking.ask(lambda number: Call(number, request, cause))

    async def _reload(self, config: object) -> None:
        await self._asking.ask(lambda number: Reload(number, config))

    def _remember(self, envelope: Envelope) -> None:
        self._recent[envelope.seq] = envelope
        if len(self._recent) > CAUSES_KEPT:
            self._recent.popitem(last=False)

    def _because_of(self, cause: int | None) -> AbstractContextManager[None]:
        envelope = None if cause is None else self._recent.get(cause)
        return nullcontext() if envelope is None else self._ctx.bus.handling(envelope)


def _obituary(status: int | None) -> str:
    if status is None:
        return "its process does not end"
    if status < 0:
        try:
            return f"its process was killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"its process was killed by signal {-status}"
    return f"its process exited with status {status} without a word"
