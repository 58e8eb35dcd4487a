"""Publishing, retained facts and the guard against feedback loops."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from appliance.bus import EventBus, FeedbackLoopError
from appliance.bus import bus as bus_module
from appliance.bus.bus import CAUSES_MAX
from appliance.errors import PluginError
from appliance.events import Demotion, Event, Health, Retracted, Role, RoleChanged, Status, event
from appliance.plugin import Overflow

ROLE = "appliance.events.ha:RoleChanged"


@event()
class Ticked(Event):
    """Not retained."""

    n: int


@event()
class Tocked(Event):
    """Not retained."""

    n: int


@event(retain=())
class Weather(Event):
    """One for the whole bus."""

    text: str


@event(retain="key")
class Fact(Event):
    """Retained by a key that may be anything."""

    key: object


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def role(vhid: int, to: Role = Role.MASTER) -> RoleChanged:
    return RoleChanged(interface="lan", vhid=vhid, role=to, reason="test")


def test_every_subscriber_sees_the_same_order() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.subscribe(Ticked, Tocked, name="a") as a, bus.subscribe(Event, name="b") as b:
            for n in range(5):
                bus.publish(Ticked(n=n), source="x")
                bus.publish(Tocked(n=n), source="y")
            seen_a = [await a.receive_envelope() for _ in range(10)]
            seen_b = [await b.receive_envelope() for _ in range(10)]
        assert seen_a == seen_b
        assert [e.seq for e in seen_a] == list(range(1, 11))
        assert [e.source for e in seen_a[:2]] == ["x", "y"]

    run(main)


def test_an_envelope_carries_both_clocks() -> None:
    bus = EventBus(clock=lambda: 12.5, wall=lambda: 1e9)
    envelope = bus.publish(Ticked(n=1), source="x")
    assert (envelope.monotonic, envelope.wall) == (12.5, 1e9)
    assert envelope.cause is None


def test_only_declared_events_can_be_published() -> None:
    class Undeclared(Event):
        pass

    bus = EventBus(clock=lambda: 0.0)
    with pytest.raises(TypeError, match="declare it with @event"):
        bus.publish(Undeclared(), source="x")
    with pytest.raises(TypeError, match="declare it with @event"):
        bus.publish("LinkWentDown", source="x")  # type: ignore[arg-type]


def test_publishing_in_finally_during_cancellation_reaches_everybody() -> None:
    async def main() -> None:
        bus = EventBus()

        async def leaving() -> None:
            try:
                await trio.sleep_forever()
            finally:
                bus.publish(Ticked(n=9), source="leaving")

        with bus.subscribe(Ticked, name="a") as a, bus.subscribe(Ticked, name="b") as b:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(leaving)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel(reason="test")
            assert a.receive_nowait() == b.receive_nowait() == Ticked(n=9)

    run(main)


def test_a_retained_fact_is_replaced_by_its_key_and_replayed_in_order() -> None:
    async def main() -> None:
        bus = EventBus()
        bus.publish(role(1), source="carp/lan")
        bus.publish(role(2), source="carp/lan")
        bus.publish(Ticked(n=1), source="x")
        bus.publish(role(1, Role.BACKUP), source="carp/lan")
        assert [e.event for e in bus.retained(RoleChanged)] == [role(2), role(1, Role.BACKUP)]
        assert [e.seq for e in bus.retained(Event)] == [2, 4]
        with bus.subscribe(RoleChanged, name="late") as late:
            assert [await late.receive(), await late.receive()] == [role(2), role(1, Role.BACKUP)]
            with pytest.raises(trio.WouldBlock):
                late.receive_nowait()
        with bus.subscribe(RoleChanged, name="live", replay=False) as live, pytest.raises(trio.WouldBlock):
            live.receive_nowait()

    run(main)


def test_replay_and_live_events_join_without_gap_or_duplicate() -> None:
    async def main() -> None:
        bus = EventBus()
        seen: list[int] = []

        async def publisher() -> None:
            for vhid in range(1, 101):
                bus.publish(role(vhid), source="carp/lan")
                await trio.lowlevel.checkpoint()

        async def watcher() -> None:
            with bus.subscribe(RoleChanged, name="watcher") as roles:
                while len(seen) < 100:
                    seen.append((await roles.receive()).vhid)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(publisher)
            for _ in range(37):
                await trio.lowlevel.checkpoint()
            assert bus.retained(RoleChanged)
            nursery.start_soon(watcher)
        assert seen == list(range(1, 101))

    run(main)


def test_retaining_by_nothing_keeps_one_and_by_source_one_per_service() -> None:
    bus = EventBus(clock=lambda: 0.0)
    for source in ("a/x", "b/y", "a/x"):
        bus.publish(Weather(text=source), source=source)
        bus.publish(Status(summary=source), source=source)
    assert [e.event for e in bus.retained(Weather)] == [Weather(text="a/x")]
    assert [e.source for e in bus.retained(Status)] == ["b/y", "a/x"]


def test_forgetting_a_source_withdraws_its_facts_and_says_so() -> None:
    async def main() -> None:
        bus = EventBus()
        bus.publish(role(1), source="carp/lan")
        bus.publish(Status(health=Health.OK), source="carp/lan")
        bus.publish(role(2), source="carp/wan")
        with bus.subscribe(Retracted, name="watcher") as retractions:
            bus.forget("carp/lan")
            got = [await retractions.receive_envelope() for _ in range(2)]
        assert [e.event for e in got] == [
            Retracted(event_type=ROLE, key=("lan", 1), source="carp/lan"),
            Retracted(event_type="appliance.events.node:Status", key=("carp/lan",), source="carp/lan"),
        ]
        assert {e.source for e in got} == {"carp/lan"}
        assert [e.event for e in bus.retained(Event)] == [role(2)]

    run(main)


def test_forgetting_leaves_a_fact_that_another_source_has_taken_over() -> None:
    bus = EventBus(clock=lambda: 0.0)
    bus.publish(Demotion(reason="link:wan", weight=120), source="old")
    bus.publish(Demotion(reason="link:wan", weight=60), source="new")
    bus.forget("old")
    assert [e.event for e in bus.retained(Demotion)] == [Demotion(reason="link:wan", weight=60)]


def test_a_refused_publish_has_no_effect_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "RETAINED_MAX", 2)

    async def main() -> None:
        bus = EventBus()
        with bus.subscribe(Event, name="all") as everything:
            with pytest.raises(TypeError, match="unhashable"):
                bus.publish(Fact(key=[1]), source="x")
            bus.publish(Fact(key=1), source="x")
            bus.publish(Fact(key=2), source="x")
            bus.publish(Fact(key=1), source="x")  # an update needs no new place
            with pytest.raises(PluginError, match="2 facts are already retained"):
                bus.publish(Fact(key=3), source="x")
            assert [everything.receive_nowait() for _ in range(3)] == [Fact(key=1), Fact(key=2), Fact(key=1)]
            with pytest.raises(trio.WouldBlock):
                everything.receive_nowait()
        assert len(bus.trace) == 3

    run(main)


def test_what_is_published_while_handling_an_event_has_it_as_cause() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.subscribe(Ticked, name="a") as ticks:
            first = bus.publish(Ticked(n=1), source="x")
            await ticks.receive()
            assert bus.publish(Tocked(n=1), source="a").cause == first.seq
            with trio.move_on_after(1):
                await ticks.receive()
            # Asking for more ended the handling, also when nothing came.
            assert bus.publish(Tocked(n=2), source="a").cause is None
            bus.publish(Ticked(n=3), source="x")
            await ticks.receive()
        assert bus.publish(Tocked(n=3), source="a").cause is None

    run(main)


def test_tasks_inherit_the_cause_unless_told_otherwise() -> None:
    async def main() -> None:
        bus = EventBus()
        caused: dict[str, int | None] = {}

        async def say(name: str) -> None:
            caused[name] = bus.publish(Tocked(n=0), source=name).cause

        with bus.subscribe(Ticked, name="a") as ticks:
            bus.publish(Ticked(n=1), source="x")
            envelope = await ticks.receive_envelope()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(say, "helper")
                with bus.handling(None):
                    nursery.start_soon(say, "service")
        with bus.handling(envelope):
            await say("bridge")
        assert caused == {"helper": envelope.seq, "service": None, "bridge": envelope.seq}

    run(main)


def test_the_cause_of_one_node_does_not_leak_into_another() -> None:
    async def main() -> None:
        one, two = EventBus(), EventBus()
        with one.subscribe(Ticked, name="a") as ticks:
            one.publish(Ticked(n=1), source="x")
            await ticks.receive()
            assert two.publish(Tocked(n=1), source="a").cause is None

    run(main)


def test_a_service_may_publish_what_it_subscribes_to() -> None:
    async def main() -> None:
        bus = EventBus()
        seen = []
        with bus.subscribe(Ticked, name="countdown") as ticks:
            bus.publish(Ticked(n=3), source="x")
            async for tick in ticks:
                seen.append(tick.n)
                if tick.n == 0:
                    break
                bus.publish(Ticked(n=tick.n - 1), source="countdown")
        assert seen == [3, 2, 1, 0]
        assert [e.cause for e in bus.trace] == [None, 1, 2, 3]

    run(main)


def test_two_services_that_chase_each_other_are_stopped_with_the_chain_printed() -> None:
    async def main() -> None:
        bus = EventBus()
        errors: list[FeedbackLoopError] = []

        async def ping() -> None:
            with bus.subscribe(Ticked, name="ping") as ticks:
                async for tick in ticks:
                    try:
                        bus.publish(Tocked(n=tick.n), source="ping/a")
                    except FeedbackLoopError as error:
                        errors.append(error)

        async def pong() -> None:
            with bus.subscribe(Tocked, name="pong") as tocks:
                async for tock in tocks:
                    bus.publish(Ticked(n=tock.n), source="pong/b")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ping)
            nursery.start_soon(pong)
            await trio.testing.wait_all_tasks_blocked()
            bus.publish(Ticked(n=0), source="x")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel(reason="test")
        assert len(errors) == 1
        assert len(errors[0].chain) == CAUSES_MAX + 1 == len(bus.trace)
        assert errors[0].chain[0].cause is None
        assert "ping/a must not publish Tocked" in errors[0].message
        assert "32 Tocked by ping/a → 33 Ticked by pong/b" in errors[0].message
        assert bus.statistics().refused == 1

    run(main)


def test_statistics_name_who_is_behind() -> None:
    now = 10.0

    async def main() -> None:
        nonlocal now
        bus = EventBus(clock=lambda: now)
        with bus.subscribe(Ticked, name="slow", capacity=8, overflow=Overflow.DROP_OLDEST) as slow:
            for n in range(10):
                bus.publish(Ticked(n=n), source="x")
            await slow.receive()
            now = 12.5
            (numbers,) = bus.statistics().subscriptions
        assert (numbers.name, numbers.types, numbers.capacity) == ("slow", ("Ticked",), 8)
        assert (numbers.queued, numbers.peak, numbers.delivered, numbers.missed) == (7, 8, 1, 2)
        assert numbers.oldest_age_s == 2.5
        assert bus.statistics().subscriptions == ()
        assert bus.statistics().published == 10

    run(main)


def test_subscribing_to_something_that_is_no_event_is_refused() -> None:
    bus = EventBus(clock=lambda: 0.0)
    for wrong in ((), (int,), (Ticked(n=1),)):
        with pytest.raises(TypeError, match="event classes are needed"), bus.subscribe(*wrong, name="a"):  # type: ignore[type-var]
            pass
    with pytest.raises(ValueError, match="at least 1"), bus.subscribe(Ticked, name="a", capacity=0):
        pass
    assert bus.statistics().subscriptions == ()
