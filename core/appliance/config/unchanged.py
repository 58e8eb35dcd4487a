"""Tables that are as before stay the models they were, so that what was made of them is not made again. Pure.

An alias of a hundred thousand entries is read once, not at each commit that changes something else; of fifty thousand
rules those are validated that are new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import AfterValidator, BeforeValidator, PlainValidator, WrapValidator

from appliance.config.model import Config, Model
from appliance.config.repeated import Known

_VALIDATORS = (AfterValidator, BeforeValidator, PlainValidator, WrapValidator)


@dataclass(frozen=True, slots=True)
class Before:
    """The configuration in force, and what its text says."""

    config: Config
    data: Mapping[str, Any]

    @property
    def known(self) -> Known:
        """What has been read of it."""
        return Known(self.config.text, self.data)

    def kept_in(self, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
        """The data of a table in which tables of tables, and lists of them, have models where nothing has changed.

        Args:
            name: Of the table.
            table: What the new text says about it.
        """
        model, old = self.config.tables.get(name), self.data.get(name)
        if model is None or not isinstance(old, Mapping):
            return dict(table)
        return {key: _kept(model, key, value, old.get(key)) for key, value in table.items()}


def _kept(table: Model, key: str, value: Any, old: Any) -> Any:
    models = getattr(table, key, None)
    if isinstance(models, Mapping) and isinstance(value, Mapping) and isinstance(old, Mapping):
        return _kept_by_name(models, value, old)
    if isinstance(models, list | tuple) and isinstance(value, list) and isinstance(old, list):
        return _kept_items(models, value, old) if _stays_in_order(type(table), key) else value
    return value


def _kept_by_name(models: Mapping[str, object], value: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: model for name, model in models.items() if isinstance(model, Model)}
    return {
        name: known[name] if name in known and _is_same(each, old.get(name)) else each for name, each in value.items()
    }


def _kept_items(models: Sequence[object], value: list[Any], old: list[Any]) -> list[Any]:
    """Items have no names, but those that were not read again (`repeated`) are the same objects."""
    if len(models) != len(old):
        return value
    known = {id(item): model for item, model in zip(old, models, strict=True) if isinstance(model, Model)}
    return [known.get(id(item), item) for item in value]


@cache
def _stays_in_order(model: type[Model], key: str) -> bool:
    """Whether each item of a list has become the model at its place: a validator may sort them."""
    found, field = model.__pydantic_decorators__, model.model_fields.get(key)
    return (
        not (found.field_validators or found.model_validators or found.validators or found.root_validators)
        and field is not None
        and not any(isinstance(each, _VALIDATORS) for each in field.metadata)
    )


def _is_same(value: object, old: object) -> bool:
    # 1, 1.0 and true are equal in Python, and different things in a configuration.
    return value is old or (value == old and repr(value) == repr(old))
