"""What of a configuration travels to the other nodes, and how what arrives becomes part of the receiver's own.

Pure. Data is what TOML says (dicts, lists, plain values), never model instances: what an operator wrote travels as it
was written, and two nodes compare the same bytes. Fields of scope LOCAL and items marked ``nosync`` stay where they
are, on the way out and on the way in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from appliance.config.shape import Shape
from appliance.errors import RefusedError

Data = dict[str, Any]
Models = Mapping[str, type[BaseModel]]
NOSYNC = "nosync"
IDENTITIES = ("name", "id")
"""Keys by which an item of a list is the same one on two nodes."""


def digest(data: object) -> str:
    """SHA-256 of the canonical form: keys sorted, no spaces. Equal data has equal digests on every node."""
    return hashlib.sha256(canonical(data)).hexdigest()


def canonical(data: object) -> bytes:
    """Canonical JSON. Dates and times of TOML become their ISO form."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode()


def take(data: Mapping[str, Any], keys: Sequence[Sequence[str]]) -> Data:
    """Only these keys of a configuration; those that are absent stay absent."""
    taken: Data = {}
    for key in keys:
        found: Any = data
        for part in key:
            found = found.get(part) if isinstance(found, Mapping) else None
        if found is None:
            continue
        at = taken
        for part in key[:-1]:
            at = at.setdefault(part, {})
        at[key[-1]] = found
    return taken


def put(data: Mapping[str, Any], keys: Sequence[Sequence[str]], new: Mapping[str, Any]) -> Data:
    """The configuration with these keys as in `new`; those that `new` lacks are removed."""
    result = _copied(data)
    for key in keys:
        found: Any = new
        for part in key:
            found = found.get(part) if isinstance(found, Mapping) else None
        at: Any = result
        for part in key[:-1]:
            at = at.setdefault(part, {}) if found is not None else at.get(part, {})
        if found is not None:
            at[key[-1]] = found
        else:
            at.pop(key[-1], None)
    return result


def _copied(data: Mapping[str, Any]) -> Data:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in data.items()}


# --- out ---------------------------------------------------------------------------------------------------


def shared(data: Mapping[str, Any], models: Models) -> Data:
    """What of these tables travels: without LOCAL fields and without items that are marked ``nosync``."""
    return {name: _shared(table, Shape([models[name]])) if name in models else table for name, table in data.items()}


def present(data: Mapping[str, Any], keys: Sequence[Sequence[str]], models: Models) -> Data:
    """Those tables of a section of which nothing travels but that they are there: that switches a plugin on."""
    names = dict.fromkeys(key[0] for key in keys if key[0] in data)
    # A key at a time: most often the first one of a large table says that something of it travels.
    return {
        name: {}
        for name in names
        if not any(shared({name: {key: value}}, models)[name] for key, value in data[name].items())
    }


def _shared(value: Any, shape: Shape) -> Any:
    if isinstance(value, Mapping):
        if value.keys() <= shape.flat:
            return value
        inner = {
            key: _shared(each, shape.inner(key)) if isinstance(each, dict | list) else each
            for key, each in value.items()
            if key not in shape.local and not _stays(each)
        }
        # A table or list of which nothing travels is not there for others; one that is empty is.
        return {key: each for key, each in inner.items() if each not in ({}, []) or value[key] == each}
    if isinstance(value, list):
        inner_shape = shape.inner(0)
        return [_shared(item, inner_shape) for item in value if not _stays(item)]
    return value


def _stays(value: object) -> bool:
    return isinstance(value, Mapping) and value.get(NOSYNC) is True


# --- in ----------------------------------------------------------------------------------------------------


def merged(received: Mapping[str, Any], own: Mapping[str, Any], models: Models) -> Data:
    """The receiver's new tables: what came, and of its own what never travels.

    Args:
        received: Whole tables, or those parts of them that were sent; as `shared` makes them.
        own: The same parts of the receiver's configuration.
        models: Of the tables by name.

    Raises:
        RefusedError: Something that stays here has the name of something that came.
    """
    names = dict.fromkeys([*received, *own])
    tables = ((name, _merged(received.get(name, {}), own.get(name, {}), Shape([models[name]]))) for name in names)
    return {name: table for name, table in tables if table or name in received}


def _merged(received: Any, own: Any, shape: Shape) -> Any:
    if isinstance(received, Mapping):
        return _merged_table(received, own if isinstance(own, Mapping) else {}, shape)
    if isinstance(received, list) and isinstance(own, list):
        inner = shape.inner(0)
        known = {identity: item for item in own if (identity := _identity(item)) is not None}
        result = []
        for item in received:
            identity = _identity(item) or ("", "")
            here = known.get(identity)
            _refuse_if_kept(here, identity[1])
            result.append(_merged(item, here, inner))
        return result + [item for item in own if _stays(item)]
    return received


def _merged_table(received: Mapping[str, Any], own: Mapping[str, Any], shape: Shape) -> Data:
    if not own:
        return dict(received)
    for key in received:
        _refuse_if_kept(own.get(key), key)
    result = {key: _merged(value, own.get(key), shape.inner(key)) for key, value in received.items()}
    for key, value in own.items():
        if key in received:
            continue
        if key in shape.local or _stays(value):
            result[key] = value
        elif isinstance(value, Mapping | list):
            rest = _merged(type(value)(), value, shape.inner(key))
            if rest:  # nothing of it was sent, but something in it stays
                result[key] = rest
    return result


def _refuse_if_kept(own: object, name: str) -> None:
    """One of two things of the same name stays here: which one is the operator's to say."""
    if _stays(own):
        raise RefusedError(
            f"{name!r} is marked nosync here, and the other node sends one of the same name",
            hint="Rename it on one of the nodes, or remove nosync here.",
        )


def _identity(item: object) -> tuple[str, str] | None:
    if not isinstance(item, Mapping):
        return None
    for key in IDENTITIES:
        if item.get(key):
            return key, str(item[key])
    return None
