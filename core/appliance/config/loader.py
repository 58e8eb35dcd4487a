"""From the text of `appliance.toml` to a validated `Config`, or to all problems at once.

The text is parsed, each table goes to the model of its plugin, and when every table is right by itself
the cross-checks run. `load` and `load_whole` refuse on any error: `check` and every commit use them. A
node that starts uses `load_tolerant`: there a wrong table costs only its own plugin, because half a
firewall that is reachable is better than a box that needs a serial cable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from appliance.config.model import Config, Model, NodeTable, PluginsTable
from appliance.config.parts import excerpt
from appliance.config.positions import KeyPath, locate
from appliance.config.redact import redact_paths
from appliance.config.report import Report
from appliance.config.schema import CORE_TABLES
from appliance.config.shape import secret_paths
from appliance.config.syntax import FILE_MAX_BYTES, parse
from appliance.config.unchanged import Before
from appliance.config.wording import explain, similar
from appliance.errors import ConfigError, Problem
from appliance.plugin import ConfigTable

Verify = Callable[[Config], Sequence[Problem]]

# What a model's own validators may raise besides ValueError when their author made a mistake.
_MODEL_BUGS = (ArithmeticError, AttributeError, LookupError, NameError, RuntimeError, TypeError, OSError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """A table that is known although no model can check it."""

    plugin: str
    reason: str
    """For people: "cannot be imported: …", naming the distribution."""
    blocked: bool = False
    """The operator switched the plugin off: the table has no effect, which is only worth a warning."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A configuration that can run."""

    config: Config
    warnings: tuple[str, ...] = ()
    """Formatted like errors; they refuse nothing."""
    risks: tuple[str, ...] = ()
    """Formatted: why the change to it has to be confirmed. Only where the configuration in force is known."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Plugins left out by `load_tolerant`, each with its formatted problems."""
    migrated: tuple[str, ...] = ()
    """For people: tables that were of an older format."""
    data: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """What the text says."""


def read_file(path: Path) -> str:
    """The text of a configuration file.

    Raises:
        ConfigError: It is missing, unreadable, too large or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_MAX_BYTES + 1)
    except FileNotFoundError:
        hint = "Create it, or name another one with -c FILE; docs/config.md explains the format."
        raise ConfigError(f"{path}: there is no such configuration file", hint=hint) from None
    except OSError as error:
        hint = "Make it a regular file that this user may read."
        raise ConfigError(f"{path}: the configuration cannot be read: {error.strerror}", hint=hint) from error
    if len(raw) > FILE_MAX_BYTES:
        hint = "Check that this is the right file."
        raise ConfigError(f"{path}: larger than {FILE_MAX_BYTES // 1024} KiB, which is not read", hint=hint)
    try:
        return raw.decode("utf-8-sig")  # editors on Windows write a byte order mark
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: not valid UTF-8", hint="Save the file with the encoding UTF-8.") from None


def load(
    text: str, *, path: str, tables: Mapping[str, ConfigTable], verify: Callable[[Config], list[Problem]] | None = None
) -> Config:
    """A configuration, or `ConfigError` with all problems; `tables` are the loaded plugins' by plugin name."""
    return load_whole(text, path=path, tables=tables, verify=verify).config


def load_whole(
    text: str,
    *,
    path: str,
    tables: Mapping[str, ConfigTable],
    unavailable: Mapping[str, Unavailable] | None = None,
    verify: Verify | None = None,
    data: dict[str, Any] | None = None,
    before: Before | None = None,
) -> Loaded:
    """As `load`, with the warnings.

    Args:
        text: The text.
        path: Its name in messages.
        tables: Those of the loaded plugins by plugin name.
        unavailable: Tables of plugins that are not loaded, by table name.
        verify: The cross-checks.
        data: What the text says, if that is known.
        before: The configuration in force, which has most of the models already.
    """
    draft = _Draft(text, path, tables, unavailable or {}, data, before)
    if _errors(draft.problems):
        raise draft.refusal(draft.problems)
    config = draft.config(without=())
    found = [*draft.problems, *(verify(config) if verify is not None else ())]
    if _errors(found):
        raise draft.refusal(found)
    risks = [problem for problem in found if problem.severity == "confirm"]
    notes = [problem for problem in found if problem.severity != "confirm"]
    return Loaded(config=config, warnings=draft.formatted(notes), risks=draft.formatted(risks), data=draft.data)


def load_tolerant(
    text: str,
    *,
    path: str,
    tables: Mapping[str, ConfigTable],
    unavailable: Mapping[str, Unavailable] | None = None,
    verify: Verify | None = None,
) -> Loaded:
    """What can run of a configuration: a wrong table leaves out its plugin only.

    Raises:
        ConfigError: The file is not TOML, a core table is wrong, or a problem belongs to no table.
    """
    draft = _Draft(text, path, tables, unavailable or {})
    draft.check_core()
    notes = [problem for problem in draft.problems if draft.owner(problem) is None]
    refused: dict[str, list[Problem]] = {}
    for problem in draft.problems:
        refused.setdefault(draft.owner(problem) or "", []).append(problem)
    refused.pop("", None)
    while True:  # each round leaves out at least one more table, or ends
        config = draft.config(without=refused)
        found = list(verify(config)) if verify is not None else []
        errors = _errors(found)
        if not errors:
            break
        left_out = frozenset(refused)
        for problem in errors:
            owner = draft.owner(problem)
            if owner is None or owner in left_out:
                raise draft.refusal(found)
            refused.setdefault(owner, []).append(problem)
    return Loaded(
        config=config,
        warnings=draft.formatted([*notes, *found]),
        refused={plugin: "\n".join(draft.formatted(problems)) for plugin, problems in refused.items()},
        data=draft.data,
    )


def head(text: str, *, path: str) -> tuple[NodeTable, PluginsTable]:
    """Only the core tables, which say what to load; other tables are not looked at.

    Raises:
        ConfigError: The file is not TOML, or one of the core tables is wrong.
    """
    draft = _Draft(text, path, {}, {})
    draft.check_core()
    return draft.node, draft.plugins


def _errors(problems: Sequence[Problem]) -> list[Problem]:
    return [problem for problem in problems if problem.severity not in ("warning", "confirm")]


class _Draft:
    """One text on its way: parsed, each table validated by itself, what was found on the way."""

    def __init__(
        self,
        text: str,
        path: str,
        tables: Mapping[str, ConfigTable],
        unavailable: Mapping[str, Unavailable],
        data: dict[str, Any] | None = None,
        before: Before | None = None,
    ) -> None:
        self.text, self.path = text, path
        self._before = before
        self.data = parse(text, path, data=data, known=before.known if before is not None else None)
        self.problems: list[Problem] = []
        self._unavailable = unavailable
        self._owners = {table.name: (plugin, table.model) for plugin, table in tables.items()}
        self._models: dict[str, Model] = {}
        if "node" not in self.data:
            message = 'the table [node] is required and missing; it says who this node is: name = "fw1"'
            self.problems.append(Problem(path=("node",), message=message))
        for name, value in self.data.items():
            self._read_table(name, value)

    def refusal(self, problems: Sequence[Problem]) -> ConfigError:
        """The error that says everything at once."""
        return self._report(problems).refusal(problems)

    def formatted(self, problems: Sequence[Problem]) -> tuple[str, ...]:
        """In file order, as text."""
        if not problems:
            return ()
        report = self._report(problems)
        return tuple(report.format(problem) for problem in report.ordered(problems))

    def _report(self, problems: Sequence[Problem]) -> Report:
        """Prints these problems. Only their tables are scanned: a large one takes seconds."""
        paths = [path for problem in problems for path in (problem.path, *problem.also)]
        names = {str(path[0]) for path in paths if path}
        positions = locate(excerpt(self.text, self.data, names))
        return Report(path=self.path, positions=positions, shown=redact_paths(positions, self._secrets(names)))

    def _secrets(self, names: Collection[str]) -> frozenset[KeyPath]:
        """Paths of values of these tables, and of keys outside of tables, that no message may show."""
        chosen = {name: value for name, value in self.data.items() if name in names or not isinstance(value, dict)}
        return secret_paths(chosen, {name: model for name, (_, model) in self._owners.items()})

    @property
    def node(self) -> NodeTable:
        """``[node]``; only after `check_core`."""
        table = self._models["node"]
        assert isinstance(table, NodeTable)
        return table

    @property
    def plugins(self) -> PluginsTable:
        """``[plugins]``, or its defaults."""
        table = self._models.get("plugins")
        return table if isinstance(table, PluginsTable) else PluginsTable()

    def check_core(self) -> None:
        """Refuse when a table without which nothing can start is wrong."""
        wrong = [problem for problem in self.problems if problem.path[0] in CORE_TABLES]
        if wrong:
            raise self.refusal(wrong)

    def owner(self, problem: Problem) -> str | None:
        """The plugin whose table a problem is in."""
        found = self._owners.get(str(problem.path[0])) if problem.path else None
        return found[0] if found is not None else None

    def config(self, *, without: Collection[str]) -> Config:
        """The tables that are right, except those of some plugins."""
        chosen = {
            name: model
            for name, model in self._models.items()
            if name in self._owners and self._owners[name][0] not in without
        }
        return Config(chosen, node=self.node, plugins=self.plugins, text=self.text, path=self.path)

    def _read_table(self, name: str, value: object) -> None:
        model = CORE_TABLES.get(name) or (self._owners[name][1] if name in self._owners else None)
        if model is None:
            self.problems.append(self._unknown(name, value))
        elif not isinstance(value, dict):
            message = f"must be a table: write [{name}] on a line of its own"
            self.problems.append(Problem(path=(name,), message=message))
        else:
            try:
                self._models[name] = self._validated(name, model, value)
            except ValidationError as error:
                errors = error.errors(include_url=False)
                secrets = self._secrets([name])
                self.problems += explain(errors, table=name, model=model, data=value, secrets=secrets)
            except _MODEL_BUGS as error:
                who = self._owners[name][0] if name in self._owners else "core"
                message = f"the plugin {who} failed on its own table: {type(error).__name__}: {error}"
                self.problems.append(Problem(path=(name,), message=message))

    def _validated(self, name: str, model: type[BaseModel], value: dict[str, Any]) -> Model:
        if self._before is not None:
            # What a validator of the model makes of other models is its affair: then all of it is validated.
            with suppress(ValidationError, *_MODEL_BUGS):
                return cast(Model, model.model_validate(self._before.kept_in(name, value)))
        return cast(Model, model.model_validate(value))

    def _unknown(self, name: str, value: object) -> Problem:
        known = self._unavailable.get(name)
        if known is not None and known.blocked:
            message = f"has no effect: the plugin {known.plugin} is in [plugins] blocked"
            return Problem(path=(name,), message=message, severity="warning")
        if known is not None:
            return Problem(path=(name,), message=f"cannot be read: the plugin {known.plugin} {known.reason}")
        kind = "table" if isinstance(value, dict) else "key"
        meant = similar(name, [*CORE_TABLES, *self._owners, *self._unavailable])
        if meant is not None:
            return Problem(path=(name,), message=f"unknown {kind}; did you mean [{meant}]?")
        owners = [f"[{table}] (plugin {plugin})" for table, (plugin, _) in sorted(self._owners.items())]
        tables = ", ".join(["[node]", "[plugins]", *owners])
        return Problem(path=(name,), message=f"no installed plugin owns this {kind}; there are {tables}")
