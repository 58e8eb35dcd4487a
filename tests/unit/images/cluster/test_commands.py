"""What people type and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from trio.testing import MockClock

from appliance.errors import ApplianceError
from appliance.events import Event, Request
from appliance.plugin import Node, NoProvider
from appliance_images.cluster import commands
from appliance_images.cluster.events import GetUpgrade, UpgradeCluster


class Context:
    """A node that answers with the next of these states at each look."""

    node = Node(name="fw1")

    def __init__(self, *states: dict[str, Any], absent: bool = False) -> None:
        self.exit_code = 0
        self.asked: list[Request[Any]] = []
        self._states, self._absent = list(states), absent

    async def call(self, request: Request[Any]) -> Any:
        self.asked.append(request)
        if self._absent:
            raise NoProvider("nobody")
        if isinstance(request, UpgradeCluster):
            return {"begun": not request.dry_run, "plan": ["fw2 first", "fw1 then"]}
        return self._states.pop(0)

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        raise AssertionError(kind)


def state(phase: str, *notes: str, sent: str = "", why: str = "") -> dict[str, Any]:
    told = [{"at": 1.0, "what": what} for what in notes]
    return {"phase": phase, "version": "2", "sent": sent, "why": why, "notes": told}


async def lines(context: Context, *, dry_run: bool = False) -> list[str]:
    return [line["what"] async for line in commands.upgrade_cluster(context, file="f", dry_run=dry_run)]


async def test_the_story_is_told_as_it_goes(autojump_clock: MockClock) -> None:
    context = Context(
        state("send", "sends"),
        state("send", "sends", sent="50 %"),
        state("done", "sends", "both are new", sent="100 %"),
    )
    assert await lines(context) == ["plan: fw2 first", "plan: fw1 then", "sends", "sent 50 %", "both are new"]
    assert context.exit_code == 0


async def test_a_failure_is_an_exit_status(autojump_clock: MockClock) -> None:
    context = Context(state("failed", "failed: no"))
    assert (await lines(context))[-1] == "failed: no"
    assert context.exit_code == 1
    context = Context(state("failed", "failed: no"))
    now = await commands.upgrade_status(context)
    assert context.exit_code == 1
    assert commands.render_status(now) == "failed: to 2\n  failed: no"


async def test_a_dry_run_only_plans(autojump_clock: MockClock) -> None:
    context = Context()
    assert await lines(context, dry_run=True) == ["plan: fw2 first", "plan: fw1 then"]
    assert not any(isinstance(each, GetUpgrade) for each in context.asked)


async def test_a_node_without_the_service_says_what_it_needs(autojump_clock: MockClock) -> None:
    with pytest.raises(ApplianceError, match="does not take part") as caught:
        await lines(Context(absent=True))
    assert "[upgrade]" in caught.value.hint
    assert commands.render_status({"phase": "none"}) == "no upgrade of the cluster was begun on this node"
