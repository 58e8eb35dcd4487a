"""What a command inside the node may touch, and what the control socket needs of the node.

The views are protocols: the composition root (`appliance.host.appliance.Appliance`) satisfies them, and
this layer stays below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from appliance.config import Config
from appliance.control.access import NOBODY
from appliance.events import Event, Request
from appliance.plugin import Check, Command, Node

if TYPE_CHECKING:
    from appliance.bus import EventBus
    from appliance.metrics import MetricsRegistry

R = TypeVar("R")


class ServiceView(Protocol):
    """One supervised service, as the supervisor reports it."""

    @property
    def name(self) -> str: ...
    @property
    def plugin(self) -> str: ...
    @property
    def distribution(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def since_s(self) -> float:
        """How long it has been in this state."""
        ...

    @property
    def restarts(self) -> int: ...
    @property
    def pid(self) -> int | None: ...
    @property
    def error(self) -> str | None: ...


class SupervisorView(Protocol):
    def services(self) -> Sequence[ServiceView]: ...


class PluginView(Protocol):
    """One installed plugin, loaded or not."""

    @property
    def name(self) -> str: ...
    @property
    def distribution(self) -> str: ...
    @property
    def state(self) -> str: ...
    @property
    def enabled(self) -> bool: ...
    @property
    def error(self) -> str | None: ...


class PluginCommandView(Protocol):
    @property
    def plugin(self) -> str: ...
    @property
    def command(self) -> Command: ...


class PluginsView(Protocol):
    @property
    def entries(self) -> Sequence[PluginView]: ...
    @property
    def failures(self) -> Sequence[object]:
        """Hooks that failed when they were last called; `str` of one is a sentence."""
        ...

    def commands(self) -> Sequence[PluginCommandView]: ...
    def checks(self, config: Config) -> Sequence[tuple[str, Check]]: ...


class ApplianceView(Protocol):
    """The running node, as far as the core's own commands look at it."""

    @property
    def node(self) -> Node: ...
    @property
    def bus(self) -> EventBus: ...
    @property
    def plugins(self) -> PluginsView: ...
    @property
    def supervisor(self) -> SupervisorView: ...
    @property
    def metrics(self) -> MetricsRegistry: ...
    @property
    def config(self) -> Config: ...
    @property
    def config_path(self) -> Path: ...
    @property
    def started_wall(self) -> float: ...


class ControlContext:
    """The context of one command: the public `CommandContext`, and the node for the core's own commands."""

    def __init__(self, appliance: ApplianceView, *, who: str = NOBODY) -> None:
        self.appliance = appliance
        self.who = who
        """Login name of the caller."""
        self.exit_code = 0
        """What the caller exits with when the command returns; a command may set it."""

    @property
    def node(self) -> Node:
        return self.appliance.node

    async def call(self, request: Request[R]) -> R:
        """Ask the provider of a request, under the caller's deadline."""
        return await self.appliance.bus.call(request)

    def retained(self, kind: type[Event]) -> tuple[Event, ...]:
        """The retained events of this type, oldest first."""
        return tuple(envelope.event for envelope in self.appliance.bus.retained(kind))
