"""What differs between two configurations: by table, by key, and as a unified diff. Secrets stay hidden."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import tomli
from pydantic import BaseModel

from appliance.config.model import Config
from appliance.config.positions import KeyPath, format_path, locate
from appliance.config.redact import REDACTED, redact_paths
from appliance.config.schema import secret_paths
from appliance.config.wording import show

OLD_SECRET = '"********** (old)"'
NEW_SECRET = '"********** (new)"'
"""A secret that differs is marked, so that a change of nothing else is still seen."""

Models = Mapping[str, type[BaseModel]]


class Kind(StrEnum):
    """How a key differs."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange:
    """One key that differs; values are as a file would write them, secrets redacted."""

    path: KeyPath
    kind: Kind
    old: str | None
    new: str | None

    def __str__(self) -> str:
        where = format_path(self.path)
        if self.kind is Kind.ADDED:
            return f"+ {where} = {self.new}"
        if self.kind is Kind.REMOVED:
            return f"- {where} = {self.old}"
        return f"~ {where}: {self.old} -> {self.new}"


def changed_tables(old: Config | None, new: Config) -> tuple[str, ...]:
    """Names of the tables whose meaning differs, in file order; how they are written does not matter."""
    before = _by_name(old) if old is not None else {}
    after = _by_name(new)
    names = [*after, *(name for name in before if name not in after)]
    return tuple(name for name in names if before.get(name) != after.get(name))


def _by_name(config: Config) -> dict[str, object]:
    return {"node": config.node, "plugins": config.plugins, **config.tables}


def changed_keys(old: str, new: str, models: Models) -> tuple[KeyChange, ...]:
    """Every key that differs between two valid texts."""
    before, after = tomli.loads(old), tomli.loads(new)
    secrets = secret_paths(before, models) | secret_paths(after, models)
    return tuple(_compare(before, after, (), secrets))


def _compare(old: object, new: object, path: KeyPath, secrets: frozenset[KeyPath]) -> Iterator[KeyChange]:
    hidden = path in secrets
    if isinstance(old, dict) and isinstance(new, dict) and not hidden:
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _child(old, new, key, (*path, key), secrets)
    elif isinstance(old, list) and isinstance(new, list) and not hidden:
        before, after = dict(enumerate(old)), dict(enumerate(new))
        for index in range(max(len(old), len(new))):
            yield from _child(before, after, index, (*path, index), secrets)
    elif type(old) is not type(new) or old != new:
        yield KeyChange(path=path, kind=Kind.CHANGED, old=_shown(old, hidden), new=_shown(new, hidden))


def _child(
    old: Mapping[str, object] | Mapping[int, object],
    new: Mapping[str, object] | Mapping[int, object],
    key: str | int,
    path: KeyPath,
    secrets: frozenset[KeyPath],
) -> Iterator[KeyChange]:
    if key not in new:
        for leaf, value in _leaves(old[key], path, secrets):  # type: ignore[index]
            yield KeyChange(path=leaf, kind=Kind.REMOVED, old=_shown(value, leaf in secrets), new=None)
    elif key not in old:
        for leaf, value in _leaves(new[key], path, secrets):  # type: ignore[index]
            yield KeyChange(path=leaf, kind=Kind.ADDED, old=None, new=_shown(value, leaf in secrets))
    else:
        yield from _compare(old[key], new[key], path, secrets)  # type: ignore[index]


def _leaves(value: object, path: KeyPath, secrets: frozenset[KeyPath]) -> Iterator[tuple[KeyPath, object]]:
    """The single values below a path; an empty table or list counts as one."""
    children: list[tuple[str | int, object]] = []
    if path not in secrets and isinstance(value, dict):
        children = list(value.items())
    elif path not in secrets and isinstance(value, list):
        children = list(enumerate(value))
    if not children:
        yield path, value
    for key, child in children:
        yield from _leaves(child, (*path, key), secrets)


def _shown(value: object, hidden: bool) -> str:
    return REDACTED if hidden else show(value)


def text_diff(old: str, new: str, models: Models, *, old_name: str, new_name: str) -> str:
    """A unified diff of two valid texts for people; empty when they are equal."""
    before, after = tomli.loads(old), tomli.loads(new)
    old_secrets, new_secrets = secret_paths(before, models), secret_paths(after, models)
    differing = {
        path for path in old_secrets & new_secrets if _value_at(before, path) != _value_at(after, path)
    }  # one that is only added or removed shows as its line
    left = redact_paths(locate(old), old_secrets, dict.fromkeys(differing, OLD_SECRET))
    right = redact_paths(locate(new), new_secrets, dict.fromkeys(differing, NEW_SECRET))
    lines = difflib.unified_diff(left.splitlines(), right.splitlines(), old_name, new_name, lineterm="")
    return "\n".join(lines)


def _value_at(data: object, path: KeyPath) -> object:
    for part in path:
        data = data[part]  # type: ignore[index]
    return data
