"""A command that asks a service gets its answer, or an operator the reason why there is none."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from appliance.errors import ApplianceError
from appliance.events import Request
from appliance.plugin import NoProvider, ask, ask_if_running


class GetNumber(Request[int]):
    """Any number."""


class Asker:
    """A bus with one provider, or none."""

    def __init__(self, answers: Any) -> None:
        self._answers = answers

    async def call(self, request: Request[Any]) -> Any:
        await trio.lowlevel.checkpoint()
        return await self._answers(request)


async def answering(request: Request[Any]) -> int:
    assert isinstance(request, GetNumber)
    return 7


async def missing(request: Request[Any]) -> int:
    raise NoProvider(type(request).__name__)


async def hanging(request: Request[Any]) -> int:
    await trio.sleep_forever()
    raise AssertionError(request)


async def test_the_answer_is_handed_on(autojump_clock: trio.testing.MockClock) -> None:
    del autojump_clock
    assert await ask(Asker(answering), GetNumber(), table="carp") == 7
    assert await ask_if_running(Asker(answering), GetNumber()) == 7


@pytest.mark.parametrize(
    ("answers", "what"),
    [(missing, "[carp] is not running on this node"), (hanging, "[carp] did not answer within 3 s")],
)
async def test_no_answer_names_the_table_and_where_to_look(
    answers: Any, what: str, autojump_clock: trio.testing.MockClock
) -> None:
    del autojump_clock
    with pytest.raises(ApplianceError) as refused:
        await ask(Asker(answers), GetNumber(), table="carp", within_s=3)
    assert what in refused.value.message
    assert "show services" in refused.value.hint
    assert await ask_if_running(Asker(answers), GetNumber(), within_s=3) is None
