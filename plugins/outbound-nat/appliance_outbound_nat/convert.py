"""Automatic rules written as manual ones: as TOML to paste, or into the text of a configuration file. Pure.

The text is edited line by line, so comments and order stay. Whatever form a file is in, the result is read again and
compared with what it has to mean: a text that cannot be edited so is refused, never damaged.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Sequence
from typing import Any

from appliance.errors import RefusedError
from appliance_outbound_nat.config import RuleTable

TABLE = "outbound_nat"
ORDER = (
    "interface",
    "protocol",
    "source",
    "source_port",
    "destination",
    "destination_port",
    "translation",
    "static_port",
)
"""Of keys, as people read a rule; others follow."""
_HEADER = re.compile(r"^\s*\[")
_OWN = re.compile(rf"^\s*\[\s*{TABLE}\s*\]")
_RULE = re.compile(rf"^\s*\[\[\s*{TABLE}\s*\.\s*rule\s*\]\]")
_MODE = re.compile(r"""^(\s*mode\s*=\s*)("[^"]*"|'[^']*')""")


def as_toml(rules: Sequence[RuleTable]) -> str:
    """The rules as a file has them, each after an empty line."""
    return "\n".join(_block(rule) for rule in rules)


def _block(rule: RuleTable) -> str:
    said = rule.model_dump(mode="json", exclude_defaults=True)
    keys = [*(key for key in ORDER if key in said), *(key for key in said if key not in ORDER)]
    # JSON's text and numbers are TOML's too.
    return "".join([f"[[{TABLE}.rule]]\n", *(f"{key} = {json.dumps(said[key])}\n" for key in keys)])


def converted(text: str, rules: Sequence[RuleTable]) -> str:
    """A file's text with these rules after its own and the mode manual.

    Raises:
        RefusedError: The table is not written in a form that can be edited.
    """
    lines = text.splitlines(keepends=True)
    newline = "\r\n" if lines and lines[0].endswith("\r\n") else "\n"
    start = next((number for number, line in enumerate(lines) if _OWN.match(line)), None)
    if start is None:
        raise _refused()
    lines = _with_mode(lines, start, newline)
    begins = [number for number, line in enumerate(lines) if _RULE.match(line)]
    end = _end_of_table(lines, begins[-1] if begins else start)
    block = [newline, *(line + newline for line in as_toml(rules).splitlines())] if rules else []
    if end and not lines[end - 1].endswith("\n"):
        lines[end - 1] += newline
    made = "".join([*lines[:end], *block, *lines[end:]])
    if _data(made) != _wanted(text, rules):
        raise _refused()
    return made


def _refused() -> RefusedError:
    return RefusedError(
        f"the table [{TABLE}] of this file is not written in a form that can be edited",
        hint='Run the command without --write, paste what it prints and set mode = "manual" yourself.',
    )


def _with_mode(lines: list[str], start: int, newline: str) -> list[str]:
    end = next((number for number in range(start + 1, len(lines)) if _HEADER.match(lines[number])), len(lines))
    for number in range(start + 1, end):
        if _MODE.match(lines[number]):
            changed = _MODE.sub(r'\1"manual"', lines[number])
            return [*lines[:number], changed, *lines[number + 1 :]]
    head = lines[start] if lines[start].endswith("\n") else lines[start] + newline
    return [*lines[:start], head, f'mode = "manual"{newline}', *lines[start + 1 :]]


def _end_of_table(lines: list[str], start: int) -> int:
    """The line after the last one that says something; what stands before the next header belongs to that."""
    end = next((number for number in range(start + 1, len(lines)) if _HEADER.match(lines[number])), len(lines))
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].lstrip().startswith("#")):
        end -= 1
    return end


def _data(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None


def _wanted(text: str, rules: Sequence[RuleTable]) -> dict[str, Any]:
    data = tomllib.loads(text)
    table = data[TABLE]
    table["mode"] = "manual"
    added = [rule.model_dump(mode="json", exclude_defaults=True) for rule in rules]
    if added or "rule" in table:
        table["rule"] = [*table.get("rule", []), *added]
    return data
