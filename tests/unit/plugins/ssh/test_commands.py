"""``show ssh`` for people, and a node without the service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import ApplianceError
from appliance.events import Event, Request
from appliance.plugin import Node, NoProvider
from appliance_ssh.commands import COMMANDS, disconnect, render, show_ssh

PLACE = {
    "interface": "lan",
    "address": "192.168.1.2",
    "port": 22,
    "listening": True,
    "waiting_for": None,
    "sources": ["192.168.1.0/24"],
}
SESSION = {
    "number": 3,
    "user": "olga",
    "source": "192.168.1.100",
    "interface": "lan",
    "since": "2026-01-02T03:04:05Z",
    "key": "SHA256:x",
}
DATA = {
    "host_key": "SHA256:abc",
    "listening": [PLACE],
    "users": [{"name": "olga", "keys": 1, "problem": None}],
    "sessions": [SESSION],
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


def test_people_see_addresses_the_host_key_and_who_is_in() -> None:
    assert render(DATA).splitlines() == [
        "192.168.1.2 port 22 on lan: listening",
        "  for 192.168.1.0/24",
        "host key: ED25519 SHA256:abc",
        "users with keys: olga",
        "SESSION  USER  FROM           INTERFACE  SINCE",
        "3        olga  192.168.1.100  lan        2026-01-02T03:04:05Z",
    ]


def test_people_see_what_is_missing() -> None:
    waiting = {**PLACE, "listening": False, "waiting_for": "No such device", "sources": []}
    unable = {"name": "olga", "keys": 1, "problem": "why"}
    assert render({**DATA, "listening": [waiting], "users": [unable], "sessions": []}).splitlines() == [
        "192.168.1.2 port 22 on lan: NOT LISTENING: No such device",
        "  for nobody",
        "host key: ED25519 SHA256:abc",
        "users with keys: none",
        "olga CANNOT LOG IN: why",
        "no sessions",
    ]


@pytest.mark.parametrize(("absent", "said"), [(True, "ssh.* is not running"), (False, "did not answer within 2 s")])
async def test_a_node_without_an_answer_says_why(
    absent: bool, said: str, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(ApplianceError, match=said):
        await show_ssh(Context(absent=absent))
    with pytest.raises(ApplianceError, match=said):
        await disconnect(Context(absent=absent), 1)


def test_who_may_only_look_ends_no_sessions() -> None:
    assert {command.path: command.reads for command in COMMANDS} == {
        ("show", "ssh"): True,
        ("ssh", "disconnect"): False,
    }
