"""From text to TOML data; what is not TOML is refused in words for operators."""

from __future__ import annotations

import re
from typing import Any

import tomli

from appliance.config.positions import Position, normalized
from appliance.config.repeated import Known, loads
from appliance.config.report import refuse_syntax
from appliance.errors import ConfigError

FILE_MAX_BYTES = 16 << 20
"""Largest file that is read: 100 times a large installation, and a bound for whatever is given by mistake."""
NESTING_MAX = 64
"""Deepest nesting of tables and lists: far more than any model has, far less than recursion can take."""


def parse(text: str, path: str, *, data: dict[str, Any] | None = None, known: Known | None = None) -> dict[str, Any]:
    """The data of a TOML text.

    Args:
        text: The text.
        path: Its name in messages.
        data: What it says, if somebody has read it already: then only its size is checked.
        known: Another text, of which this one may say most.
    """
    if len(text.encode()) > FILE_MAX_BYTES:
        hint = "Check that this is the right text."
        raise ConfigError(f"{path}: larger than {FILE_MAX_BYTES // 1024} KiB, which is not read", hint=hint)
    try:
        data = loads(text, known) if data is None else data
    except tomli.TOMLDecodeError as error:
        raise _syntax_error(path, normalized(text), str(error)) from None
    except RecursionError:
        raise _too_deep(path) from None
    level: list[dict[str, Any] | list[Any]] = [data]
    for _ in range(NESTING_MAX):
        values = (value.values() if isinstance(value, dict) else value for value in level)
        level = [child for each in values for child in each if isinstance(child, dict | list)]
        if not level:
            return data
    raise _too_deep(path)


def _too_deep(path: str) -> ConfigError:
    return ConfigError(f"{path}: lists or tables are nested too deeply", hint="Check that this is the right file.")


_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")
_CLEARER = (
    ("Invalid value", "this is not a value; text needs quotes"),
    ("Cannot overwrite a value", "this key was given before"),
    ("Cannot declare", "this table was declared before"),
    ("Cannot mutate immutable namespace", "this inline table is complete; nothing can be added to it"),
    ("Expected '=' after a key", "an equals sign is needed after the key"),
    (
        "Expected newline or end of document after a statement",
        "nothing more may follow on this line; is the value right?",
    ),
    ("Invalid statement", "neither a key nor a [table] begins here"),
    ("Unterminated string", "this text has no closing quote"),
    ('Expected "\'"', "this text has no closing quote"),
)
"""How the parser's messages begin, and what they mean for an operator."""


def _syntax_error(path: str, text: str, said: str) -> ConfigError:
    match = _AT.search(said)
    message = said[: match.start()] if match else said
    if match and match[1]:
        position = Position(int(match[1]), int(match[2]))
    else:  # at the end: the last line with something on it
        lines = text.rstrip().split("\n")
        position = Position(len(lines), len(lines[-1]) + 1)
    for start, clearer in _CLEARER:
        if message.startswith(start):
            message = clearer
            break
    return refuse_syntax(path, text, position, message)
