"""A call behaves as a function call, whatever happens to its provider."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from appliance.bus import EventBus
from appliance.bus.calls import Answered, Called
from appliance.errors import PluginError, RefusedError
from appliance.events import Event, Request, event, request
from appliance.plugin import NoProvider, ProviderFailed


@request
class Double(Request[int]):
    """Asks for twice the number."""

    n: int


@event()
class Doubled(Event):
    """Published in the course of answering."""

    n: int


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def double(wanted: Request[int]) -> int:
    assert isinstance(wanted, Double)
    await trio.sleep(1)
    return wanted.n * 2


def test_a_request_is_answered_by_its_provider() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.serve(Double, double, source="math/a"):
            assert await bus.call(Double(n=21)) == 42
            assert bus.statistics().providers == (("Double", "math/a"),)
        with pytest.raises(NoProvider, match="nobody serves Double"):
            await bus.call(Double(n=1))

    run(main)


def test_a_second_provider_is_refused_by_name_and_the_first_keeps_serving() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.serve(Double, double, source="math/a"):
            second = bus.serve(Double, double, source="math/b")
            with pytest.raises(PluginError, match="math/b cannot serve Double: math/a already does"), second:
                pytest.fail("two providers")
            assert await bus.call(Double(n=1)) == 2

    run(main)


def test_what_the_provider_raises_on_purpose_passes_unchanged() -> None:
    refusal = RefusedError("no healthy peer", hint="use --force")

    async def refuse(_: Request[int]) -> int:
        raise refusal

    async def refuse_from_a_nursery(wanted: Request[int]) -> int:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse, wanted)
        return 0

    async def main() -> None:
        bus = EventBus()
        for handler in (refuse, refuse_from_a_nursery):
            with bus.serve(Double, handler, source="math/a"), pytest.raises(RefusedError) as raised:
                await bus.call(Double(n=1))
            assert raised.value is refusal

    run(main)


def test_a_bug_of_the_provider_is_wrapped_with_its_cause() -> None:
    async def broken(_: Request[int]) -> int:
        raise ZeroDivisionError("by zero")

    async def asks_further(_: Request[int]) -> int:
        raise NoProvider("nobody serves Other")

    async def main() -> None:
        bus = EventBus()
        for handler, kind in ((broken, ZeroDivisionError), (asks_further, NoProvider)):
            with bus.serve(Double, handler, source="math/a"), pytest.raises(ProviderFailed) as raised:
                await bus.call(Double(n=1))
            assert type(raised.value.__cause__) is kind
            assert "math/a failed to answer Double" in str(raised.value)

    run(main)


def test_a_provider_that_stops_while_called_leaves_nobody_hanging() -> None:
    async def hang(_: Request[int]) -> int:
        await trio.sleep_forever()
        return 0

    async def hang_and_stumble(_: Request[int]) -> int:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("socket closed")  # a finally that makes it worse

    async def main() -> None:
        bus = EventBus()
        outcomes: list[str] = []

        async def caller() -> None:
            try:
                await bus.call(Double(n=1))
            except NoProvider as error:
                outcomes.append(str(error))

        for handler in (hang, hang_and_stumble):
            async with trio.open_nursery() as nursery:
                with bus.serve(Double, handler, source="math/a"):
                    nursery.start_soon(caller)
                    await trio.testing.wait_all_tasks_blocked()
        assert outcomes == ["math/a stopped while answering"] * 2

    run(main)


def test_the_callers_deadline_holds() -> None:
    async def main() -> None:
        bus = EventBus()
        with bus.serve(Double, double, source="math/a"):
            with trio.move_on_after(0.5) as scope:
                await bus.call(Double(n=1))
            assert scope.cancelled_caught
            assert trio.current_time() - scope.deadline == pytest.approx(0)
            assert await bus.call(Double(n=4)) == 8

    run(main)


def test_calls_are_traced_and_are_causes() -> None:
    async def announce(wanted: Request[int]) -> int:
        assert isinstance(wanted, Double)
        bus.publish(Doubled(n=wanted.n), source="math/a")
        return wanted.n * 2

    bus = EventBus()

    async def main() -> None:
        with bus.serve(Double, announce, source="math/a"), bus.subscribe(Event, name="all") as everything:
            await bus.call(Double(n=2), source="console")
            after = bus.publish(Doubled(n=0), source="console")
            assert [everything.receive_nowait(), everything.receive_nowait()] == [Doubled(n=2), Doubled(n=0)]
            with pytest.raises(trio.WouldBlock):
                everything.receive_nowait()  # calls are not bus traffic
        assert after.cause is None

    run(main)
    called, doubled, answered, _ = bus.trace
    assert called.event == Called(request=Double(n=2), provider="math/a")
    assert answered.event == Answered(request_type="Double", outcome="ok")
    assert (called.source, answered.source) == ("console", "math/a")
    assert doubled.cause == answered.cause == called.seq
    assert called.to_json()["event"] == {"request": {"n": 2}, "provider": "math/a"}


def test_every_end_of_a_call_is_in_the_trace() -> None:
    async def main() -> None:
        bus = EventBus()

        async def refuse(_: Request[int]) -> int:
            raise RefusedError("not now", hint="later")

        with bus.serve(Double, refuse, source="math/a"), pytest.raises(RefusedError):
            await bus.call(Double(n=1))
        with bus.serve(Double, double, source="math/a"), trio.move_on_after(0.1):
            await bus.call(Double(n=1))
        outcomes = [e.event.outcome for e in bus.trace if isinstance(e.event, Answered)]
        assert outcomes == ["RefusedError: not now", "cancelled"]

    run(main)
