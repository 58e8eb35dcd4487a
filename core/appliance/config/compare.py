"""What differs between two configurations, key by key, with the values that may be shown. Pure.

Items of a list are paired by their name or id; those that have none by their place, after what is the same at both
ends of the list: one rule that was put in between is one difference. Plain values of a list are compared as a set.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from appliance.config.positions import KeyPath, format_path
from appliance.config.redact import REDACTED
from appliance.config.sections import IDENTITIES
from appliance.config.shape import secret_paths
from appliance.config.wording import show
from appliance.events.config import KeyChange, Kind

Models = Mapping[str, type[BaseModel]]
ORDER = "the same items in another order"


class _Secret:
    """A value that takes part in the comparison and is never shown."""

    __slots__ = ("_value",)

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Secret) and self._value == other._value

    __hash__ = None  # type: ignore[assignment]


def changed_keys(old: Mapping[str, Any], new: Mapping[str, Any], models: Models) -> Iterator[KeyChange]:
    """Every key in which the data of two configurations differ, as far as somebody asks.

    Args:
        old: Tables by name.
        new: The same, later or on the other node.
        models: Of the tables by name; they say what is secret.
    """
    yield from _compare(_concealed(old, (), secret_paths(old, models)), _concealed(new, (), secret_paths(new, models)))


def _concealed(value: Any, path: KeyPath, secrets: frozenset[KeyPath]) -> Any:
    if path in secrets:
        return _Secret(value)
    if isinstance(value, Mapping):
        return {key: _concealed(each, (*path, key), secrets) for key, each in value.items()}
    if isinstance(value, list):
        return [_concealed(each, (*path, place), secrets) for place, each in enumerate(value)]
    return value


def _compare(old: Any, new: Any, where: str = "") -> Iterator[KeyChange]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _child(old, new, key, _below(where, key))
    elif isinstance(old, list) and isinstance(new, list):
        yield from _compare_lists(old, new, where)
    elif type(old) is not type(new) or old != new:
        yield KeyChange(where=where, kind=Kind.CHANGED, old=_shown(old), new=_shown(new))


def _compare_lists(old: list[Any], new: list[Any], where: str) -> Iterator[KeyChange]:
    before, after = _by_identity(old), _by_identity(new)
    if before is None or after is None:
        yield from _compare_places(old, new, where)
        return
    is_plain = not any(isinstance(each, Mapping) for each in [*old, *new])
    for name in dict.fromkeys([*before, *after]):
        yield from _child(before, after, name, f"{where}[]" if is_plain else f"{where}[{name}]")
    if [name for name in before if name in after] != [name for name in after if name in before]:
        yield KeyChange(where=where, kind=Kind.CHANGED, old="a list", new=ORDER)


def _compare_places(old: list[Any], new: list[Any], where: str) -> Iterator[KeyChange]:
    """Items that have no names, by their place in the new list."""
    start = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    rest = 0
    while rest < min(len(old), len(new)) - start and old[-1 - rest] == new[-1 - rest]:
        rest += 1
    before, after = (dict(enumerate(each[start : len(each) - rest], start)) for each in (old, new))
    for place in range(start, start + max(len(before), len(after))):
        yield from _child(before, after, place, f"{where}[{place}]")


def _child(old: Mapping[Any, Any], new: Mapping[Any, Any], key: Any, where: str) -> Iterator[KeyChange]:
    if key not in new:
        for leaf, value in _leaves(old[key], where):
            yield KeyChange(where=leaf, kind=Kind.REMOVED, old=_shown(value), new=None)
    elif key not in old:
        for leaf, value in _leaves(new[key], where):
            yield KeyChange(where=leaf, kind=Kind.ADDED, old=None, new=_shown(value))
    else:
        yield from _compare(old[key], new[key], where)


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """The single values below a key; an empty table or list counts as one."""
    if isinstance(value, Mapping) and value:
        for key, child in value.items():
            yield from _leaves(child, _below(where, key))
    elif isinstance(value, list) and value:
        for name, child in (_by_identity(value) or _by_place(value)).items():
            yield from _leaves(child, f"{where}[{name}]" if isinstance(child, Mapping | list) else f"{where}[]")
    else:
        yield where, value


def _by_identity(items: Sequence[Any]) -> dict[str, Any] | None:
    """Items by name, id or value; ``None`` when one has none or two have the same."""
    found: dict[str, Any] = {}
    for item in items:
        if isinstance(item, Mapping):
            name = next((str(item[key]) for key in IDENTITIES if isinstance(item.get(key), str | int)), "")
        else:
            name = json.dumps(item) if isinstance(item, str | int | float) else ""
        if not name or name in found:
            return None
        found[name] = item
    return found


def _by_place(items: Sequence[Any]) -> dict[str, Any]:
    return {str(place): item for place, item in enumerate(items)}


def _below(where: str, key: str) -> str:
    name = format_path((key,))
    return f"{where}.{name}" if where else name


def _shown(value: Any) -> str:
    if isinstance(value, _Secret):
        return REDACTED
    if value == {} or value == []:
        return "empty"
    return show(value)
