"""What differs between two configurations: by table, and as a unified diff. Secrets stay hidden."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import tomli
from pydantic import BaseModel

from appliance.config.model import Config
from appliance.config.positions import KeyPath, locate
from appliance.config.redact import redact_paths
from appliance.config.shape import secret_paths

OLD_SECRET = '"********** (old)"'
NEW_SECRET = '"********** (new)"'
"""A secret that differs is marked, so that a change of nothing else is still seen."""

Models = Mapping[str, type[BaseModel]]


def changed_tables(old: Config | None, new: Config) -> tuple[str, ...]:
    """Names of the tables whose meaning differs, in file order; how they are written does not matter."""
    before = _by_name(old) if old is not None else {}
    after = _by_name(new)
    names = [*after, *(name for name in before if name not in after)]
    return tuple(name for name in names if before.get(name) != after.get(name))


def _by_name(config: Config) -> dict[str, object]:
    return {"node": config.node, "plugins": config.plugins, **config.tables}


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
