"""The service ``messenger``: listens to the node and lets every target know. Nothing ever waits for it."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Any

import trio

from appliance.errors import UsageError
from appliance.events import (
    Alarm,
    ConfigApplied,
    ConfigRefused,
    Event,
    HandoverMeasured,
    Health,
    NodeStarted,
    NodeStopping,
    PeerChanged,
    Request,
    Retracted,
    RoleChanged,
    ServiceCrashed,
    ServiceStarted,
    Status,
)
from appliance.plugin import Context, Lagged, Started, Subscription
from appliance_notify.dialing import Dialer
from appliance_notify.events import GetNotify, SendTestNotice
from appliance_notify.news import News
from appliance_notify.settings import Settings, Target
from appliance_notify.target import Delivery, deliver
from appliance_notify.vocabulary import DeliveryError, Entry, Message, Notice

QUEUE_MAX = 256
"""Events between two looks of ours; a failover of 255 VHIDs fits."""
LAST_WORDS_S = 2.5
"""For what waits when the node stops."""
LOOK_S = 0.05
GRACE_S = 4.0


async def run(ctx: Context, task_status: Started) -> None:
    """Tell until told to stop, and then what still waits."""
    messenger = Messenger(ctx)
    async with trio.open_nursery() as nursery:
        with (
            ctx.serve(GetNotify, messenger.answer),
            ctx.serve(SendTestNotice, messenger.test),
            ctx.on_reload(messenger.reload),
        ):
            messenger.start(_settings(ctx.config), nursery)
            await nursery.start(messenger.follow_facts)
            await nursery.start(messenger.follow_life)
            await nursery.start(messenger.follow_changes)
            task_status.started()
            await ctx.stopping.wait()
            await messenger.last_words()
            nursery.cancel_scope.cancel(reason=f"{ctx.name} is stopping")


def _settings(config: object) -> Settings:
    assert isinstance(config, Settings)
    return config


class Messenger:
    """All targets."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._news = News(ctx.node.name, f"{ctx.random.getrandbits(32):08x}", time.time)
        self._targets: dict[str, Delivery] = {}
        self._dialer = Dialer({})
        self._nursery: trio.Nursery | None = None
        self._status: Status | None = None
        self._sent = ctx.metrics.counter("sent", "Notices that a target has got", ("target",))
        self._lost = ctx.metrics.counter("lost", "Notices that a target will never get", ("target",))
        self._queued = ctx.metrics.gauge("queued", "Notices that wait", ("target",))
        self._failing = ctx.metrics.gauge("failing", "1 while the last attempts have failed", ("target",))

    # --- configuration -----------------------------------------------------------------------------------------

    def start(self, settings: Settings, nursery: trio.Nursery) -> None:
        """Begin with a configuration."""
        self._nursery = nursery
        self._adopt(settings)

    async def reload(self, config: object) -> None:
        """Take another one; what waits for targets that stay is kept."""
        await trio.lowlevel.checkpoint()
        self._adopt(_settings(config))

    def _adopt(self, settings: Settings) -> None:
        assert self._nursery is not None
        self._dialer = Dialer(settings.instead)
        wanted = {target.name: target for target in settings.targets}
        for name in [name for name in self._targets if name not in wanted]:
            gone = self._targets.pop(name)
            gone.judge(gone=True)
            gone.scope.cancel(reason="the target is no longer configured")
            self._queued.set(0, target=name)
            self._failing.set(0, target=name)
        for name, target in wanted.items():
            if name in self._targets:
                self._targets[name].change(target, self._dialer)
            else:
                self._targets[name] = self._begin(target)
                self._nursery.start_soon(self._targets[name].run)
                self._count(name, 0, 0)
        self._tell_status()

    def _begin(self, target: Target) -> Delivery:
        return Delivery(
            target,
            self._dialer,
            node=self._ctx.node.name,
            log=self._ctx.log,
            publish=self._ctx.publish,
            count=self._count,
        )

    # --- what happens ------------------------------------------------------------------------------------------

    async def follow_facts(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Roles, peers and alarms. Those that hold already are news to whoever is told for the first time."""
        while True:
            with self._listen(RoleChanged, PeerChanged, Alarm, Retracted) as facts:
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                # Subscribing anew repeats what holds, and of that only the difference is news.
                await self._follow(facts)

    async def follow_life(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """The node and its services."""
        while True:
            with self._listen(NodeStarted, NodeStopping, ServiceCrashed, ServiceStarted, replay=False) as happenings:
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await self._follow(happenings)

    async def follow_changes(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Changes that somebody asked for."""
        while True:
            with self._listen(ConfigApplied, ConfigRefused, HandoverMeasured, replay=False) as happenings:
                task_status.started()
                task_status = trio.TASK_STATUS_IGNORED
                await self._follow(happenings)

    def _listen(self, *kinds: type[Event], replay: bool = True) -> AbstractContextManager[Subscription[Event]]:
        return self._ctx.subscribe(*kinds, capacity=QUEUE_MAX, replay=replay)

    async def _follow(self, events: Subscription[Event]) -> None:
        """Until too many came at once."""
        try:
            async for event in events:
                notice = self._news.take(event)
                if notice is not None:
                    self._put(notice)
        except Lagged as lagged:
            self._put(self._news.missed(lagged.missed))

    def _put(self, notice: Notice) -> None:
        for each in self._targets.values():
            each.put(notice)

    async def last_words(self) -> None:
        """Deliver what waits, in the little time there is."""
        with trio.move_on_after(LAST_WORDS_S):
            while True:
                await trio.sleep(LOOK_S)  # at first, for the event that says that the node is stopping
                waiting = [each for each in self._targets.values() if each.outbox.queued and not each.outbox.failures]
                if not waiting:
                    return
                for each in waiting:
                    each.outbox.hurry(trio.current_time())
                    each.wake()

    # --- telling -----------------------------------------------------------------------------------------------

    def _count(self, name: str, sent: int, lost: int) -> None:
        self._sent.inc(sent, target=name)
        self._lost.inc(lost, target=name)
        if name in self._targets:
            self._queued.set(self._targets[name].outbox.queued, target=name)
            self._failing.set(float(self._targets[name].is_failing), target=name)
        self._tell_status()

    def _tell_status(self) -> None:
        failing = [name for name, each in self._targets.items() if each.is_failing]
        if failing:
            status = Status(health=Health.WARN, summary=f"cannot reach {', '.join(failing)}")
        else:
            status = Status(summary=f"{len(self._targets)} targets" if self._targets else "no targets")
        if status != self._status:
            self._status = status
            self._ctx.publish(status)

    async def answer(self, _: Request[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """`GetNotify`."""
        return [each.row() for each in self._targets.values()]

    async def test(self, request: Request[list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """`SendTestNotice`: at once, without the outbox and its limits."""
        assert isinstance(request, SendTestNotice)
        if request.target is not None and request.target not in self._targets:
            known = ", ".join(self._targets) or "none"
            raise UsageError(f"there is no notify target {request.target!r}", hint=f"Configured are: {known}.")
        rows: dict[str, dict[str, Any]] = {}
        message = Message(node=self._ctx.node.name, entries=(Entry(notice=self._news.test()),))
        async with trio.open_nursery() as nursery:
            for name, each in self._targets.items():
                if request.target in (None, name):
                    nursery.start_soon(self._try, each, message, rows)
        return [rows[name] for name in self._targets if name in rows]

    async def _try(self, delivery: Delivery, message: Message, rows: dict[str, dict[str, Any]]) -> None:
        begun, error, target = trio.current_time(), None, delivery.target
        try:
            await deliver(target, message, self._dialer)
        except DeliveryError as failure:
            error = failure.reason
        else:
            delivery.is_reached()
        rows[target.name] = {
            "name": target.name,
            "kind": target.kind,
            "where": target.where,
            "delivered": error is None,
            "ms": round((trio.current_time() - begun) * 1000),
            "error": error,
        }
