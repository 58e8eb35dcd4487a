"""Digests of the sections in force are computed once for each revision and never late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

from appliance.errors import RefusedError
from appliance.events import ConfigApplied
from appliance.events.config import ConfigState, GetConfig, Hidden, Section
from appliance_xmlrpc_sync.facts import TRIES, Facts


class Commits:
    """A subscription to `ConfigApplied`, and the core behind it."""

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.asked: list[str] = []
        self.while_answering: Callable[[], None] = lambda: None

    def commit(self, revision: int) -> None:
        self.waiting = [revision]

    def receive_nowait(self) -> ConfigApplied:
        if not self.waiting:
            raise trio.WouldBlock
        return ConfigApplied(revision=self.waiting.pop(), tables=())

    async def call(self, request: Any) -> Any:
        self.asked.append(type(request).__name__)
        await trio.lowlevel.checkpoint()
        self.while_answering()
        if isinstance(request, GetConfig):
            return ConfigState(revision=1, text=Hidden(""), unconfirmed_s=None, addresses={}, schemas={})
        return (Section(name="rules", owner="rules", digest="a" * 64, data=Hidden({})),)


def facts() -> tuple[Commits, Facts]:
    core = Commits()
    core.commit(1)
    return core, Facts(core, core)  # type: ignore[arg-type]


def test_a_revision_is_looked_at_once() -> None:
    core, made = facts()

    async def main() -> None:
        first = await made.picture()
        assert (first.revision, first.digests) == (1, {"rules": "a" * 64})
        assert await made.picture() is first
        core.commit(2)
        assert (await made.picture()).revision == 2
        assert await made.state() is await made.state()

    trio.run(main)
    assert core.asked == ["GetSections", "GetSections", "GetConfig"]


def test_a_commit_during_a_look_makes_it_look_again() -> None:
    core, made = facts()

    def once() -> None:
        core.commit(2)
        core.while_answering = lambda: None

    core.while_answering = once

    async def main() -> None:
        assert (await made.picture()).revision == 2

    trio.run(main)
    assert core.asked == ["GetSections"] * 2


def test_a_configuration_that_never_rests_is_given_up() -> None:
    core, made = facts()
    numbers = iter(range(2, 100))
    core.while_answering = lambda: core.commit(next(numbers))

    async def main() -> None:
        with pytest.raises(RefusedError, match="changes all the time"):
            await made.picture()

    trio.run(main)
    assert len(core.asked) == TRIES
