"""`ha rehearse`: says that it has begun, waits, and leaves nothing behind when its caller goes away."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.errors import ApplianceError, RefusedError
from appliance.events import Demotion, Role, RoleChanged
from appliance.plugin import Node, NoProvider
from appliance.testing import RunningNode
from appliance_drill.commands import rehearse, render
from tests.unit.plugins.drill.scenes import Run, World, staged


class Caller:
    """A command's context on a running node."""

    exit_code = 0

    def __init__(self, node: RunningNode) -> None:
        self._node = node
        self.node = node.node
        self.call = node.call

    def retained(self, kind: type[Any]) -> list[Any]:
        return self._node.retained(kind)


async def test_it_says_when_it_has_begun_and_when_it_is_over(
    run_service: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, autojump_clock: object
) -> None:
    world = World()
    async with staged(run_service, monkeypatch, world, tmp_path) as node:
        said = await node.command("ha rehearse unplug-lan --seconds 5")
        assert [render(each) for each in said] == [
            "node1, unplug-lan: lan0 is down",
            "node1, unplug-lan: it is put back",
        ]
        assert world.is_as_it_was


async def test_a_caller_that_goes_away_ends_it(
    run_service: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, autojump_clock: object
) -> None:
    world = World()
    async with staged(run_service, monkeypatch, world, tmp_path) as node:
        begun = trio.current_time()
        # As the control socket does it: the client is gone, and the whole command is cancelled.
        with trio.move_on_after(3):
            async with aclosing(rehearse(Caller(node), name="maintenance", seconds=60)) as replies:
                async for _ in replies:
                    assert world.maintenance
        assert world.is_as_it_was
        assert trio.current_time() - begun < 4


async def test_what_somebody_has_chosen_is_not_touched(
    run_service: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world = World(maintenance=True)
    async with staged(run_service, monkeypatch, world, tmp_path) as node:
        node.publish(Demotion(reason="maintenance", weight=240))
        with pytest.raises(RefusedError, match="has demoted itself"):
            await node.command("ha rehearse maintenance")
        assert world.maintenance


def test_without_the_service_it_says_so() -> None:
    class Nobody:
        exit_code = 0
        node = Node(name="node1")

        async def call(self, request: object) -> Any:
            raise NoProvider("nobody")

        def retained(self, kind: type[Any]) -> list[Any]:
            return [RoleChanged(interface="lan", vhid=1, role=Role.MASTER, reason="-")] if kind is RoleChanged else []

    async def main() -> None:
        await anext(rehearse(Nobody(), name="disable"))

    with pytest.raises(ApplianceError, match="drill service is not running"):
        trio.run(main)
