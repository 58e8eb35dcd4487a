"""A slow, cancelled or absent subscriber is its own problem, and a loud one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from appliance.bus import EventBus
from appliance.events import Event, Retracted, Role, RoleChanged, event
from appliance.plugin import Lagged, Overflow, Subscription


@event()
class Ticked(Event):
    """Not retained."""

    n: int


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def role(vhid: int, to: Role = Role.MASTER) -> RoleChanged:
    return RoleChanged(interface="lan", vhid=vhid, role=to, reason="test")


def publish(bus: EventBus, *numbers: int) -> None:
    for n in numbers:
        bus.publish(Ticked(n=n), source="x")


def drain(subscription: Subscription[Event]) -> list[Event]:
    got = []
    while True:
        try:
            got.append(subscription.receive_nowait())
        except trio.WouldBlock:
            return got


def test_a_slow_subscriber_lags_and_is_told_before_anything_newer() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.subscribe(Ticked, name="slow", capacity=4) as slow, bus.subscribe(Ticked, name="other") as other:
            publish(bus, *range(6))
            with pytest.raises(Lagged) as lagged:
                await slow.receive()
            assert lagged.value.missed == 4
            assert drain(slow) == [Ticked(n=4), Ticked(n=5)]
            assert len(drain(other)) == 6

    run(main)


def test_losses_add_up_until_they_are_reported_once() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.subscribe(Ticked, name="slow", capacity=2) as slow:
            publish(bus, *range(7))
            with pytest.raises(Lagged) as lagged:
                slow.receive_nowait()
            assert lagged.value.missed == 6
            assert drain(slow) == [Ticked(n=6)]
            assert bus.statistics().subscriptions[0].missed == 6

    run(main)


def test_a_service_that_does_not_catch_lagged_crashes() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.subscribe(Ticked, name="slow", capacity=1) as slow:
            publish(bus, 1, 2)
            with pytest.raises(Lagged):
                await anext(aiter(slow))  # what `async for` does

    run(main)


def test_a_display_keeps_the_newest_and_is_not_disturbed() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.subscribe(Ticked, name="display", capacity=3, overflow=Overflow.DROP_OLDEST) as display:
            publish(bus, *range(10))
            assert drain(display) == [Ticked(n=7), Ticked(n=8), Ticked(n=9)]
            assert bus.statistics().subscriptions[0].missed == 7

    run(main)


def test_a_watcher_of_state_gets_the_latest_of_each_key_in_order() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.subscribe(RoleChanged, Ticked, name="watch", capacity=1, overflow=Overflow.COALESCE) as watch:
            for _ in range(50):
                for vhid in range(1, 256):
                    bus.publish(role(vhid, Role.BACKUP), source="carp/lan")
            publish(bus, 1, 2)  # not facts: both are kept
            bus.publish(role(7), source="carp/lan")
            got = drain(watch)
        assert len(got) == 257
        assert got[-3:] == [Ticked(n=1), Ticked(n=2), role(7)]
        assert bus.statistics().subscriptions == ()

    run(main)


def test_a_retraction_supersedes_the_fact_it_withdraws_in_a_coalescing_queue() -> None:
    async def main() -> None:
        bus = EventBus()
        bus.publish(role(1), source="carp/lan")
        with bus.subscribe(RoleChanged, Retracted, name="watch", overflow=Overflow.COALESCE) as watch:
            bus.publish(role(2), source="carp/lan")
            bus.forget("carp/lan")
            bus.publish(role(2, Role.BACKUP), source="carp/lan")
            got = drain(watch)
        assert [type(each) for each in got] == [Retracted, RoleChanged]
        assert got[1] == role(2, Role.BACKUP)

    run(main)


def test_a_large_replay_does_not_make_a_fresh_subscriber_lag() -> None:
    async def main() -> None:
        bus = EventBus()
        for vhid in range(1, 256):
            bus.publish(role(vhid), source="carp/lan")
        with bus.subscribe(RoleChanged, name="fresh", capacity=2) as fresh:
            bus.publish(role(1, Role.BACKUP), source="carp/lan")
            assert len(drain(fresh)) == 256
            assert bus.statistics().subscriptions[0].peak == 1
            # Once it has caught up, the capacity is what was asked for.
            for vhid in (1, 2, 3):
                bus.publish(role(vhid), source="carp/lan")
            with pytest.raises(Lagged):
                fresh.receive_nowait()

    run(main)


def test_cancelling_a_parked_receiver_loses_nothing() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.subscribe(Ticked, name="a") as ticks:
            with trio.move_on_after(1) as scope:
                await ticks.receive()
            assert scope.cancelled_caught
            publish(bus, 1)
            assert await ticks.receive() == Ticked(n=1)

    run(main)


def test_an_event_that_arrives_together_with_the_cancellation_is_not_lost() -> None:
    async def main() -> None:
        bus = EventBus()
        got: list[Ticked] = []

        async def receiver(scope: trio.CancelScope, ticks: Subscription[Ticked]) -> None:
            with scope:
                while True:
                    got.append(await ticks.receive())

        for publish_first in (True, False):
            got.clear()
            with bus.subscribe(Ticked, name="a") as ticks:
                async with trio.open_nursery() as nursery:
                    scope = trio.CancelScope()
                    nursery.start_soon(receiver, scope, ticks)
                    await trio.testing.wait_all_tasks_blocked()
                    if publish_first:
                        publish(bus, 1)
                    scope.cancel(reason="test")
                    publish(bus, 2)
                left = drain(ticks)
            assert [*got, *left] == ([Ticked(n=1)] if publish_first else []) + [Ticked(n=2)]

    run(main)


def test_receiving_is_a_checkpoint_also_when_something_is_queued() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.subscribe(Ticked, name="a") as ticks:
            publish(bus, 1)
            with trio.testing.assert_checkpoints():
                await ticks.receive()
            publish(bus, 2)
            with trio.CancelScope() as scope:
                scope.cancel(reason="test")
                await ticks.receive()
            assert scope.cancelled_caught
            assert drain(ticks) == [Ticked(n=2)]

    run(main)


def test_two_tasks_may_share_a_subscription() -> None:
    async def main() -> None:
        bus = EventBus()
        got: list[Event] = []

        async def worker(ticks: Subscription[Ticked]) -> None:
            async for tick in ticks:
                got.append(tick)

        with bus.subscribe(Ticked, name="pool") as ticks:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(worker, ticks)
                nursery.start_soon(worker, ticks)
                await trio.testing.wait_all_tasks_blocked()
                publish(bus, *range(20))
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel(reason="test")
        assert sorted(each.n for each in got if isinstance(each, Ticked)) == list(range(20))

    run(main)


def test_leaving_the_block_wakes_whoever_still_waits() -> None:
    async def main() -> None:
        bus = EventBus()
        outcomes: list[str] = []

        async def receiver(ticks: Subscription[Ticked]) -> None:
            try:
                await ticks.receive()
            except trio.ClosedResourceError:
                outcomes.append("closed")

        async with trio.open_nursery() as nursery:
            with bus.subscribe(Ticked, name="a") as ticks:
                nursery.start_soon(receiver, ticks)
                await trio.testing.wait_all_tasks_blocked()
        assert outcomes == ["closed"]
        publish(bus, 1)
        with pytest.raises(trio.ClosedResourceError):
            ticks.receive_nowait()

    run(main)


def test_a_subscription_gets_each_event_once_however_many_of_its_classes_match() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.subscribe(Ticked, Event, name="a") as both:
            publish(bus, 1)
            assert drain(both) == [Ticked(n=1)]

    run(main)
