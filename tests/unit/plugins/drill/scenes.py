"""A node whose roles and links are kept by the test, so that it sees what is put back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.errors import ApplianceError, RefusedError
from appliance.events import LinkChanged, Reclaim, Request, Role, RoleChanged, SetEnabled, SetMaintenance, Switchover
from appliance.testing import RunningNode
from appliance_drill import service
from appliance_drill.plugin import Drill

Run = Callable[..., AbstractAsyncContextManager[RunningNode]]


@dataclass
class World:
    """What can be changed by a rehearsal."""

    resigned: bool = False
    maintenance: bool = False
    enabled: bool = True
    down: set[str] = field(default_factory=set)
    fails: list[str] = field(default_factory=list)
    """Refuses the next changes, one for each word."""
    takes_s: float = 0.0
    """How long a change takes, before it has been made and after it."""

    @property
    def is_as_it_was(self) -> bool:
        return (self.resigned, self.maintenance, self.enabled, self.down) == (False, False, True, set())

    @asynccontextmanager
    async def _change(self) -> AsyncIterator[None]:
        await trio.sleep(self.takes_s)
        if self.fails:
            raise ApplianceError(self.fails.pop(0), hint="-")
        yield
        await trio.sleep(self.takes_s)

    async def switchover(self, _: Request[str]) -> str:
        async with self._change():
            self.resigned = True
        return "handed over"

    async def reclaim(self, _: Request[str]) -> str:
        if not self.resigned:
            raise RefusedError("there is no switchover to end", hint="-")
        async with self._change():
            self.resigned = False
        return "may become MASTER"

    async def set_maintenance(self, request: Request[str]) -> str:
        assert isinstance(request, SetMaintenance)
        async with self._change():
            self.maintenance = request.on
        return "done"

    async def set_enabled(self, request: Request[str]) -> str:
        assert isinstance(request, SetEnabled)
        async with self._change():
            self.enabled = request.on
        return "done"

    async def set_link(self, device: str, up: bool) -> None:
        async with self._change():
            (self.down.discard if up else self.down.add)(device)


@asynccontextmanager
async def staged(
    run_service: Run, monkeypatch: pytest.MonkeyPatch, world: World, state_dir: Path, **options: Any
) -> AsyncIterator[RunningNode]:
    """A node with the plugin, in this world."""
    monkeypatch.setattr(service, "set_link", world.set_link)
    async with run_service(Drill, state_dir=state_dir, **options) as node:
        with ExitStack() as stack:
            for kind, handler in (
                (Switchover, world.switchover),
                (Reclaim, world.reclaim),
                (SetMaintenance, world.set_maintenance),
                (SetEnabled, world.set_enabled),
            ):
                stack.enter_context(node.bus.serve(kind, handler, source="carp/heartbeat"))
            for name in ("wan", "lan"):
                node.publish(LinkChanged(interface=name, device=f"{name}0", present=True, up=True))
                node.publish(RoleChanged(interface=name, vhid=1, role=Role.MASTER, reason="test"))
            yield node
