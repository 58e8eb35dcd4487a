"""A node as a test sees it: say something, look at what happened, ask, change, wait."""

from __future__ import annotations

import inspect
import os
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import trio
import trio.testing

from appliance.bus import Envelope, EventBus
from appliance.config import Config
from appliance.console.grammar import Grammar
from appliance.events import Event, Request, ServiceCrashed
from appliance.host.plugins import Plugins
from appliance.host.supervisor import ServiceReport, Supervisor
from appliance.plugin import Finding, Node
from appliance.testing.capture import ENTRIES_MAX, Entries, logging_to

if TYPE_CHECKING:
    from appliance.metrics import MetricsRegistry

E = TypeVar("E", bound=Event)
R = TypeVar("R")

SOURCE = "test"
"""Bus source of what a test publishes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a node is made of; both kinds of nodes in tests have these."""

    bus: EventBus
    supervisor: Supervisor
    plugins: Plugins
    metrics: MetricsRegistry


class RunningNode:
    """One node inside a test. Made by `run_service`, `run_appliance` and `cluster`."""

    def __init__(
        self,
        node: Node,
        parts: Parts,
        *,
        config: Callable[[], Config],
        reload: Callable[[Any], Awaitable[object]],
        entries: Entries | None = None,
    ) -> None:
        self.node = node
        self.name = node.name
        self.bus = parts.bus
        self.supervisor = parts.supervisor
        self.plugins = parts.plugins
        self.metrics = parts.metrics
        self.entries: Entries = entries if entries is not None else deque(maxlen=ENTRIES_MAX)
        self._config = config
        self._reload = reload

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._config()

    @property
    def envelopes(self) -> tuple[Envelope, ...]:
        """The trace of the bus, oldest first."""
        return tuple(self.bus.trace)

    def publish(self, event: Event) -> None:
        """Say something on the bus of this node."""
        self.bus.publish(event, source=SOURCE)

    def events(self, kind: type[E]) -> list[E]:
        """Everything of this type that was published, in order, also after the node has stopped."""
        return [envelope.event for envelope in self.bus.trace if isinstance(envelope.event, kind)]

    def retained(self, kind: type[E]) -> list[E]:
        """The facts of this type that hold now."""
        return [envelope.event for envelope in self.bus.retained(kind) if isinstance(envelope.event, kind)]

    def log(self, name: str) -> list[dict[str, Any]]:
        """Log entries with this name, oldest first."""
        return [entry for entry in self.entries if entry.get("event") == name]

    def services(self) -> Sequence[ServiceReport]:
        """How the services are."""
        return self.supervisor.services()

    async def settled(self) -> None:
        """Wait until every task waits for time or for somebody outside."""
        await trio.testing.wait_all_tasks_blocked()

    async def call(self, request: Request[R]) -> R:
        """Ask the provider of a request."""
        return await self.bus.call(request)

    async def command(self, line: str) -> Any:
        """Run a command of this node's plugins and return its data: ``await node.command("show hello")``.

        Of one that streams, all that it says until it ends, as a list.
        """
        grammar = Grammar([entry.command for entry in self.plugins.commands()])
        parsed = grammar.parse(line.split())
        result = parsed.command.run(_Inside(self), **parsed.arguments)
        if inspect.isasyncgen(result):
            return [item async for item in result]
        return await result

    async def check(self, name: str) -> Finding:
        """Run a doctor check of this node's plugins, under its own deadline."""
        checks = {check.name: check for _plugin, check in self.plugins.checks(self.config)}
        check = checks[name]
        with trio.fail_after(check.deadline_s):
            return await check.run(_Inside(self))

    async def reload(self, config: Any) -> None:
        """Change the configuration: a mapping for `run_service`, the whole text for `run_appliance`."""
        with logging_to(self.entries):
            await self._reload(config)

    def crashes(self) -> list[str]:
        """Crashes of services and failures of hooks, one line each."""
        lines = [f"service {event.service} crashed: {event.error}" for event in self.events(ServiceCrashed)]
        return lines + [
            f"{failure.hook} of {failure.plugin} failed: {failure.error}" for failure in self.plugins.failures
        ]


class _Inside:
    """The `CommandContext` and `Probe` of commands and checks that a test runs."""

    def __init__(self, node: RunningNode) -> None:
        self._node = node
        self.exit_code = 0

    @property
    def node(self) -> Node:
        return self._node.node

    async def call(self, request: Request[R]) -> R:
        return await self._node.call(request)

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        return self._node.retained(kind)

    async def output(self, *argv: str) -> str:
        done = await trio.run_process(argv, capture_stdout=True, capture_stderr=True)
        return done.stdout.decode(errors="replace")

    def read(self, path: str) -> str:
        if not os.path.exists(path):
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()


ConfigValues = Mapping[str, object]
