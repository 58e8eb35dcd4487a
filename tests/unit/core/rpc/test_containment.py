"""Errors end here; cancellation does not."""

from __future__ import annotations

import trio

from appliance.rpc.containment import attempt
from tests.unit.core.rpc.peers import run


def test_a_result_or_an_error_comes_back_as_a_value() -> None:
    defect = RuntimeError("a defect")

    async def works() -> int:
        return 7

    async def fails() -> int:
        raise defect

    async def main() -> None:
        assert await attempt(works) == 7
        assert await attempt(fails) is defect

    run(main)


def test_a_group_of_errors_is_contained_too() -> None:
    async def fail() -> None:
        raise RuntimeError("inner")

    async def fails() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)

    async def main() -> None:
        assert isinstance(await attempt(fails), ExceptionGroup)

    run(main)


def test_cancellation_passes() -> None:
    async def main() -> None:
        with trio.move_on_after(0.01) as scope:
            await attempt(trio.sleep_forever)
        assert scope.cancelled_caught

    run(main)
