"""A node as the control socket sees it, with the real bus and the real metrics, and nothing that runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.bus import EventBus
from appliance.config import Config
from appliance.config.model import NodeTable
from appliance.metrics import MetricsRegistry
from appliance.net import clock
from appliance.plugin import Check, Command, Node


@dataclass(frozen=True, kw_only=True)
class SomeService:
    name: str
    plugin: str = "carp"
    distribution: str = "ha-appliance"
    state: str = "running"
    since_s: float = 10.0
    restarts: int = 0
    pid: int | None = None
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class SomePlugin:
    name: str
    distribution: str = "ha-appliance"
    state: str = "loaded"
    enabled: bool = True
    error: str | None = None


@dataclass(frozen=True, kw_only=True)
class SomeCommand:
    command: Command
    plugin: str = "carp"


@dataclass
class SomePlugins:
    entries: list[SomePlugin] = field(default_factory=list)
    contributed: list[Command] = field(default_factory=list)
    looked_at: list[tuple[str, Check]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def commands(self) -> Sequence[SomeCommand]:
        return [SomeCommand(command=command) for command in self.contributed]

    def checks(self, config: Config) -> Sequence[tuple[str, Check]]:
        assert config.node.name
        return self.looked_at


@dataclass
class SomeSupervisor:
    running: list[SomeService] = field(default_factory=list)

    def services(self) -> Sequence[SomeService]:
        return self.running


class SomeNode:
    """Satisfies `appliance.control.context.ApplianceView`."""

    service = SomeService
    plugin = SomePlugin

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        wall = 1_700_000_000.0
        self.node = Node(name="fw1")
        self.bus = EventBus(clock=clock, wall=lambda: wall) if clock else EventBus(wall=lambda: wall)
        self.plugins = SomePlugins()
        self.supervisor = SomeSupervisor()
        self.metrics = MetricsRegistry()
        self.config = Config({}, node=NodeTable(name="fw1"))
        self.config_path = Path("appliance.toml")
        self.started_wall = wall


@pytest.fixture
def make_node(monkeypatch: pytest.MonkeyPatch) -> Callable[..., SomeNode]:
    """Makes a node on a machine whose clock is kept; give it a clock to use it outside of trio."""
    monkeypatch.setattr(clock, "read", lambda: clock.Clock(synchronized=True, max_error_s=0.001))
    return SomeNode
