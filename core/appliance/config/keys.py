"""What a configuration may have at some place, asked of the models: keys, ranges, and values from words.

Pure. A place is known by its annotations: all types that a value there may have (see `appliance.config.schema`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import NoneType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tomli
from pydantic import BaseModel, ConfigDict, SecretBytes, SecretStr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from appliance.config.schema import branches, descriptions_of, field_at, fields_of, inner_annotations, is_secret
from appliance.config.sections import IDENTITIES
from appliance.config.types import InterfaceName
from appliance.config.wording import explain

_STRICT = ConfigDict(strict=True, hide_input_in_errors=True)
TYPE_NAMES = {
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true/false",
    "IPv4Address": "IPv4 address",
    "IPv6Address": "IPv6 address",
    "IPv4Interface": "IPv4 address/prefix",
    "IPv6Interface": "IPv6 address/prefix",
    "IPv4Network": "IPv4 network",
    "IPv6Network": "IPv6 network",
    "SecretStr": "secret",
}
"""Types in words an operator knows."""
_INTERFACE_PATTERN = next(each for each in get_args(InterfaceName)[1].metadata if hasattr(each, "pattern")).pattern

Annotations = Sequence[object]


class Kind(StrEnum):
    """What is at a place, as far as walking goes."""

    TABLE = "table"
    """Keys that a model knows."""
    NAMED = "named"
    """Tables or values by names of the operator's."""
    ITEMS = "items"
    """A list of tables."""
    VALUES = "values"
    """A list of plain values."""
    VALUE = "value"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key that a table may have."""

    name: str
    doc: str
    """Its description, on one line."""
    kind: Kind
    required: bool
    default: str
    """For people; empty when there is none."""


def kind_of(annotations: Annotations) -> Kind:
    """What is at a place; the richest of the types it may have decides."""
    found = {_kind(branch) for annotation in annotations for branch in branches(annotation) if branch is not NoneType}
    return next((kind for kind in (Kind.TABLE, Kind.ITEMS, Kind.NAMED, Kind.VALUE) if kind in found), Kind.VALUES)


def _kind(branch: object) -> Kind:
    origin = get_origin(branch)
    if isinstance(branch, type) and issubclass(branch, BaseModel):
        return Kind.TABLE
    if not isinstance(origin, type):
        return Kind.VALUE
    if issubclass(origin, Mapping):
        return Kind.NAMED
    if issubclass(origin, Sequence | AbstractSet):
        items = [item for item in get_args(branch) if item is not Ellipsis]
        inner = {_kind(each) for item in items for each in branches(item)}
        return Kind.ITEMS if Kind.TABLE in inner else Kind.VALUES
    return Kind.VALUE


def below(annotations: Annotations, part: str | int) -> list[object]:
    """The annotations of a key or an element, with their constraints."""
    field = field_at(annotations, part) if isinstance(part, str) else None
    return [_whole(field)] if field is not None else inner_annotations(annotations, part)


def keys_of(annotations: Annotations) -> list[Key]:
    """The keys of the tables that may be here, as the models order them."""
    descriptions = descriptions_of(annotations)
    return [
        Key(
            name=name,
            doc=" ".join(descriptions[name].split()),
            kind=kind_of([_whole(field)]),
            required=field.is_required(),
            default=_default(field),
        )
        for name, field in fields_of(annotations).items()
    ]


def identity_of(annotations: Annotations) -> str | None:
    """The required key that names the items of a list: ``name``; ``None`` when they only have numbers."""
    fields = fields_of(below(annotations, 0))
    return next((name for name in IDENTITIES if name in fields and fields[name].is_required()), None)


def names_of(annotations: Annotations) -> list[object]:
    """The annotations of the names in a mapping."""
    found = [branch for annotation in annotations for branch in branches(annotation) if _kind(branch) is Kind.NAMED]
    return [get_args(branch)[0] for branch in found]


def options_of(annotations: Annotations) -> list[str]:
    """The words a value has to be one of, if it has to; as TOML's values are typed."""
    found: list[str] = []
    for branch in _leaves(annotations):
        if get_origin(branch) is Literal:
            found += [str(word) for word in get_args(branch)]
        elif branch is bool:
            found += ["true", "false"]
        elif isinstance(branch, type) and issubclass(branch, Enum):
            found += [str(item.value) for item in branch]
    return found


def describe(annotations: Annotations) -> tuple[str, str]:
    """A value for people: what may be typed (``1..255``), and its type (``whole number``)."""
    names, limits = [], dict[str, Any]()
    for annotation in annotations:
        limits |= _limits(annotation)
    for branch in _leaves(annotations):
        if get_origin(branch) is Literal:
            names += [str(word) for word in get_args(branch)]
        else:
            name = getattr(branch, "__name__", str(branch))
            names.append(TYPE_NAMES.get(name, name))
    kind = " or ".join(dict.fromkeys(names)) or "text"
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if low is not None and high is not None:
        return f"{low:g}..{high:g}", kind
    if low is not None:
        return f"{low:g}..", kind
    return kind, kind


def is_reference(annotations: Annotations) -> bool:
    """Whether a value is the name of a logical interface, by its type."""
    return any(_limits(each).get("pattern") == _INTERFACE_PATTERN for each in annotations)


def takes_text(annotations: Annotations) -> bool:
    """Whether any text may stand here."""
    return any(branch is str for branch in _leaves(annotations))


def holds_secret(annotations: Annotations) -> bool:
    """Whether what is here must not be shown."""
    return is_secret(annotations)


def value_of(annotations: Annotations, word: str, *, key: str, is_quoted: bool = False) -> Any:
    """The value that a typed word means at this place, as TOML has it.

    Raises:
        ValueError: It cannot be one; the message says what would be right.
    """
    kind: Any = Union[tuple(annotations) or (str,)]  # noqa: UP007 - made of what is known at run time only
    adapter: TypeAdapter[Any] = TypeAdapter(kind, config=_STRICT)
    failure: ValidationError | None = None
    for candidate in _readings(word, is_quoted=is_quoted):
        try:
            adapter.validate_python(candidate)
        except ValidationError as error:
            # What a number lacks says more than that a text is none, and the other way round.
            if failure is None or _right_kind(error):
                failure = error
        else:
            return candidate
    assert failure is not None
    problems = explain(
        failure.errors(include_url=False), table=key, model=BaseModel, data={}, secrets=frozenset([(key,)])
    )
    raise ValueError("; ".join(dict.fromkeys(problem.message for problem in problems)))


def _readings(word: str, *, is_quoted: bool) -> Iterator[Any]:
    """What a word may mean, the most special first."""
    if not is_quoted:
        try:
            value = tomli.loads(f"x = {word}")["x"] if "\n" not in word else word
        except tomli.TOMLDecodeError:
            value = word
        if not isinstance(value, str):
            yield value
        if isinstance(value, int) and not isinstance(value, bool):
            yield float(value)
    yield word


def _right_kind(error: ValidationError) -> bool:
    return not all(each["type"].endswith(("_type", "_parsing")) for each in error.errors(include_url=False))


def _whole(field: FieldInfo) -> object:
    """The annotation of a field with what pydantic has taken out of it."""
    whole: object = field.annotation
    for item in field.metadata:
        whole = Annotated[whole, item]
    return whole


def _leaves(annotations: Annotations) -> Iterator[object]:
    """The plain types of a value, of the elements where it is a list."""
    for annotation in annotations:
        for branch in branches(annotation):
            origin = get_origin(branch)
            if isinstance(origin, type) and issubclass(origin, Sequence | AbstractSet):
                yield from _leaves([item for item in get_args(branch) if item is not Ellipsis])
            elif branch is not NoneType:
                yield branch


def _limits(annotation: object) -> dict[str, Any]:
    """The constraints of a type and of the types inside of it."""
    found: dict[str, Any] = {}
    for inner in get_args(annotation):
        if isinstance(inner, FieldInfo):
            for item in inner.metadata:
                found |= _constraints(item)
        elif get_origin(inner) is not None or isinstance(inner, type):
            found |= _limits(inner)
    for item in getattr(annotation, "__metadata__", ()):
        found |= _constraints(item)
    return found


def _constraints(item: object) -> dict[str, Any]:
    names = ("ge", "gt", "le", "lt", "pattern")
    return {name: value for name in names if (value := getattr(item, name, None)) is not None}


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return ""
    value = field.get_default(call_default_factory=True)
    if value is None or value == "" or isinstance(value, BaseModel | SecretStr | SecretBytes):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple | dict | set | frozenset):
        return " ".join(map(str, value))
    return str(value)
