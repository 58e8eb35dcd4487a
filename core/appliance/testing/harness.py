"""A plugin's services, or a whole node, inside a test: the real bus and supervisor, no sockets, no processes.

Isolated services run in the test's own process, so that virtual time works; that they *could* run in
another one is checked by `check_plugin`.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from pathlib import Path
from typing import Any

import trio

from appliance.bus import EventBus
from appliance.config import Config, LogicalInterface, Model
from appliance.config.model import NodeTable
from appliance.events import NodeStopping
from appliance.host.discovery import Found
from appliance.host.plugins import Plugins, PluginService
from appliance.host.supervisor import Supervisor
from appliance.metrics import MetricsRegistry
from appliance.plugin import ConfigTable
from appliance.plugin import Service as Service
from appliance.testing.capture import ENTRIES_MAX, Entries, capturing, logging_to
from appliance.testing.node import Parts, RunningNode
from appliance.testing.reporting import record, single_failure

PluginFactory = Callable[[], object]

DISTRIBUTION = "under-test"
"""What failures of a plugin in a test are attributed to."""

STOP_MAX_S = 60.0
"""Longest orderly end of a node in a test, in its own time; more than any grace."""


class LogicalInterfaces(Model):
    """A table that declares logical interfaces, for plugins that need some: no device has to exist.

    ``tables={"interfaces": LogicalInterfaces.of(lan="192.168.1.2/24")}``
    """

    interfaces: dict[str, list[str]] = {}
    """Addresses with prefix length, by logical name; the device is called the same."""

    @classmethod
    def of(cls, **addresses: str | Sequence[str]) -> LogicalInterfaces:
        """One interface per argument."""
        return cls(interfaces={n: [a] if isinstance(a, str) else list(a) for n, a in addresses.items()})

    def logical_interfaces(self) -> Mapping[str, LogicalInterface]:
        """All of them by logical name."""
        return {
            name: LogicalInterface(name=name, device=name, addresses=tuple(_address(text) for text in texts))
            for name, texts in self.interfaces.items()
        }


def _address(text: str) -> IPv4Interface | IPv6Interface:
    return ip_interface(text)


@contextlib.asynccontextmanager
async def run_service(
    plugin: PluginFactory,
    *,
    config: Mapping[str, object] | Model | None = None,
    tables: Mapping[str, Model] | None = None,
    node: str = "node1",
    state_dir: Path | None = None,
    seed: int = 0,
    crashes: bool = False,
) -> AsyncIterator[RunningNode]:
    """Run the services of one plugin on a node of their own.

    Args:
        plugin: The plugin's class, or anything that makes an instance.
        config: Its table, as it would be read from TOML, or the model.
        tables: Tables of other plugins it reads, such as `LogicalInterfaces`.
        node: Name of the node.
        state_dir: Where state survives; a temporary folder otherwise.
        seed: For `Context.random`.
        crashes: Whether services may crash. Otherwise a crash fails the test at the end of the block.

    Raises:
        AssertionError: The configuration is refused, a hook failed, or a service crashed.
    """
    plugins = Plugins([as_found(plugin)])
    for entry in plugins.entries:
        assert entry.error is None, f"the plugin {entry.name} is {entry.state}: {entry.error}"
    table = next(iter(plugins.tables().values()), None)
    plugins.enable([table.name] if table else [])
    whole = functools.partial(_whole, plugins, table, NodeTable(name=node), dict(tables or {}))
    current = whole(config or {})
    bus, metrics, entries = EventBus(), MetricsRegistry(), Entries(maxlen=ENTRIES_MAX)

    with contextlib.ExitStack() as stack:
        folder = state_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="appliance-test-")))
        stack.enter_context(single_failure())
        stack.enter_context(capturing())
        stack.enter_context(logging_to(entries))
        supervisor = Supervisor(bus, node=current.identity(), state_dir=folder, metrics=metrics, seed=seed)

        async def reload(values: Mapping[str, object] | Model) -> None:
            nonlocal current
            changed = whole(values)
            try:
                await supervisor.apply(_services(plugins, changed))
            except BaseException:
                await supervisor.apply(_services(plugins, current))
                raise
            current = changed

        running = RunningNode(
            current.identity(),
            Parts(bus=bus, supervisor=supervisor, plugins=plugins, metrics=metrics),
            config=lambda: current,
            reload=reload,
            entries=entries,
        )
        record(running)
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            try:
                await supervisor.apply(_services(plugins, current))
                yield running
            finally:
                with trio.move_on_after(STOP_MAX_S, shield=True):
                    bus.publish(NodeStopping(reason="the test has ended"), source="host")
                    await supervisor.stop("the test has ended")
                nursery.cancel_scope.cancel()
        refuse_crashes(running, crashes)


def refuse_crashes(node: RunningNode, allowed: bool) -> None:
    """Fail when something went wrong inside the node that the test did not ask for."""
    problems = node.crashes()
    if problems and not allowed:
        raise AssertionError(f"on {node.name}: " + "; ".join(problems))


def as_found(plugin: PluginFactory | Found) -> Found:
    """A plugin's class as discovery would have found it."""
    if isinstance(plugin, Found):
        return replace(plugin, factory=_in_process(plugin.factory)) if plugin.factory else plugin
    instance: Any = plugin()
    # Entry points are named like the table; a plugin without one is named after its class.
    hook = getattr(instance, "appliance_config", None)
    name = hook().name if hook is not None else type(instance).__name__.lower()
    return Found(name=name, distribution=DISTRIBUTION, factory=_in_process(plugin))


def _in_process(factory: PluginFactory) -> PluginFactory:
    """The same plugin, but its services run in this process."""

    def make() -> object:
        instance: Any = factory()
        original = getattr(instance, "appliance_services", None)
        if original is not None:

            @functools.wraps(original)
            def appliance_services(**arguments: object) -> list[Service]:
                return [replace(service, isolation=None) for service in original(**arguments) or ()]

            instance.appliance_services = appliance_services
        return instance

    return make


def _whole(
    plugins: Plugins,
    table: ConfigTable | None,
    node: NodeTable,
    tables: dict[str, Model],
    values: Mapping[str, object] | Model,
) -> Config:
    if table is None:
        assert not values, "the plugin has no table, so it takes no configuration"
        own = {}
    else:
        own = {table.name: values if isinstance(values, Model) else table.model.model_validate(dict(values))}
    config = Config(tables | own, node=node)
    problems = [problem for problem in plugins.verify(config, None) if problem.severity == "error"]
    assert not problems, f"the configuration is refused: {problems}"
    return config


def _services(plugins: Plugins, config: Config) -> Sequence[PluginService]:
    return plugins.services(config, config.identity())
