"""Loads configurations with the plugins of one appliance: their tables, their state, their cross-checks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from appliance.config.loader import Loaded, Unavailable, load_tolerant, load_whole
from appliance.config.migrating import NewerFormatError, migrated
from appliance.config.model import Config, Model
from appliance.config.unchanged import Before
from appliance.config.vocabulary import NamesSections
from appliance.errors import ConfigError, Problem, RefusedError
from appliance.host.alarms import why_it_does_not_run
from appliance.host.kernelneeds import Probe, missing, probe_kernel
from appliance.host.plugins import PluginState

if TYPE_CHECKING:
    from appliance.config.history import History
    from appliance.host.plugins import PluginEntry, Plugins
    from appliance.plugin import Logger

Rule = Callable[[Config], list[Problem]]


class ConfigLoader:
    """Asks the right plugins for each text; afterwards those are enabled whose table is in force."""

    def __init__(self, plugins: Plugins, *, probe: Probe | None = probe_kernel) -> None:
        """Without a `probe`, what is loaded may be for another machine: nobody asks what the kernel of this one can."""
        self._plugins, self._probe = plugins, probe

    def strict(
        self,
        text: str,
        *,
        path: str,
        old: Config | None,
        rule: Rule | None = None,
        data: dict[str, Any] | None = None,
        old_data: Mapping[str, Any] | None = None,
    ) -> Loaded:
        """Everything is right, or `ConfigError` says all that is not and `old` stays enabled.

        Args:
            text: The candidate.
            path: Its name in messages.
            old: The configuration in force.
            rule: A further cross-check.
            data: What the text says, if that is known; of no use when a table has to be migrated.
            old_data: What the text of the configuration in force says.
        """
        accepted = False
        try:
            before = Before(old, old_data) if old is not None and old_data is not None else None
            found = migrated(
                text,
                path=path,
                steps=self._plugins.migrations_by_table(),
                data=data,
                known=before.known if before is not None else None,
            )
            if found.failures:
                raise ConfigError(found.failures[0], hint="Tell the author of the plugin; nothing was changed.")
            loaded = load_whole(
                found.text,
                path=path,
                tables=self._plugins.tables(),
                unavailable=self._unavailable(),
                data=found.data,
                before=before,
                verify=lambda config: [
                    *self._verify(config, old),
                    *self._kernel(config, old),
                    *self._required(config),
                    *(rule(config) if rule is not None else ()),
                ],
            )
            accepted = True
        finally:
            if not accepted:
                self._plugins.enable(old or ())
        return replace(loaded, warnings=(*found.changes, *loaded.warnings))

    def tolerant(self, text: str, *, path: str) -> Loaded:
        """What can run of a file when a node starts; plugins whose tables are wrong are refused.

        Raises:
            NewerFormatError: A newer system wrote it.
            ConfigError: It is unusable.
        """
        found = migrated(text, path=path, steps=self._plugins.migrations_by_table())
        loaded = load_tolerant(
            found.text,
            path=path,
            tables=self._plugins.tables(),
            unavailable=self._unavailable(),
            verify=lambda config: self._verify(config, None),
        )
        for plugin, problems in loaded.refused.items():
            self._plugins.refuse(plugin, problems)
        self._plugins.enable(loaded.config)
        return replace(loaded, warnings=(*found.failures, *loaded.warnings), migrated=found.changes)

    def first(self, text: str, *, path: str, history: History, log: Logger) -> tuple[str, Loaded]:
        """What a node begins with, as it stands in file or history, and what can run of it; problems are logged.

        A file of a newer system stays where it is, and the newest revision is taken that this one can read.

        Raises:
            ConfigError: There is nothing usable.
        """
        try:
            loaded = self.tolerant(text, path=path)
        except NewerFormatError as error:
            text, loaded, number = self._newest_readable(history, error)
            log.warning("config_newer", problem=error.message, goes_on_with=number)
        for what in loaded.migrated:
            log.info("config_migrated", what=what)
        for problem in [*loaded.warnings, *loaded.refused.values()]:
            log.warning("config_problem", problem=problem)
        return text, loaded

    def _newest_readable(self, history: History, newer: NewerFormatError) -> tuple[str, Loaded, int]:
        for revision in reversed(history.revisions()):
            try:
                _, text = history.read(revision.number)
                return text, self.tolerant(text, path=f"revision {revision.number}"), revision.number
            except (ConfigError, RefusedError):
                continue  # newer as well, or damaged
        raise newer

    def as_read(self, text: str) -> str:
        """A text with its tables in the current formats, if all are known."""
        try:
            return migrated(text, path="", steps=self._plugins.migrations_by_table()).text
        except ConfigError:
            return text

    def models(self) -> dict[str, type[Model]]:
        """The models of all known tables by table name, for redaction."""
        return {table.name: table.model for table in self._plugins.tables().values()}

    def _verify(self, config: Config, old: Config | None) -> list[Problem]:
        self._plugins.enable(config)
        return [*self._plugins.verify(config, old), *self._sections(config)]

    def _sections(self, config: Config) -> list[Problem]:
        """Names of sections that no installed plugin declares: what was to stay here would travel."""
        tables = config.all_providing(NamesSections)
        named = {path: name for table in tables for path, name in table.named_sections().items()}
        if not named:
            return []
        known = sorted(section.name for _, section in self._plugins.sync_sections())
        return [
            Problem(path=path, message=f"there is no section {name!r}; there are {', '.join(known) or 'none'}")
            for path, name in named.items()
            if name not in known
        ]

    def _kernel(self, config: Config, old: Config | None) -> list[Problem]:
        """What the kernel cannot do; what the configuration in force needs already is not tried again."""
        if self._probe is None:
            return []
        known = {need.kind for need in self._plugins.kernel_needs(old)} if old is not None else set()
        return missing([need for need in self._plugins.kernel_needs(config) if need.kind not in known], self._probe)

    def _required(self, config: Config) -> list[Problem]:
        """Only warnings: a file may be checked on a machine that lacks a plugin, and such a node runs, demoted."""
        entries = {entry.name: entry for entry in self._plugins.entries}
        reasons = [(name, why_it_does_not_run(entries.get(name))) for name in config.plugins.required]
        return [
            Problem(
                path=("plugins", "required", index),
                message=f"the plugin {name} {why}; the node will stay demoted",
                severity="warning",
            )
            for index, (name, why) in enumerate(reasons)
            if why is not None
        ]

    def _unavailable(self) -> dict[str, Unavailable]:
        """Tables of plugins that are not loaded; such a plugin's table is taken to have its name."""
        readable = self._plugins.tables()
        return {
            _table_name(entry): Unavailable(
                plugin=entry.name,
                reason=f"of {entry.distribution} is {entry.state.value}: {entry.error}",
                blocked=entry.state is PluginState.BLOCKED,
            )
            for entry in self._plugins.entries
            if entry.state is not PluginState.LOADED and entry.name not in readable
        }


def _table_name(entry: PluginEntry) -> str:
    return entry.table.name if entry.table is not None else entry.name.replace("-", "_")
