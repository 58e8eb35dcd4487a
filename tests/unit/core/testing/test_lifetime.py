"""Services are started and stopped once; those that cannot stop are named."""

from __future__ import annotations

import trio

from appliance.config import Config
from appliance.plugin import Context, Service, Started, hookimpl
from appliance.testing.conformance import NODE
from appliance.testing.lifetime import start_and_stop


def offers(*services: Service) -> type:
    return type("Sample", (), {"api": (1, 0), "appliance_services": hookimpl(lambda self: services)})


async def endless(ctx: Context, started: Started) -> None:
    started.started()
    await trio.sleep_forever()


async def slow_last_words(ctx: Context, started: Started) -> None:
    started.started()
    try:
        await trio.sleep_forever()
    finally:
        with trio.move_on_after(2, shield=True):
            await trio.sleep_forever()


def test_a_service_that_is_cancelled_after_its_grace_is_fine() -> None:
    assert start_and_stop(offers(Service(key="a", run=endless)), Config({}, node=NODE)) == []


def test_last_words_are_short() -> None:
    (problem,) = start_and_stop(offers(Service(key="a", run=slow_last_words)), Config({}, node=NODE))
    assert "does not stop within its grace" in problem
