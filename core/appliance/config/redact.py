"""Configuration text without its secrets, for people, logs and diffs."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import tomli
from pydantic import BaseModel

from appliance.config.positions import KeyPath, Positions, locate
from appliance.config.schema import sounds_secret
from appliance.config.shape import secret_paths

REDACTED = '"**********"'
"""Written in place of a secret; as in pydantic, the same length for all."""

_ASSIGNMENT = re.compile(r"([^=#]*)=\s*\S.*", re.DOTALL)


def redact(text: str, models: Mapping[str, type[BaseModel]]) -> str:
    """A valid text with every secret replaced; everything else stays as it was written."""
    return redact_paths(locate(text), secret_paths(tomli.loads(text), models))


def redact_paths(found: Positions, secrets: Collection[KeyPath], marks: Mapping[KeyPath, str] | None = None) -> str:
    """The text with the values below these paths replaced.

    Args:
        found: The scanned text.
        secrets: Paths of secret values (or of tables, whose values are all taken as secret).
        marks: What to write for single paths instead of `REDACTED`.
    """
    spans = {
        (start, end): (marks or {}).get(path, REDACTED)
        for path, (start, end) in found.spans.items()
        if any(path[:length] in secrets for length in range(1, len(path) + 1))
    }
    out, at = [], 0
    for (start, end), mark in sorted(spans.items(), key=lambda item: (item[0][0], -item[0][1])):
        if start < at:
            continue  # inside a value that is replaced already
        # Lines keep their numbers, because errors name them.
        out += [found.text[at:start], mark, "\n" * found.text.count("\n", start, end)]
        at = end
    return "".join([*out, found.text[at:]])


def redact_line(line: str) -> str:
    """One line of a text that is not valid TOML, where only the names of keys can say what is secret."""
    match = _ASSIGNMENT.match(line)
    if match is not None and sounds_secret(match[1]):
        return f"{match[1]}= {REDACTED}"
    return line
