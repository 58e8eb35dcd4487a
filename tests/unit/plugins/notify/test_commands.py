"""What people type and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import ApplianceError
from appliance.events import Event, Request
from appliance.plugin import Node, NoProvider
from appliance_notify.commands import COMMANDS, notify_test, render_targets, render_test, show_notify
from appliance_notify.events import SendTestNotice

ROW = {
    "name": "chat",
    "kind": "webhook",
    "where": "https://chat.example.net:443",
    "classes": [],
    "severity": "warning",
    "sent": 12,
    "messages": 5,
    "lost": 0,
    "queued": 0,
    "failures": 0,
    "last_sent": "2026-01-02T03:04:05.678Z",
    "last_error": None,
}
DELIVERED = {
    "name": "chat",
    "kind": "webhook",
    "where": "https://chat.example.net:443",
    "delivered": True,
    "ms": 41,
    "error": None,
}
FAILED = DELIVERED | {"name": "noc", "delivered": False, "error": "cannot connect"}


class Context:
    """A node with these answers; silent without one, without a service if that is asked for."""

    node = Node(name="fw1")

    def __init__(self, answer: Any = None, *, absent: bool = False) -> None:
        self.exit_code = 0
        self.asked: list[Request[Any]] = []
        self._answer, self._absent = answer, absent

    async def call(self, request: Request[Any]) -> Any:
        self.asked.append(request)
        if self._absent:
            raise NoProvider("nobody")
        if self._answer is None:
            await trio.sleep_forever()
        return self._answer

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        return ()


def test_people_see_a_line_for_each_target_and_why_it_fails() -> None:
    bad = ROW | {
        "name": "noc",
        "kind": "mail",
        "where": "noc@example.net by mail.example.net:587",
        "classes": ["peer", "role"],
        "queued": 3,
        "failures": 4,
        "last_sent": None,
        "last_error": "cannot connect",
    }
    assert render_targets([ROW, bad]).splitlines() == [
        "NAME  KIND     WHERE                                    FROM                  SENT  LOST  QUEUED  LAST SENT",
        "chat  webhook  https://chat.example.net:443             warning               12    0     0"
        "       2026-01-02T03:04:05Z",
        "noc   mail     noc@example.net by mail.example.net:587  warning of peer role  12    0     3       never",
        "",
        "noc: failed 4 times in a row: cannot connect",
    ]
    assert render_targets([]) == "no targets are configured"


def test_people_see_what_became_of_a_test() -> None:
    assert render_test([DELIVERED, FAILED]).splitlines() == [
        "chat: delivered to https://chat.example.net:443 in 41 ms",
        "noc: NOT delivered: cannot connect",
    ]
    assert render_test([]) == "no targets are configured"


@pytest.mark.parametrize(("answer", "status"), [([DELIVERED], 0), ([DELIVERED, FAILED], 1)])
async def test_scripts_notice_a_test_that_fails(
    answer: list[dict[str, Any]], status: int, autojump_clock: trio.testing.MockClock
) -> None:
    context = Context(answer)
    assert await notify_test(context, target="chat") == answer
    assert (context.exit_code, context.asked) == (status, [SendTestNotice(target="chat")])


async def test_a_node_without_the_service_says_what_to_do(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(ApplianceError, match=r"notify.* is not running") as error:
        await show_notify(Context(absent=True))
    assert "[notify]" in error.value.hint


async def test_a_service_that_hangs_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(ApplianceError, match="did not answer within"):
        await show_notify(Context())


def test_only_looking_changes_nothing() -> None:
    assert {command.path: command.reads for command in COMMANDS} == {
        ("show", "notify"): True,
        ("notify", "test"): False,
    }
