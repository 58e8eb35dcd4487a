"""What models say about the values at one place, asked once for each place and not for each of ten thousand rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from appliance.config.model import Scope
from appliance.config.positions import KeyPath
from appliance.config.schema import CORE_TABLES, branches, fields_of, inner_annotations, is_secret, may_be_secret


class Shape:
    """The types that values at one place may have; none when no model knows the place."""

    def __init__(self, annotations: Sequence[object]) -> None:
        self._annotations = annotations
        self._inner: dict[str | int, Shape] = {}
        self._hides: dict[str, bool] = {}

    def inner(self, part: str | int) -> Shape:
        """Of one key; all elements of a list have that of element 0."""
        found = self._inner.get(part)
        if found is None:
            found = self._inner[part] = Shape(inner_annotations(self._annotations, part))
        return found

    @cached_property
    def is_secret(self) -> bool:
        """Whether nothing of these values may be shown."""
        return is_secret(self._annotations)

    def hides(self, key: str) -> bool:
        """Whether the value of this key must not be shown."""
        found = self._hides.get(key)
        if found is None:
            inner = self.inner(key)
            is_known = bool(inner._annotations)
            found = inner.is_secret or (not is_known and may_be_secret(key, self._annotations))
            self._hides[key] = found
        return found

    @cached_property
    def local(self) -> frozenset[str]:
        """Keys that never travel."""
        return frozenset(key for key, field in fields_of(self._annotations).items() if Scope.LOCAL in field.metadata)

    @cached_property
    def flat(self) -> frozenset[str]:
        """Keys that travel, and of whose values no part could stay behind: there are no tables in them."""
        known = fields_of(self._annotations)
        return frozenset(key for key, field in known.items() if key not in self.local and _is_flat(field.annotation))


def _is_flat(annotation: object) -> bool:
    for branch in branches(annotation):
        origin, inner = get_origin(branch), get_args(branch)
        if origin is Literal:
            continue
        if isinstance(origin, type) and issubclass(origin, Sequence):
            if not all(map(_is_flat, inner)):
                return False
        elif branch in (Any, object) or not isinstance(branch, type) or issubclass(branch, Mapping | BaseModel):
            return False
    return True


def secret_paths(data: Mapping[str, object], models: Mapping[str, type[BaseModel]]) -> frozenset[KeyPath]:
    """Paths of all values that must not be printed; `models` are the tables' by name."""
    found: set[KeyPath] = set()
    for name, value in data.items():
        model = models.get(name) or CORE_TABLES.get(name)
        found.update(_secrets(Shape([model] if model else []), value, (name,)))
    return frozenset(found)


def _secrets(shape: Shape, data: object, path: KeyPath) -> Iterator[KeyPath]:
    if shape.is_secret:
        yield path
    elif isinstance(data, dict):
        for key, value in data.items():
            if shape.hides(key):
                yield (*path, key)
            elif isinstance(value, dict | list):
                yield from _secrets(shape.inner(key), value, (*path, key))
    elif isinstance(data, list):
        inner = shape.inner(0)
        for index, value in enumerate(data):
            if inner.is_secret or isinstance(value, dict | list):
                yield from _secrets(inner, value, (*path, index))
