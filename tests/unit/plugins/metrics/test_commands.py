"""``show metrics`` for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import ApplianceError
from appliance.events import Event, Request
from appliance.plugin import Node, NoProvider
from appliance_metrics.commands import COMMANDS, render, show_metrics

ROW = {
    "interface": "lan",
    "url": "http://192.168.1.2:9640/metrics",
    "listening": True,
    "waiting_for": None,
    "readers": ["192.168.1.0/24"],
    "served": 12,
    "refused": 1,
}


class Context:
    """A node without the service, or with a silent one."""

    node = Node(name="fw1")
    exit_code = 0

    def __init__(self, *, absent: bool) -> None:
        self._absent = absent

    async def call(self, request: Request[Any]) -> Any:
        if self._absent:
            raise NoProvider("nobody")
        await trio.sleep_forever()

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        return ()


def test_people_see_where_it_listens_and_why_not() -> None:
    waiting = ROW | {"listening": False, "waiting_for": "No such device", "readers": []}
    assert render([ROW, waiting]).splitlines() == [
        "http://192.168.1.2:9640/metrics on lan: listening",
        "  served 12, refused 1; may be read by 192.168.1.0/24",
        "http://192.168.1.2:9640/metrics on lan: NOT LISTENING: No such device",
        "  served 12, refused 1; may be read by nobody",
    ]
    assert render([]) == "no address to listen on"


@pytest.mark.parametrize(("absent", "said"), [(True, "metrics.* is not running"), (False, "did not answer within 2 s")])
async def test_a_node_without_an_answer_says_why(
    absent: bool, said: str, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(ApplianceError, match=said):
        await show_metrics(Context(absent=absent))


def test_it_only_looks() -> None:
    assert [(command.path, command.reads) for command in COMMANDS] == [(("show", "metrics"), True)]
