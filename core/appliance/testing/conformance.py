"""Everything a well-behaved plugin must satisfy, as one call in its tests.

`check_plugin` asks every hook the way the host, the documentation and the image builder do, looks at
what comes back, and lets the services start and stop in virtual time. It reports every offence at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from appliance.config import Config, Model
from appliance.config.model import NodeTable
from appliance.plugin import API, ConfigTable
from appliance.plugin import hookspecs as specs
from appliance.testing import rules
from appliance.testing.purity import changed, module_state, watched

NODE = NodeTable(name="test-node")

FLAVORS = ("base", "qemu")
"""Image flavors a plugin is asked for; an unknown one must not break it either."""


def check_plugin(
    plugin: Callable[[], object],
    *,
    config: Mapping[str, object] | None = None,
    tables: Mapping[str, Model] | None = None,
    start: bool = True,
) -> None:
    """Assert that a plugin is a good citizen.

    Args:
        plugin: The plugin's class, as named by its entry point.
        config: An example of its table; needed when the table has required fields.
        tables: Tables of other plugins it reads, such as `LogicalInterfaces`.
        start: Also run its services, in virtual time. Off for services that need a real kernel.

    Raises:
        AssertionError: Lists every rule that was broken.
    """
    checker = _Checker(plugin, config, tables or {})
    checker.check()
    if start and not checker.problems:
        from appliance.testing.lifetime import start_and_stop

        checker.guard(lambda: checker.problems.extend(start_and_stop(plugin, checker.config)))
    if checker.problems:
        listing = "\n".join(f"  - {problem}" for problem in checker.problems)
        raise AssertionError(f"{checker.name} breaks {len(checker.problems)} rules for plugins:\n{listing}")


class _Checker:
    """Asks one plugin everything and collects what is wrong."""

    def __init__(
        self, plugin: Callable[[], object], config: Mapping[str, object] | None, tables: Mapping[str, Model]
    ) -> None:
        self.problems: list[str] = []
        self._plugin = plugin
        self._table_values = config
        self._tables = dict(tables)
        self.name = type(plugin()).__qualname__
        self._package = type(plugin()).__module__.partition(".")[0]
        self.config = Config(self._tables, node=NODE)

    def check(self) -> None:
        """Everything that needs no running service."""
        instance = self._plugin()
        self._check_api(instance)
        self._check_hooks(instance)
        if self.problems:
            return  # what follows would only repeat it less clearly
        self.guard(self._ask_all)

    def guard(self, body: Callable[[], None]) -> None:
        """Run something of the plugin and notice what it leaves in its modules."""
        before = module_state(self._package)
        body()
        self.problems += [
            f"{name} changed: keep state in instances, two nodes can live in one process"
            for name in changed(before, module_state(self._package))
        ]

    def _check_api(self, instance: object) -> None:
        api = getattr(instance, "api", None)
        if not (isinstance(api, tuple) and len(api) == 2 and all(isinstance(part, int) for part in api)):
            self.problems.append("the class does not say which API it was written for: api = (1, 0)")
        elif not API.accepts((api[0], api[1])):
            self.problems.append(f"api {api} does not fit this host, which has {tuple(API)}")

    def _check_hooks(self, instance: object) -> None:
        known = hooks()
        for name, method in inspect.getmembers(instance, callable):
            if not name.startswith("appliance_"):
                continue
            options = getattr(method, f"{specs.PROJECT}_impl", None)
            if name not in known:
                self.problems.append(f"{name} is not a hook; there are {', '.join(known)}")
            elif options is None:
                self.problems.append(f"{name} lacks @hookimpl, so nobody will ever ask it")
            elif options["wrapper"] or options["hookwrapper"]:
                self.problems.append(f"{name} is a wrapper: plugins must not intercept each other")
            elif inspect.iscoroutinefunction(method):
                self.problems.append(f"{name} is async: hooks declare, waiting belongs to services")
            else:
                unknown = set(inspect.signature(method).parameters) - set(known[name].parameters)
                if unknown:
                    self.problems.append(f"{name} asks for {', '.join(sorted(unknown))}, which it cannot get")

    def _ask_all(self) -> None:
        table = self.ask("appliance_config")
        if table is not None:
            self.problems += rules.table_problems(table)
            if not self._load(table):
                return
        config, node = self.config, self.config.identity()
        for problem in self.ask("appliance_verify", config=config, old=None) or ():
            if problem.severity == "error":
                self.problems.append(f"appliance_verify refuses the example configuration: {problem}")
        self.ask("appliance_verify", config=config, old=config)
        self.problems += rules.kernel_problems(self.ask("appliance_kernel", config=config) or ())
        self.problems += rules.service_problems(self.ask("appliance_services", config=config, node=node) or ())
        self.problems += rules.ruleset_problems(self.ask("appliance_ruleset", config=config))
        self.problems += rules.event_problems(self.ask("appliance_events") or (), self._package)
        self.problems += rules.command_problems(self.ask("appliance_commands") or ())
        self.problems += rules.check_problems(self.ask("appliance_checks", config=config) or ())
        self.problems += rules.migration_problems(self.ask("appliance_migrations") or ())
        sections = self.ask("appliance_sync_sections") or ()
        self.problems += rules.section_problems(sections, config)
        for flavor in FLAVORS:
            self.problems += rules.image_problems(self.ask("appliance_image", flavor=flavor), self._package)

    def _load(self, table: object) -> bool:
        if not isinstance(table, ConfigTable):
            return False
        try:
            model = table.model.model_validate(dict(self._table_values or {}))
        except ValueError as error:
            self.problems.append(f"the example configuration of [{table.name}] is refused, pass config=...: {error}")
            return False
        self.config = Config(self._tables | {table.name: model}, node=NODE)
        return True

    def ask(self, hook: str, **available: object) -> Any:
        """Ask one hook three times, of two instances, and return its first answer."""
        first, second = self._plugin(), self._plugin()
        if not hasattr(first, hook):
            return None
        answers = []
        with watched() as offences:
            for instance in (first, first, second):
                method = getattr(instance, hook)
                wanted = inspect.signature(method).parameters
                answers.append(method(**{name: value for name, value in available.items() if name in wanted}))
        self.problems += [f"{hook} {offence}: hooks are pure" for offence in dict.fromkeys(offences)]
        wrong = [f"{hook} {problem}" for problem in rules.type_problems(hook, answers[0])]
        if wrong:
            self.problems += wrong
            return None  # nothing more can be said about it
        if rules.shape(answers[1]) != rules.shape(answers[0]):
            self.problems.append(f"{hook} answers differently the second time")
        elif rules.shape(answers[2]) != rules.shape(answers[0]):
            self.problems.append(f"{hook} of a second instance answers differently")
        return answers[0]


def hooks() -> dict[str, inspect.Signature]:
    """Every hook that a plugin may implement, with its signature."""
    return {
        name: inspect.signature(function)
        for name, function in vars(specs).items()
        if name.startswith("appliance_") and hasattr(function, f"{specs.PROJECT}_spec")
    }
