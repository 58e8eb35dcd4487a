"""The typed façade over pluggy: what all plugins of one appliance contribute, and who is at fault when not.

No hook is ever called through ``pm.hook.x()``, where one raising implementation hides the results of all.
Every plugin has a plugin manager to itself and its implementations are called one by one, so a failure
has a name, costs only what that plugin would have contributed, and is forgotten when the same call works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

import pluggy

from appliance.config import Config, Model
from appliance.config.users import console_problems
from appliance.errors import Problem
from appliance.events import Event, Request
from appliance.host.discovery import Found
from appliance.host.hooks import HookError, Implementation, call, describe, one, several
from appliance.plugin import hookspecs
from appliance.plugin.contributions import (
    Check,
    Command,
    ConfigTable,
    ImagePart,
    KernelNeed,
    Migration,
    Service,
    SyncSection,
)
from appliance.plugin.node import Node
from appliance.plugin.ruleset import Fragment
from appliance.plugin.version import API

T = TypeVar("T")
EventClass = type[Event] | type[Request[object]]

RESERVED_TABLES = frozenset({"node", "plugins"})
"""Tables of the core."""
HOOK_PREFIX = "appliance_"
CONFIG_HOOKS = ("appliance_verify", "appliance_kernel", "appliance_services", "appliance_ruleset", "appliance_checks")
"""Asked of enabled plugins only: they look at the configuration."""


class PluginState(StrEnum):
    """What became of an installed plugin."""

    LOADED = "loaded"
    BROKEN = "broken"
    """It could not be imported or made."""
    REFUSED = "refused"
    """It breaks a rule of the host, or its table was refused."""
    BLOCKED = "blocked"
    """The operator does not want it; nothing of it was imported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginEntry:
    """One installed plugin at this moment."""

    name: str
    distribution: str
    state: PluginState
    enabled: bool
    """It is loaded and, if it has a table, the table is in force."""
    error: str | None = None
    table: ConfigTable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginFailure:
    """A hook of a loaded plugin that failed when it was last called."""

    plugin: str
    distribution: str
    hook: str
    error: str

    def __str__(self) -> str:
        return f"plugin {self.plugin} of {self.distribution}: {self.hook} {self.error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginService:
    """A service with its owner."""

    plugin: str
    distribution: str
    service: Service

    @property
    def name(self) -> str:
        """Full name, ``plugin/key``."""
        return f"{self.plugin}/{self.service.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginCommand:
    """A command with its owner."""

    plugin: str
    command: Command


class _RefusedError(Exception):
    """A plugin breaks a rule of the host."""


@dataclass(slots=True, eq=False)
class _Plugin:
    name: str
    distribution: str
    state: PluginState = PluginState.LOADED
    error: str | None = None
    table: ConfigTable | None = None
    table_error: str | None = None
    enabled: bool = False
    manager: pluggy.PluginManager = field(default_factory=lambda: _manager())

    def entry(self) -> PluginEntry:
        state, error = self.state, self.error
        if self.table_error is not None and not self.enabled:
            state, error = PluginState.REFUSED, self.table_error
        return PluginEntry(
            name=self.name,
            distribution=self.distribution,
            state=state,
            enabled=self.enabled,
            error=error,
            table=self.table,
        )

    def implementations(self, hook: str) -> list[Implementation]:
        return list(getattr(self.manager.hook, hook).get_hookimpls())


class Plugins:
    """All plugins of one appliance. Makes the instances, so two appliances never share one."""

    def __init__(self, found: Iterable[Found], *, blocked: Iterable[str] = ()) -> None:
        self._failures: dict[tuple[str, str], PluginFailure] = {}
        self._plugins: list[_Plugin] = []
        unwanted = frozenset(blocked)
        for each in found:
            plugin = _Plugin(each.name, each.distribution)
            self._plugins.append(plugin)
            if each.name in unwanted:
                plugin.state, plugin.error = PluginState.BLOCKED, "blocked in [plugins]"
            else:
                self._load(plugin, each)

    # --- which there are --------------------------------------------------------------------------

    @property
    def entries(self) -> tuple[PluginEntry, ...]:
        """Every installed plugin, in the order in which they are asked."""
        return tuple(plugin.entry() for plugin in self._plugins)

    @property
    def failures(self) -> tuple[PluginFailure, ...]:
        """Hooks that failed when they were last called, at most one per plugin and hook."""
        return tuple(self._failures.values())

    def tables(self) -> dict[str, ConfigTable]:
        """The tables of loaded plugins by plugin, also of those whose table was refused."""
        return {plugin.name: plugin.table for plugin in self._loaded() if plugin.table is not None}

    def enable(self, tables_present: Iterable[str]) -> None:
        """Enable exactly the plugins whose table is present, and those that have none."""
        present = frozenset(tables_present)
        for plugin in self._loaded():
            plugin.enabled = plugin.table is None or plugin.table.name in present
            for hook in () if plugin.enabled else CONFIG_HOOKS:
                self._failures.pop((plugin.name, hook), None)  # it is not asked any more

    def refuse(self, plugin: str, error: str) -> None:
        """Its table was refused: it is shown as refused as long as it is not enabled, or until `forgive`."""
        for each in self._loaded():
            if each.name == plugin:
                each.table_error, each.enabled = error, False

    def forgive(self) -> None:
        """A configuration was accepted as a whole: what was wrong with the tables of an earlier one is history."""
        for plugin in self._plugins:
            plugin.table_error = None

    # --- what they contribute ---------------------------------------------------------------------

    def verify(self, config: Config, old: Config | None) -> list[Problem]:
        """What enabled plugins find wrong. A plugin that fails at this is a problem of its own table."""
        problems = console_problems(config)
        hook = "appliance_verify"
        for plugin in self._enabled():
            problems += self._ask(plugin, hook, _all(Problem), config=config, old=old)
            if (failure := self._failures.get((plugin.name, hook))) is not None:
                table = plugin.table
                problems.append(
                    Problem(
                        path=(table.name,) if table is not None else (),
                        message=f"could not be checked: {failure}",
                        severity="error" if table is not None else "warning",
                    )
                )
        return problems

    def kernel_needs(self, config: Config) -> list[KernelNeed]:
        """What the kernel has to be able to do for enabled plugins."""
        return [need for _, need in self._from(self._enabled(), "appliance_kernel", _all(KernelNeed), config=config)]

    def services(self, config: Config, node: Node) -> list[PluginService]:
        """What has to run. Look at `failures` before applying it: a plugin that failed is not in the list."""
        hook = "appliance_services"
        return [
            PluginService(plugin=plugin.name, distribution=plugin.distribution, service=service)
            for plugin in self._enabled()
            for service in self._ask(plugin, hook, _services, config=config, node=node)
        ]

    def fragments(self, config: Config) -> list[tuple[str, Fragment]]:
        """What enabled plugins contribute to the ruleset, with their plugin. Look at `failures` as for `services`."""
        return self._from(self._enabled(), "appliance_ruleset", lambda made: [one(made, Fragment)], config=config)

    def refused_with(self, hook: str) -> list[str]:
        """Plugins whose table was refused although they have something to contribute by this hook."""
        return [
            plugin.name
            for plugin in self._loaded()
            if plugin.table_error is not None and not plugin.enabled and plugin.implementations(hook)
        ]

    def checks(self, config: Config) -> list[tuple[str, Check]]:
        """Checks of enabled plugins for the doctor, with their plugin."""
        return self._from(self._enabled(), "appliance_checks", _all(Check), config=config)

    def commands(self) -> list[PluginCommand]:
        """Commands of all loaded plugins. The first to take a path has it."""
        taken: dict[tuple[str, ...], str] = {}

        def free(result: object) -> list[Command]:
            commands = _all(Command)(result)
            for command in commands:
                if (owner := taken.get(command.path)) is not None:
                    raise HookError(f"takes `{' '.join(command.path)}`, which belongs to the plugin {owner}")
            return commands

        found: list[PluginCommand] = []
        for plugin in self._loaded():
            for command in self._ask(plugin, "appliance_commands", free):
                taken[command.path] = plugin.name
                found.append(PluginCommand(plugin=plugin.name, command=command))
        return found

    def events(self) -> list[EventClass]:
        """Event and request classes that loaded plugins own."""
        return [kind for _, kind in self.events_by_plugin()]

    def events_by_plugin(self) -> list[tuple[str, EventClass]]:
        """The same with their plugin."""
        return self._from(self._loaded(), "appliance_events", _event_classes)

    def sync_sections(self) -> list[tuple[str, SyncSection]]:
        """What travels to the other nodes, with its plugin."""
        return self._from(self._loaded(), "appliance_sync_sections", _all(SyncSection))

    def image(self, flavor: str) -> list[tuple[str, ImagePart]]:
        """What a bootable image of this flavor needs, with the plugin that needs it."""
        return self._from(self._loaded(), "appliance_image", lambda result: [one(result, ImagePart)], flavor=flavor)

    def migrations(self) -> list[tuple[str, Migration]]:
        """How older tables become current ones, with their plugin."""
        return self._from(self._loaded(), "appliance_migrations", _all(Migration))

    def migrations_by_table(self) -> dict[str, list[Migration]]:
        """The same by the table they are about; those of a plugin without a table are about nothing."""
        tables = self.tables()
        found: dict[str, list[Migration]] = {}
        for plugin, step in self.migrations():
            if plugin in tables:
                found.setdefault(tables[plugin].name, []).append(step)
        return found

    # --- calling ----------------------------------------------------------------------------------

    def _loaded(self) -> Iterator[_Plugin]:
        return (plugin for plugin in self._plugins if plugin.state is PluginState.LOADED)

    def _enabled(self) -> Iterator[_Plugin]:
        return (plugin for plugin in self._loaded() if plugin.enabled)

    def _from(
        self, plugins: Iterable[_Plugin], hook: str, check: Callable[[object], list[T]], **arguments: object
    ) -> list[tuple[str, T]]:
        return [(plugin.name, item) for plugin in plugins for item in self._ask(plugin, hook, check, **arguments)]

    def _ask(self, plugin: _Plugin, hook: str, check: Callable[[object], list[T]], **arguments: object) -> list[T]:
        """What one plugin answers; nothing, and a failure on record, when it fails."""
        self._failures.pop((plugin.name, hook), None)
        try:
            return _answers(plugin, hook, check, arguments)
        except HookError as error:
            self._failures[plugin.name, hook] = PluginFailure(
                plugin=plugin.name, distribution=plugin.distribution, hook=hook, error=str(error)
            )
            return []

    # --- loading ----------------------------------------------------------------------------------

    def _load(self, plugin: _Plugin, found: Found) -> None:
        if found.factory is None:
            plugin.state, plugin.error = PluginState.BROKEN, found.error or "it cannot be loaded"
            return
        try:
            instance = found.factory()
            _check_api(instance)
            _register(plugin, instance)
            plugin.table = self._table(plugin)
        except _RefusedError as error:
            plugin.state, plugin.error = PluginState.REFUSED, str(error)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the border to foreign code
            plugin.state, plugin.error = PluginState.BROKEN, describe(error)
        else:
            plugin.enabled = plugin.table is None

    def _table(self, plugin: _Plugin) -> ConfigTable | None:
        try:
            tables = _answers(plugin, "appliance_config", lambda result: [one(result, ConfigTable)], {})
        except HookError as error:
            raise _RefusedError(f"appliance_config {error}") from error
        if not tables:
            return None
        table = tables[0]
        if not (isinstance(table.model, type) and issubclass(table.model, Model)):
            raise _RefusedError(f"the model of table [{table.name}] is not a subclass of appliance.config.Model")
        if table.name in RESERVED_TABLES:
            raise _RefusedError(f"table [{table.name}] belongs to the appliance itself")
        for other in self._loaded():
            if other.table is not None and other.table.name == table.name:
                raise _RefusedError(f"table [{table.name}] belongs to plugin {other.name} of {other.distribution}")
        return table


def _answers(
    plugin: _Plugin, hook: str, check: Callable[[object], list[T]], arguments: Mapping[str, object]
) -> list[T]:
    label = f"{plugin.name}.{hook}"
    return [item for each in plugin.implementations(hook) for item in check(call(each, arguments, label=label))]


def _all(kind: type[T]) -> Callable[[object], list[T]]:
    return lambda result: several(result, lambda item: isinstance(item, kind), f"{kind.__name__} values")


def _services(result: object) -> list[Service]:
    services = _all(Service)(result)
    keys = [service.key for service in services]
    if double := next((key for key in keys if keys.count(key) > 1), None):
        raise HookError(f"returned two services with the key {double!r}")
    return services


def _event_classes(result: object) -> list[EventClass]:
    def fits(item: object) -> bool:
        return isinstance(item, type) and issubclass(item, Event | Request)

    return several(result, fits, "event and request classes")


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    return manager


def _check_api(instance: object) -> None:
    wanted = getattr(instance, "api", None)
    match wanted:
        case (int(major), int(minor)):
            if not API.accepts((major, minor)):
                raise _RefusedError(
                    f"it is written for plugin API {major}.{minor} and this appliance has {API.major}.{API.minor}"
                )
        case _:
            raise _RefusedError(f"it does not say for which plugin API it is written, such as `api = {tuple(API)}`")


def _register(plugin: _Plugin, instance: object) -> None:
    """Let pluggy check names and arguments, then check what pluggy does not."""
    manager = plugin.manager
    try:
        manager.register(instance, name=plugin.name)
    except pluggy.PluginValidationError as error:
        raise _RefusedError(" ".join(str(error).split())) from error
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise _RefusedError(_unknown_hook(manager, error)) from error
    for hook in manager.get_hookcallers(instance) or ():
        if any(each.wrapper or each.hookwrapper for each in hook.get_hookimpls()):
            raise _RefusedError(f"{hook.name} is a wrapper; plugins do not intercept each other")
    for name in dir(type(instance)):
        method = getattr(type(instance), name) if name.startswith(HOOK_PREFIX) else None
        if callable(method) and not hasattr(method, f"{hookspecs.PROJECT}_impl"):
            raise _RefusedError(f"{name} is not marked with @hookimpl and would never be called")


def _unknown_hook(manager: pluggy.PluginManager, error: pluggy.PluginValidationError) -> str:
    known = [name for name in vars(hookspecs) if name.startswith(HOOK_PREFIX)]
    for name, caller in vars(manager.hook).items():
        if isinstance(caller, pluggy.HookCaller) and not caller.has_spec():
            near = get_close_matches(name, known, n=1)
            return f"unknown hook {name}" + (f"; did you mean {near[0]}?" if near else "")
    return str(error)
