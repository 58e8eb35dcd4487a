"""Tables of an older format become what this system's plugins read. Pure.

The format of a plugin's table is a number: 1, until a migration of the plugin leads further. A file says it in
``[node] formats``; what it does not name there is of format 1, as every table was before there was a second one. The
file itself stays as it is until somebody commits, so that the system before an upgrade finds what it wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from appliance.config.repeated import Known
from appliance.config.syntax import parse
from appliance.config.writing import rewritten
from appliance.errors import ConfigError
from appliance.plugin import Migration

Steps = Mapping[str, Sequence[Migration]]
"""Migrations by the name of the table."""
FIRST = 1
KEY = "formats"
STEPS_MAX = 64
"""Of one table: a circle in what a plugin declares must not last for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated:
    """What became of a file."""

    text: str
    changes: tuple[str, ...] = ()
    """For people, one for each table that was of an older format."""
    failures: tuple[str, ...] = ()
    """For people, one for each table that was left as it is because its migration failed."""
    data: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    """What the text says, if it had to be read, and stayed as it was."""


class NewerFormatError(ConfigError):
    """A table was written by a newer system."""


def current(steps: Steps) -> dict[str, int]:
    """The format that this system reads of each table that has had more than one."""
    return {table: max((each.to_version for each in found), default=FIRST) for table, found in steps.items() if found}


def migrated(
    text: str, *, path: str, steps: Steps, data: dict[str, Any] | None = None, known: Known | None = None
) -> Migrated:
    """The text with all its tables in the formats that this system reads.

    Args:
        text: A configuration.
        path: Its name in messages.
        steps: The migrations of all loaded plugins.
        data: What it says, if that is known.
        known: Another text, of which this one may say most.

    Raises:
        NewerFormatError: A table is of a format that nobody here knows.
        ConfigError: It is not TOML.
    """
    formats = current(steps)
    if not formats and KEY not in text:
        return Migrated(text=text, data=data)
    data = parse(text, path, data=data, known=known)
    stated = _stated(data)
    newer = sorted(name for name, version in stated.items() if name in data and version > formats.get(name, FIRST))
    if newer:
        raise NewerFormatError(
            f"{path}: [{newer[0]}] is of format {stated[newer[0]]}, and this system knows "
            f"{formats.get(newer[0], FIRST)}",
            hint="A newer system wrote it: start that one, or go back to an older revision (`config history`).",
        )
    tables: dict[str, Mapping[str, Any]] = {}
    changes, failures = [], []
    for name, wanted in sorted(formats.items()):
        table, version = data.get(name), stated.get(name, FIRST)
        if not isinstance(table, dict) or version == wanted:
            continue
        try:
            tables[name] = _migrate(table, version, wanted, steps[name])
            changes.append(f"{path}: [{name}] is of format {version} and was read as format {wanted}")
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            failures.append(
                f"{path}: [{name}] is of format {version}, and its plugin cannot turn it into format {wanted}: {error}"
            )
    if not tables:
        return Migrated(text=text, failures=tuple(failures), data=data)
    written = {**tables, "node": _with_formats(data, stated, {name: formats[name] for name in tables})}
    return Migrated(text=rewritten(text, written), changes=tuple(changes), failures=tuple(failures))


def _stated(data: Mapping[str, object]) -> dict[str, int]:
    """What the file says; whatever is no number is left to the model of ``[node]``, which refuses it."""
    node = data.get("node")
    found = node.get(KEY) if isinstance(node, dict) else None
    return {name: each for name, each in found.items() if type(each) is int} if isinstance(found, dict) else {}


def _with_formats(data: Mapping[str, object], stated: Mapping[str, int], new: Mapping[str, int]) -> Mapping[str, Any]:
    node = data.get("node")
    return {**(node if isinstance(node, dict) else {}), KEY: {**stated, **new}}


def _migrate(table: Mapping[str, Any], version: int, wanted: int, steps: Sequence[Migration]) -> Mapping[str, Any]:
    by_start = {step.from_version: step for step in steps}
    for _ in range(STEPS_MAX):
        if version == wanted:
            return table
        if version not in by_start:
            raise ValueError(f"there is no migration from format {version}")
        step = by_start[version]
        table, version = step.migrate(table), step.to_version
        if not isinstance(table, Mapping):
            raise TypeError(f"the migration to format {version} returned {type(table).__name__}")
    raise ValueError("its migrations have no end")
