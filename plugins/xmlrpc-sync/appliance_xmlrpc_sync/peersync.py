"""One peer: its task, what is known of it, and what came of the last look."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import trio

from appliance.errors import ApplianceError
from appliance.events import Request
from appliance.events.config import CompareSections, GetConfig, GetSections, Hidden
from appliance.plugin import Context, NoProvider, ProviderFailed
from appliance.rpc import Client
from appliance_xmlrpc_sync import diff, machine, vocabulary
from appliance_xmlrpc_sync.causes import Cause, Failure, SyncError, failure_of
from appliance_xmlrpc_sync.dialing import way_to
from appliance_xmlrpc_sync.pace import NO_QUICK, ONLY_LAST, Pace
from appliance_xmlrpc_sync.settings import PREFIX, SenderSettings
from appliance_xmlrpc_sync.vocabulary import Answer, Known, Outcome, Step, Task, Verdict

ATTEMPT_MAX_S = 300.0
"""For one look with its push, whatever happens; every call has shorter deadlines of its own."""
QUESTIONS = frozenset({"host_firmware_version", "config_digest"})
QUESTION_S = 30.0
"""For what a peer answers from memory; digests of a new configuration of 10 MB take some seconds."""
UNCONFIRMED_S = 1.0
"""Between looks whether this node's own change has been confirmed."""

Steps = machine.Exchange | diff.Exchange


class Owner(Protocol):
    """What a peer's task needs of the service."""

    @property
    def ctx(self) -> Context: ...
    @property
    def settings(self) -> SenderSettings: ...
    def task_of(self, peer: PeerSync, *, is_asked: bool, force: bool) -> Task:
        """What to do with it now."""
        ...

    def tell(self, peer: PeerSync) -> None:
        """A look at it has ended."""
        ...


class _Waiter(NamedTuple):
    """Somebody who waits for the next look."""

    done: trio.Event
    force: bool


class PeerSync:
    """One peer: when it is looked at, what is known of it, and what came of the last look."""

    def __init__(self, owner: Owner, address: str) -> None:
        ctx = owner.ctx
        self.address = address
        self.known = Known()
        self.pace = Pace(ctx.random.random, trio.current_time())
        self.name = ""
        """As it was paired."""
        self.fingerprint = ""
        self.failure: Failure | None = None
        self.outcome: Outcome | None = None
        self.last_success: float | None = None
        """Seconds since the epoch."""
        self.last_push_ms: int | None = None
        self.is_busy = False
        self._owner, self._ctx = owner, ctx
        self._waiters: list[_Waiter] = []
        self._wake = trio.Event()
        self._lock = trio.Lock()

    @property
    def label(self) -> str:
        """Its name as far as it is known, else its address."""
        return self.known.hello.node if self.known.hello else self.name or self.address

    def changed(self) -> None:
        """This node's configuration or pairing has changed."""
        self.pace.changed(trio.current_time())
        self._wake.set()

    async def look_now(self, *, force: bool) -> None:
        """Wait for a look that begins after this call."""
        waiter = _Waiter(trio.Event(), force)
        self._waiters.append(waiter)
        self.pace.asked(trio.current_time())
        self._wake.set()
        await waiter.done.wait()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        try:
            while True:
                await self._until_due()
                waiters, self._waiters = self._waiters, []
                try:
                    await self._look(is_asked=bool(waiters), force=any(each.force for each in waiters))
                finally:
                    for each in waiters:
                        each.done.set()
        finally:
            for each in self._waiters:
                each.done.set()

    async def _until_due(self) -> None:
        while True:
            self._wake = trio.Event()
            wait_s = self.pace.due - trio.current_time()
            if wait_s <= 0:
                return
            with trio.move_on_after(wait_s):
                await self._wake.wait()

    async def _look(self, *, is_asked: bool, force: bool) -> None:
        self.is_busy, begun = True, trio.current_time()
        self.pace.begin(begun)
        task = self._owner.task_of(self, is_asked=is_asked, force=force)
        try:
            outcome = await self.attempt(lambda: machine.exchange(task, self.known))
        except ApplianceError as error:
            self._failed(failure_of(error, self.label))
        else:
            self._succeeded(outcome, round((trio.current_time() - begun) * 1000))
        finally:
            self.is_busy = False
        self._owner.tell(self)

    async def attempt(self, start: Callable[[], Steps]) -> Any:
        """Do all steps of an exchange, one exchange with this peer at a time.

        Raises:
            ApplianceError: Why it did not work.
        """
        async with self._lock:
            with trio.move_on_after(ATTEMPT_MAX_S):
                settings, state_dir = self._owner.settings, self._ctx.state_dir
                way = await trio.to_thread.run_sync(way_to, self.address, settings, state_dir)
                self.name, self.fingerprint = way.name, way.fingerprint
                async with way.client() as client:
                    return await self._drive(start(), client)
            raise SyncError(
                Cause.SILENT,
                f"{self.label} was not done within {ATTEMPT_MAX_S:g} s",
                hint="Look whether the other node is overloaded or hangs.",
            )

    async def _drive(self, steps: Steps, client: Client) -> Any:
        try:
            step = next(steps)
            while True:
                try:
                    answer = await self._do(step, client)
                except ApplianceError as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(answer)
        except StopIteration as end:
            return end.value

    async def _do(self, step: Step, client: Client) -> object:
        match step:
            case vocabulary.AskState():
                return await self._ask(GetConfig())
            case vocabulary.AskSections(receiver=receiver, rank=rank):
                return await self._ask(GetSections(receiver=receiver, rank=rank))
            case vocabulary.AskChanges(theirs=theirs, receiver=receiver, rank=rank):
                asked = CompareSections(theirs=Hidden(theirs), receiver=receiver, rank=rank, keys_max=diff.KEYS_MAX)
                return await self._ask(asked)
            case vocabulary.Work(run=run):
                return await trio.to_thread.run_sync(run)
            case vocabulary.AskClock():
                return trio.current_time()
            case vocabulary.Sleep(seconds=seconds):
                await trio.sleep(seconds)
                return None
            case vocabulary.Call(method=method, params=params, fresh=fresh):
                if fresh:
                    await client.aclose()
                return await self._call(client, method, params)

    async def _call(self, client: Client, method: str, params: tuple[object, ...]) -> Answer:
        sent = time.time()
        with trio.move_on_after(QUESTION_S if method in QUESTIONS else math.inf):
            value = await client.call(PREFIX + method, *params)
            return Answer(value=value, sent=sent, received=time.time())
        raise SyncError(
            Cause.SILENT,
            f"{self.label} has accepted the connection and not answered {method} within {QUESTION_S:g} s",
            hint="Look whether the other node is overloaded or hangs.",
        )

    async def _ask(self, request: Request[Any]) -> object:
        try:
            return await self._ctx.call(request)
        except (NoProvider, ProviderFailed) as error:
            raise SyncError(
                Cause.OWN,
                f"this node does not say what its configuration is: {error}",
                hint="Look at the log of this node; it is tried again.",
            ) from error

    # --- what came of it ------------------------------------------------------------------------------------

    def _succeeded(self, outcome: Outcome, took_ms: int) -> None:
        now = trio.current_time()
        self.outcome = outcome
        if outcome.verdict is Verdict.UNCONFIRMED:
            # The peer has not been asked: what was wrong with it is still the last that is known.
            self.pace.waits(now, min(UNCONFIRMED_S, outcome.again_s + 0.1))
            return
        self.failure = None
        self.pace.succeeded(now)
        if outcome.verdict is Verdict.IN_SYNC:
            self.last_success = time.time()
        if outcome.pushed:
            self.last_push_ms = took_ms
            self._ctx.log.info(
                "configuration_synchronized",
                peer=self.label,
                sections=list(outcome.pushed),
                revision=outcome.revision,
                took_ms=took_ms,
            )
        if outcome.kept:
            self._ctx.log.warning("drift_overwritten", peer=self.label, copies=list(outcome.kept))

    def _failed(self, failure: Failure) -> None:
        if self.failure is None or self.failure.what != failure.what:
            self._ctx.log.warning(
                "synchronization_failed", peer=self.label, cause=str(failure.cause), why=failure.what, fix=failure.fix
            )
        self.failure = failure
        skip = 0 if failure.is_passing else ONLY_LAST if failure.cause is Cause.CUT else NO_QUICK
        self.pace.failed(trio.current_time(), skip=skip)
