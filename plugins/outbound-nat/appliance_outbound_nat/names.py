"""Names of counters that stay the same while rules move: a rule's `id`, or what is in it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from appliance.config import Model

IRRELEVANT = frozenset({"id", "description", "disabled", "nosync"})
"""What does not change what a rule does."""
DIGITS = 10


class CounterNames:
    """Gives each rule its counter; equal ones without an `id` are numbered in their order."""

    def __init__(self) -> None:
        self._given: dict[str, int] = {}

    def name(self, prefix: str, table: Model) -> str:
        """A name that no other rule has.

        Args:
            prefix: Of its kind: ``nat_out``.
            table: The rule.
        """
        wanted = f"{prefix}_{getattr(table, 'id', '') or content_of(table)}"
        count = self._given[wanted] = self._given.get(wanted, 0) + 1
        return wanted if count == 1 else f"{wanted}__{count}"


def content_of(table: Model) -> str:
    """A short digest of what a rule does."""
    content = table.model_dump(mode="json", exclude=set(IRRELEVANT))
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:DIGITS]


def elements(pairs: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Keys and values as nftables writes the elements of a map; the first of equal keys counts."""
    unique: dict[str, str] = {}
    for key, value in pairs:
        unique.setdefault(key, value)
    return tuple(f"{key} : {value}" for key, value in unique.items())
