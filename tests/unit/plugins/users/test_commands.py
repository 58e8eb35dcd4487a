"""What people type: ``show users`` and ``user password``."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import ApplianceError, UsageError
from appliance.events import Event, Request
from appliance.identity.passwords import verify_password
from appliance.plugin import Node, NoProvider
from appliance_users.commands import ANSWER_S, COMMANDS, render_hash, render_users, show_users, user_password
from appliance_users.events import GetUsers
from appliance_users.settings import UserRow


class Context:
    """A node on which the service is absent, or silent."""

    def __init__(self, *, silent: bool) -> None:
        self.node = Node(name="fw1")
        self._silent = silent

    async def call(self, request: Request[Any]) -> Any:
        assert isinstance(request, GetUsers)
        if not self._silent:
            raise NoProvider("nobody serves GetUsers")
        await trio.sleep_forever()

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        return ()


async def test_without_the_table_everybody_may_do_everything_and_that_is_said(
    autojump_clock: trio.testing.MockClock,
) -> None:
    shown = await show_users(Context(silent=False))
    assert shown == []
    first, what_to_do = render_users(shown).split("\n")
    assert first == "no users: every member of the group `appliance` may do everything on this node"
    assert "[users.NAME]" in what_to_do


async def test_a_service_that_hangs_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    with pytest.raises(ApplianceError, match=f"did not answer within {ANSWER_S:g} s") as error:
        await show_users(Context(silent=True))
    assert "show services" in error.value.hint


def test_people_read_a_line_for_each_user() -> None:
    rows = [
        UserRow(name="olga", role="operator", has_password=True, ssh_keys=2, description="night shift").data(),
        UserRow(name="eve", role="viewer", disabled=True).data(),
        UserRow(name="push", role="sync", has_password=True, nosync=True).data(),
    ]
    assert render_users(rows).splitlines() == [
        "NAME  ROLE      PASSWORD  SSH KEYS  STATE                   DESCRIPTION",
        "olga  operator  yes       2         active                  night shift",
        "eve   viewer    no        no        disabled",
        "push  sync      yes       no        active, this node only",
    ]


def test_an_empty_table_restricts_nobody() -> None:
    assert render_users([]).startswith("no users: every member of the group `appliance` may do everything")


def test_only_looking_at_the_users_changes_nothing() -> None:
    assert {command.path: command.reads for command in COMMANDS} == {
        ("show", "users"): True,
        ("user", "password"): False,
    }


@pytest.mark.parametrize("line", ["right\n", "right\r\n", "right", "right\nmore\n"])
def test_a_line_of_standard_input_becomes_a_hash_for_the_file(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(line))
    data = user_password()
    assert verify_password("right", data["hash"])
    assert render_hash(data) == f'hash = "{data["hash"]}"'


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    answers = iter(words)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))


def test_a_password_is_asked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "right", "right")
    assert verify_password("right", user_password()["hash"])


def test_a_password_that_is_mistyped_is_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    typed(monkeypatch, "right", "wrong")
    with pytest.raises(UsageError, match="the two passwords differ"):
        user_password()


@pytest.mark.parametrize(("line", "said"), [("\n", "is empty"), ("x" * 1025, "more than 1024 bytes"), ("", "is empty")])
def test_what_cannot_be_a_password_is_refused(line: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(line))
    with pytest.raises(ApplianceError, match=said):
        user_password()
