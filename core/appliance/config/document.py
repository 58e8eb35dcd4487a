"""A configuration while it is edited: text and data that always say the same. Pure; comments survive.

Documents do not change: an edit makes a new one, so that a session can keep the one it began with. Paths are those of
`appliance.config.positions`: keys, and indexes of lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from appliance.config.positions import KeyPath, locate
from appliance.config.redact import redact_paths
from appliance.config.sections import IDENTITIES
from appliance.config.shape import secret_paths
from appliance.config.syntax import parse
from appliance.config.writing import renamed, rewritten
from appliance.errors import RefusedError

Models = Mapping[str, type[BaseModel]]
REDACTED = "**********"


class Document:
    """One state of a configuration that is edited."""

    def __init__(self, text: str, *, name: str = "candidate", data: dict[str, Any] | None = None) -> None:
        """Read a text.

        Raises:
            ConfigError: It is not TOML.
        """
        self.text, self.name = text, name
        self.data: dict[str, Any] = parse(text, name) if data is None else data

    # --- looking --------------------------------------------------------------------------------------------

    def at(self, path: KeyPath) -> Any:
        """What is at a place, or `None`."""
        found: Any = self.data
        for part in path:
            try:
                found = found[part]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    def has(self, path: KeyPath) -> bool:
        """Whether something is at a place. Empty tables and false values count."""
        return self.at(path) is not None

    def shown(self, path: KeyPath, models: Models) -> str:
        """The lines of the text that are about this place, with their comments and without secrets."""
        found = locate(self.text)
        lines = redact_paths(found, secret_paths(self.data, models)).split("\n")
        if not path:
            return "\n".join(lines).strip("\n")
        starts = sorted((place.line, key[: len(path)] == path) for key, place in found.keys.items())
        chosen: list[str] = []
        for (line, inside), (following, _) in zip(starts, [*starts[1:], (len(lines) + 1, False)], strict=True):
            if inside and following > line:
                block = lines[line - 1 : following - 1]
                chosen += _without_tail(block) if following <= len(lines) else block
        return "\n".join(chosen).strip("\n")

    def plain(self, path: KeyPath, models: Models) -> Any:
        """The data at a place without secrets, for programs."""
        secrets = secret_paths(self.data, models)
        return _redacted(self.at(path), path, secrets)

    # --- editing ---------------------------------------------------------------------------------------------

    def put(self, path: KeyPath, value: Any, *, names: Mapping[KeyPath, Mapping[str, Any]] | None = None) -> Document:
        """With a value at a place; tables on the way are made, items of lists with their `names`."""
        return self._with(_put(self.data, path, value, names or {}, ()), path)

    def without(self, path: KeyPath) -> Document:
        """Without what is at a place, and without tables in tables that are empty then.

        A table of its own stays: its presence is what makes its plugin run.
        """
        return self._with(_without(self.data, path), path)

    def renamed(self, path: KeyPath, name: str | int) -> Document:
        """With a key under another name, or an item with another name or number, at the place it had."""
        return self._moved(path, name, keep=False)

    def copied(self, path: KeyPath, name: str | int) -> Document:
        """As `renamed`, and the original stays."""
        return self._moved(path, name, keep=True)

    def merged(self, other: Document) -> Document:
        """With everything of another one; its values win, its lists replace."""
        data = _merged(self.data, other.data)
        return Document(rewritten(self.text, data, self.data), name=self.name, data=data)

    def _with(self, data: dict[str, Any], path: KeyPath) -> Document:
        table = str(path[0])
        text = rewritten(self.text, {table: data.get(table)}, self.data)
        return Document(text, name=self.name)

    def _moved(self, path: KeyPath, name: str | int, *, keep: bool) -> Document:
        *_, last = path
        parent, value = self.at(path[:-1]), self.at(path)
        if isinstance(parent, Mapping):
            if str(name) in parent:
                raise RefusedError(f"{name} exists already", hint="Choose another name, or delete it first.")
            pairs = [(str(name), value)] if not keep else [(str(last), value), (str(name), value)]
            changed: Any = dict(
                pair for key, old in parent.items() for pair in (pairs if key == last else [(key, old)])
            )
            keys = tuple(part for part in path if isinstance(part, str))
            if not keep and keys == path:
                data = _put(self.data, path[:-1], changed, {}, ())
                return Document(renamed(self.text, keys, str(name), data), name=self.name)
        else:
            changed = _moved_item(list(parent), int(last), name, keep=keep)
        return self.put(path[:-1], changed)


def changed_paths(old: Any, new: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """The deepest places at which two configurations differ."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from changed_paths(old.get(key), new.get(key), (*path, key))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for at, (one, other) in enumerate(zip(old, new, strict=True)):
            yield from changed_paths(one, other, (*path, at))
    elif old != new:
        yield path


def _put(data: Any, path: KeyPath, value: Any, names: Mapping[KeyPath, Mapping[str, Any]], done: KeyPath) -> Any:
    """A copy with the value in it; only what is on the way is copied."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(part, str):
        table = dict(data) if isinstance(data, Mapping) else dict(names.get(done, {}))
        table[part] = _put(table.get(part), rest, value, names, (*done, part))
        return table
    items = list(data) if isinstance(data, list) else []
    if part >= len(items):
        items.append(_put(dict(names.get((*done, part), {})), rest, value, names, (*done, part)))
    else:
        items[part] = _put(items[part], rest, value, names, (*done, part))
    return items


def _without(data: Any, path: KeyPath, *, top: bool = True) -> Any:
    part, rest = path[0], path[1:]
    copy: Any = dict(data) if isinstance(data, Mapping) else list(data)
    if rest:
        copy[part] = _without(copy[part], rest, top=False)
    # Lists and tables that have become empty go with what was in them.
    if not rest or (copy[part] in ({}, []) and not top):
        del copy[part]
    return copy


def _moved_item(items: list[Any], at: int, name: str | int, *, keep: bool) -> list[Any]:
    if isinstance(name, int):
        item = items[at] if keep else items.pop(at)
        if not 0 <= name <= len(items):
            raise RefusedError(f"there is no place {name}", hint=f"Give 0 to {len(items)}.")
        items.insert(name, item)
        return items
    key = next(key for key in IDENTITIES if key in items[at])
    if any(item.get(key) == name for item in items):
        raise RefusedError(f"{name} exists already", hint="Choose another name, or delete it first.")
    changed = {**items[at], key: name}
    return [*items[: at + 1], changed, *items[at + 1 :]] if keep else [*items[:at], changed, *items[at + 1 :]]


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are merged, and lists of tables by the names of their items; everything else is replaced."""
    out = dict(old)
    for key, value in new.items():
        if isinstance(value, Mapping) and isinstance(out.get(key), Mapping):
            out[key] = _merged(out[key], value)
        elif isinstance(value, list) and isinstance(out.get(key), list):
            out[key] = _merged_items(out[key], value)
        else:
            out[key] = value
    return out


def _merged_items(old: list[Any], new: list[Any]) -> list[Any]:
    names = [_name_of(item) for item in new]
    if None in names:
        return new
    places = {_name_of(item): at for at, item in enumerate(old)}
    out = list(old)
    for name, item in zip(names, new, strict=True):
        if name in places:
            out[places[name]] = _merged(out[places[name]], item)
        else:
            out.append(item)
    return out


def _name_of(item: Any) -> tuple[str, str] | None:
    if not isinstance(item, Mapping):
        return None
    return next(((key, item[key]) for key in IDENTITIES if isinstance(item.get(key), str)), None)


def _redacted(value: Any, path: KeyPath, secrets: frozenset[KeyPath]) -> Any:
    if path in secrets:
        return REDACTED
    if isinstance(value, Mapping):
        return {key: _redacted(each, (*path, key), secrets) for key, each in value.items()}
    if isinstance(value, list):
        return [_redacted(each, (*path, at), secrets) for at, each in enumerate(value)]
    return value


def _without_tail(block: list[str]) -> list[str]:
    """Without the blank lines and comments at its end, which are about what follows; one blank line stays."""
    end = len(block)
    while end and (not block[end - 1].strip() or block[end - 1].lstrip().startswith("#")):
        end -= 1
    return [*block[:end], ""] if end < len(block) else block
