"""Pydantic's findings in our own words: what is wrong with a value and what would be right."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from appliance.config.positions import KeyPath
from appliance.config.schema import known_keys
from appliance.errors import Problem

SHOWN_MAX = 40
"""Characters of a wrong value that are repeated in a message: enough to recognise it."""
KEYS_SHOWN_MAX = 12
"""Known keys listed for a misspelled one that resembles none: more would hide the message."""

_NEEDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text in quotes",
    "bytes_type": "text in quotes",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dataclass_type": "a table",
    "ip_v4_address": "an IPv4 address",
    "ip_v6_address": "an IPv6 address",
    "ip_v4_interface": "an IPv4 address with its prefix length",
    "ip_v6_interface": "an IPv6 address with its prefix length",
    "ip_v4_network": "an IPv4 network (no bits set after the prefix)",
    "ip_v6_network": "an IPv6 network (no bits set after the prefix)",
    "date_type": "a date",
    "datetime_type": "a date and time",
    "time_type": "a time of day",
}
"""Error types that mean "this is another kind of value", and the kind that is needed."""

_PATTERNS = {
    r"^[^\s/:]{1,15}$": "a device name: 1 to 15 characters, no space, slash or colon",
    r"^[a-z][a-z0-9_]{0,14}$": "a lower-case letter, then at most 14 lower-case letters, digits or underscores",
    r"^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$": "a host name: letters, digits and inner dashes, at most 63",
}
"""The patterns of core field types, in words."""

_SENTENCES: dict[str, Callable[[Mapping[str, object]], str]] = {
    "greater_than_equal": lambda ctx: f"must be at least {ctx['ge']}",
    "greater_than": lambda ctx: f"must be greater than {ctx['gt']}",
    "less_than_equal": lambda ctx: f"must be at most {ctx['le']}",
    "less_than": lambda ctx: f"must be less than {ctx['lt']}",
    "multiple_of": lambda ctx: f"must be a multiple of {ctx['multiple_of']}",
    "finite_number": lambda _: "must be a finite number",
    "string_too_short": lambda ctx: f"must have at least {ctx['min_length']} characters",
    "string_too_long": lambda ctx: f"must have at most {ctx['max_length']} characters",
    "string_pattern_mismatch": lambda ctx: (
        f"must be {_PATTERNS.get(str(ctx['pattern']), 'like ' + str(ctx['pattern']))}"
    ),
}
"""Error types about a value of the right kind."""


def similar(name: str, names: Iterable[str]) -> str | None:
    """The known name that was probably meant."""
    return next(iter(difflib.get_close_matches(name, list(names), n=1)), None)


def show(value: object) -> str:
    """A value as a file would write it, cut to a readable length."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list"
    is_plain = isinstance(value, str | bool | int | float)
    text = json.dumps(value, ensure_ascii=False) if is_plain else str(value)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}…"


def explain(
    errors: Sequence[ErrorDetails],
    *,
    table: str,
    model: type[BaseModel],
    data: Mapping[str, object],
    secrets: frozenset[KeyPath],
) -> list[Problem]:
    """One problem per place; several errors at one place (a union's members) become one sentence."""
    grouped: dict[KeyPath, list[ErrorDetails]] = {}
    for error in errors:
        grouped.setdefault(_real_path(error, data), []).append(error)
    problems = []
    for path, found in grouped.items():
        whole = (table, *path)
        hidden = any(whole[:length] in secrets for length in range(1, len(whole) + 1))
        problems.append(Problem(path=whole, message=_message(path, found, model, data, hidden=hidden)))
    return problems


def _real_path(error: ErrorDetails, data: object) -> KeyPath:
    """Pydantic's location without the union members and validators it names: what the file has, or lacks."""
    path: list[str | int] = []
    for index, part in enumerate(error["loc"]):
        is_key = isinstance(data, dict) and part in data
        if is_key or (isinstance(data, list) and isinstance(part, int) and part < len(data)):
            data = data[part]  # type: ignore[index]
            path.append(part)
        elif error["type"] == "missing" and index == len(error["loc"]) - 1:
            path.append(part)
    return tuple(path)


def _message(
    path: KeyPath, errors: Sequence[ErrorDetails], model: type[BaseModel], data: object, *, hidden: bool
) -> str:
    first = errors[0]
    if first["type"] == "missing":
        about = known_keys(model, path[:-1]).get(str(path[-1]), "").partition("\n")[0]
        return "this key is required and missing" + (f" ({about.rstrip('.')})" if about else "")
    if first["type"] == "extra_forbidden":
        for part in path[:-1]:
            data = data[part]  # type: ignore[index]
        return _unknown_key(str(path[-1]), known_keys(model, path[:-1], data))
    needs: list[str] = []
    sentences: list[str] = []
    for error in errors:
        need = _needed(error)
        if need is not None:
            needs.append(need)
        elif error["type"] != "none_required":  # the "absent" half of an optional key
            sentences.append(_sentence(error, hidden=hidden))
    if sentences:  # one member of the union had the right kind: its complaint is the useful one
        return "; ".join(dict.fromkeys(sentences))
    value = first["input"]
    said = "" if hidden else f", not {show(value)}{_advice(errors, value)}"
    return f"needs {' or '.join(dict.fromkeys(needs))}{said}"


def _unknown_key(key: str, known: Mapping[str, str]) -> str:
    meant = similar(key, known)
    if meant is not None:
        return f'unknown key; did you mean "{meant}"?'
    if not known:
        return "unknown key; this table has none"
    names = sorted(known)
    more = ", …" if len(names) > KEYS_SHOWN_MAX else ""
    return f"unknown key; known here: {', '.join(names[:KEYS_SHOWN_MAX])}{more}"


def _needed(error: ErrorDetails) -> str | None:
    if error["type"] in ("literal_error", "enum"):
        return _choices(str(error.get("ctx", {}).get("expected", "")))
    return _NEEDS.get(error["type"])


def _choices(expected: str) -> str:
    """Pydantic writes ``'x', 'y' or 'z'``."""
    text = expected.replace("'", '"')
    return text if " or " not in text else f"one of {text}"


def _sentence(error: ErrorDetails, *, hidden: bool) -> str:
    kind, ctx = error["type"], error.get("ctx", {})
    if kind in _SENTENCES:
        said = "" if hidden or isinstance(error["input"], list | dict) else f", not {show(error['input'])}"
        return _SENTENCES[kind](ctx) + said
    if kind in ("value_error", "assertion_error") and "error" in ctx:
        return str(ctx["error"])
    if kind == "too_short":
        return f"needs at least {ctx['min_length']} items, but has {ctx['actual_length']}"
    if kind == "too_long":
        return f"may have at most {ctx['max_length']} items, but has {ctx['actual_length'] or 'more'}"
    if kind == "union_tag_invalid":
        return f"{_tag(ctx)} must be one of {ctx['expected_tags']}, not {show(ctx['tag'])}".replace("'", '"')
    if kind == "union_tag_not_found":
        return f"the key {_tag(ctx)} is required and missing"
    text = error["msg"]
    return text[:1].lower() + text[1:]


def _tag(ctx: Mapping[str, object]) -> str:
    return str(ctx["discriminator"]).replace("'", '"')


def _advice(errors: Sequence[ErrorDetails], value: object) -> str:
    """What the common slips should have been."""
    kinds = {error["type"] for error in errors}
    if isinstance(value, str):
        if kinds & {"int_type", "float_type"} and re.fullmatch(r"[+-]?\d+(\.\d+)?", value):
            return f": write {value} without quotes"
        if "bool_type" in kinds and value.lower() in ("true", "false", "yes", "no", "on", "off"):
            return f": write {'true' if value.lower() in ('true', 'yes', 'on') else 'false'} without quotes"
        choices = [choice for error in errors for choice in re.findall(r"'([^']*)'", str(error.get("ctx", "")))]
        meant = similar(value, choices) if kinds & {"literal_error", "enum"} else None
        if meant is not None:
            return f'; did you mean "{meant}"?'
    if kinds & {"list_type", "tuple_type", "set_type", "frozen_set_type"} and isinstance(value, str | int | float):
        return f": write [{show(value)}]"
    if "string_type" in kinds and isinstance(value, int | float) and not isinstance(value, bool):
        return f': write "{value}"'
    return ""
