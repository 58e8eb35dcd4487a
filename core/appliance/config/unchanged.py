"""Named tables that are as before stay the models they were, so that what was made of them is not made again. Pure.

An alias of a hundred thousand entries is read once, not at each commit that changes something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from appliance.config.model import Config, Model


@dataclass(frozen=True, slots=True)
class Before:
    """The configuration in force, and what its text says."""

    config: Config
    data: Mapping[str, Any]

    def kept_in(self, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """The data of a table in which tables of tables have models where nothing in them has changed.

        Args:
            name: Of the table.
            table: What the new text says about it.
        """
        model, old = self.config.tables.get(name), self.data.get(name)
        if model is None or not isinstance(old, Mapping):
            return dict(table)
        return {key: _kept(getattr(model, key, None), value, old.get(key)) for key, value in table.items()}


def _kept(models: object, value: Any, old: Any) -> Any:
    if not (isinstance(models, Mapping) and isinstance(value, Mapping) and isinstance(old, Mapping)):
        return value
    known = {name: model for name, model in models.items() if isinstance(model, Model)}
    return {
        name: known[name] if name in known and _is_same(each, old.get(name)) else each for name, each in value.items()
    }


def _is_same(value: object, old: object) -> bool:
    # 1, 1.0 and true are equal in Python, and different things in a configuration.
    return value == old and repr(value) == repr(old)
