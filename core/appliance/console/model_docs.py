"""What a plugin's configuration table understands, as rows: key, type, default, scope, description."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from appliance.config import Model, description_of, scope_of
from appliance.config.keys import TYPE_NAMES

Row = dict[str, Any]
DEPTH_MAX = 6
"""Nesting of tables; a model that contains itself ends here."""


def fields(model: type[Model], prefix: str = "", depth: int = 0) -> list[Row]:
    """Every key of a table and of the tables inside it; ``vip[].vhid`` is a key of an array of tables."""
    rows = []
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        default = None if field.is_required() else _plain(field.get_default(call_default_factory=True))
        rows.append(
            {
                "key": key,
                "type": type_name(field.annotation),
                "required": field.is_required(),
                "default": default,
                "scope": scope_of(model, name).value,
                "doc": " ".join(description_of(model, name).split()),
            }
        )
        if depth < DEPTH_MAX:
            for suffix, inner in _inner_models(field.annotation):
                rows += fields(inner, f"{key}{suffix}.", depth + 1)
    return rows


def type_name(annotation: object) -> str:
    """A type in words an operator knows."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_name(args[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_name(arg) for arg in args if arg is not NoneType))
    if origin is Literal:
        return " | ".join(f'"{arg}"' if isinstance(arg, str) else str(arg) for arg in args)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"table of {type_name(args[1])}"
    if origin is not None:
        return f"list of {type_name(args[0])}" if args else "list"
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return "table"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " | ".join(f'"{item.value}"' for item in annotation)
    name = getattr(annotation, "__name__", str(annotation))
    return TYPE_NAMES.get(name, name)


def _inner_models(annotation: object, suffix: str = "") -> Iterator[tuple[str, type[Model]]]:
    origin, args = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield suffix, annotation
    elif origin is Annotated:
        yield from _inner_models(args[0], suffix)
    elif origin in (Union, UnionType):
        for arg in args:
            yield from _inner_models(arg, suffix)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        yield from _inner_models(args[1], f"{suffix}.NAME")
    elif origin is not None and args:
        yield from _inner_models(args[0], f"{suffix}[]")


def _plain(value: object) -> object:
    if isinstance(value, Model):
        return value.model_dump(mode="json")
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return str(value)
