"""The context of a service in this process."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.bus import EventBus
from appliance.events import Demotion, Request, Status, request
from appliance.host.context import ServiceContext
from appliance.logs import logger
from appliance.metrics import MetricsRegistry
from appliance.plugin.context import Context, NoProvider
from appliance.plugin.node import Node


@request
class Double(Request[int]):
    """Asks for twice a number."""

    number: int


def make(tmp_path: Path, bus: EventBus | None = None, registry: MetricsRegistry | None = None) -> ServiceContext:
    return ServiceContext(
        bus=bus or EventBus(),
        name="carp/lan",
        plugin="carp",
        config={"vhid": 1},
        node=Node(name="fw1"),
        state_dir=tmp_path,
        metrics=registry or MetricsRegistry(),
        log=logger(service="carp/lan"),
        rng=random.Random(1),
    )


def weights(bus: EventBus, reason: str) -> list[int]:
    """Every demotion published for a reason, from the trace."""
    found = [envelope.event for envelope in bus.trace]
    return [event.weight for event in found if isinstance(event, Demotion) and event.reason == reason]


def test_it_is_what_plugins_are_promised(tmp_path: Path) -> None:
    async def main() -> None:
        ctx = make(tmp_path)
        assert isinstance(ctx, Context)
        assert (ctx.name, ctx.config, ctx.node.name) == ("carp/lan", {"vhid": 1}, "fw1")
        assert ctx.state_dir == tmp_path / "carp"
        assert ctx.state_dir.is_dir()
        assert not ctx.stopping.is_set()

    trio.run(main)


def test_events_carry_the_name_of_the_service_as_their_source(tmp_path: Path) -> None:
    async def main() -> None:
        bus = EventBus()
        make(tmp_path, bus).publish(Status(summary="fine"))
        assert [(item.source, item.event) for item in bus.retained(Status)] == [("carp/lan", Status(summary="fine"))]

    trio.run(main)


def test_a_demotion_is_withdrawn_however_the_block_ends(tmp_path: Path) -> None:
    async def main() -> None:
        bus = EventBus()
        ctx = make(tmp_path, bus)

        def work() -> None:
            with ctx.demoted("link:lan", 100):
                assert weights(bus, "link:lan") == [100]
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            work()
        assert weights(bus, "link:lan") == [100, 0]

    trio.run(main)


def test_the_heaviest_of_equal_reasons_counts_and_the_last_to_end_withdraws_it(tmp_path: Path) -> None:
    async def main() -> None:
        bus = EventBus()
        ctx = make(tmp_path, bus)
        with ctx.demoted("link:lan", 10):
            with ctx.demoted("link:lan", 50):
                with ctx.demoted("link:lan", 20), ctx.demoted("other", 1):
                    pass
                with ctx.demoted("link:lan", 50):
                    pass
            assert weights(bus, "link:lan") == [10, 50, 10]
        assert weights(bus, "link:lan") == [10, 50, 10, 0]
        assert weights(bus, "other") == [1, 0]
        with ctx.demoted("link:lan", 7):
            pass
        assert weights(bus, "link:lan")[-2:] == [7, 0]

    trio.run(main)


def test_overlapping_demotions_may_end_in_any_order(tmp_path: Path) -> None:
    async def main() -> None:
        bus = EventBus()
        ctx = make(tmp_path, bus)
        first, second = ctx.demoted("x", 30), ctx.demoted("x", 20)
        first.__enter__()
        second.__enter__()
        first.__exit__(None, None, None)
        assert weights(bus, "x") == [30, 20]
        second.__exit__(None, None, None)
        assert weights(bus, "x") == [30, 20, 0]

    trio.run(main)


def test_a_demotion_out_of_range_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    async def main() -> None:
        ctx = make(tmp_path)
        for weight in (-1, 241):
            with pytest.raises(ValueError, match="0 to 240"), ctx.demoted("x", weight):
                pass

    trio.run(main)


def test_one_reload_handler_at_a_time(tmp_path: Path) -> None:
    async def handler(config: object) -> None: ...

    async def main() -> None:
        ctx = make(tmp_path)
        with ctx.on_reload(handler):
            assert ctx.reload_handler is handler
            with pytest.raises(RuntimeError, match="already"), ctx.on_reload(handler):
                pass
            assert ctx.reload_handler is handler
        assert ctx.reload_handler is None

    trio.run(main)


def test_requests_are_answered_while_the_block_lasts(tmp_path: Path) -> None:
    async def double(asked: Request[int]) -> int:
        assert isinstance(asked, Double)
        return asked.number * 2

    async def main() -> None:
        ctx = make(tmp_path)
        with ctx.serve(Double, double):
            assert await ctx.call(Double(number=21)) == 42
        with pytest.raises(NoProvider):
            await ctx.call(Double(number=21))

    trio.run(main)


def test_metrics_are_named_after_the_plugin(tmp_path: Path) -> None:
    async def main() -> None:
        registry = MetricsRegistry()
        make(tmp_path, registry=registry).metrics.counter("adverts_sent", "Adverts sent").inc(3)
        assert "carp_adverts_sent" in registry.exposition()

    trio.run(main)
