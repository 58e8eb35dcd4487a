"""Questions about pydantic models by key path: which keys are known here, and which values are secret."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import UnionType
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Secret, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

from appliance.config.docstrings import description_of
from appliance.config.model import NodeTable, PluginsTable
from appliance.config.positions import KeyPath

CORE_TABLES: Mapping[str, type[BaseModel]] = {"node": NodeTable, "plugins": PluginsTable}
"""Tables that belong to no plugin."""

# A second net below the models: a misspelled key, or the table of a plugin that did not load, has no model
# that could say what is secret.
_SOUNDS_SECRET = re.compile(
    r"pass(word|wd|phrase)|passwrd|secret|psk|pre.?shared|private.?key|token|\bhash\b", re.IGNORECASE
)


def sounds_secret(key: str) -> bool:
    """Whether a key is better not printed although no model says so."""
    return _SOUNDS_SECRET.search(key) is not None


def branches(annotation: object) -> Iterator[object]:
    """The types a value may have, without `Annotated`, unions, aliases and root models around them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from branches(get_args(annotation)[0])
    elif origin is Union or origin is UnionType:
        for inner in get_args(annotation):
            yield from branches(inner)
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel) and "root" in annotation.model_fields:
        yield from branches(annotation.model_fields["root"].annotation)
    else:
        yield annotation


def _models(annotations: Sequence[object]) -> Iterator[type[BaseModel]]:
    for annotation in annotations:
        for branch in branches(annotation):
            if isinstance(branch, type) and issubclass(branch, BaseModel):
                yield branch


def fields_of(annotations: Sequence[object]) -> dict[str, FieldInfo]:
    """Fields of all models a value may have, by the name they have in a file."""
    return {field.alias or name: field for model in _models(annotations) for name, field in model.model_fields.items()}


def descriptions_of(annotations: Sequence[object]) -> dict[str, str]:
    """As `fields_of`, what they are for."""
    return {
        field.alias or name: description_of(model, name)
        for model in _models(annotations)
        for name, field in model.model_fields.items()
    }


def _step(annotations: Sequence[object], part: str | int) -> list[object]:
    """The types of one element or key of values of these types."""
    found: list[object] = []
    for annotation in annotations:
        for branch in branches(annotation):
            origin, inner = get_origin(branch), get_args(branch)
            if not isinstance(origin, type) or not inner:
                continue
            if isinstance(part, int) and issubclass(origin, Sequence | AbstractSet):
                found.extend(item for item in inner if item is not Ellipsis)
            elif isinstance(part, str) and issubclass(origin, Mapping):
                found.append(inner[1])
    if isinstance(part, str):
        field = fields_of(annotations).get(part)
        if field is not None:
            found.append(field.annotation)
    return found


def known_keys(model: type[BaseModel], path: KeyPath, value: object = None) -> dict[str, str]:
    """Keys that a table at this path may have, each with its description.

    Args:
        model: The model of the whole table.
        path: Keys and indexes below it.
        value: What is there; tells which member of a tagged union is meant.
    """
    annotations: list[object] = [model]
    for part in path:
        annotations = _step(annotations, part)
    candidates = list(_models(annotations))
    meant = [each for each in candidates if isinstance(value, dict) and _fits_tags(each, value)]
    return descriptions_of(meant or candidates)


def field_at(annotations: Sequence[object], key: str) -> FieldInfo | None:
    """The field of this name in whichever model values of these types have."""
    return fields_of(annotations).get(key)


def inner_annotations(annotations: Sequence[object], part: str | int) -> list[object]:
    """The types of one key or element of values of these types; none when no model says so."""
    return _step(annotations, part)


def _fits_tags(model: type[BaseModel], value: Mapping[str, object]) -> bool:
    """Whether the value has the constants that the model demands."""
    return all(
        value.get(field.alias or name) in get_args(field.annotation)
        for name, field in model.model_fields.items()
        if get_origin(field.annotation) is Literal and field.is_required()
    )


def is_secret(annotations: Sequence[object]) -> bool:
    """Whether values of these types must not be shown."""
    return any(
        isinstance(branch, type) and issubclass(branch, SecretStr | SecretBytes | Secret)
        for annotation in annotations
        for branch in branches(annotation)
    )


def may_be_secret(unknown: str, annotations: Sequence[object]) -> bool:
    """Whether a key that no model knows sounds secret, or is a secret key misspelled."""
    names = [name for name, field in fields_of(annotations).items() if is_secret([field.annotation])]
    return sounds_secret(unknown) or bool(difflib.get_close_matches(unknown, names, n=1))
