"""`eventually` waits for a condition and tells what it saw when it gives up."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from appliance.testing.waiting import eventually


def test_it_returns_when_the_condition_becomes_true() -> None:
    async def main() -> float:
        began = trio.current_time()
        await eventually(lambda: trio.current_time() - began >= 2)
        return trio.current_time() - began

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) == pytest.approx(2, abs=0.01)


def test_it_gives_up_with_the_last_failed_assertion() -> None:
    def condition() -> None:
        assert ["MASTER"] == [], "both are master"

    async def main() -> None:
        await eventually(condition, within_s=1, what="one master")

    with pytest.raises(AssertionError, match=r"one master was not true within 1 s: .*both are master"):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
