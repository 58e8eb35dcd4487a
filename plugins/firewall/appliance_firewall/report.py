"""The firewall for people and programs: rules with their hits, aliases, entries of the log. Pure."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from appliance.errors import UsageError
from appliance.events import Count
from appliance_firewall.aliases import Resolved, range_text
from appliance_firewall.blocklog import Entry, row
from appliance_firewall.settings import FirewallSettings, ShownAlias, ShownRule

ENTRIES_MAX = 100
"""Entries of an alias that are listed, as they were written."""
MEMBERS_MAX = 20_000
"""Members of a single alias that are listed."""


def rules(
    settings: FirewallSettings,
    counts: Mapping[str, Count] | None,
    *,
    interface: str | None,
    limit: int,
    now: datetime,
) -> dict[str, Any]:
    """What `show firewall --json` prints.

    Args:
        settings: With the rules.
        counts: By name of the counter; ``None`` when the kernel could not be asked.
        interface: Only rules that are asked for packets of this interface.
        limit: Rows at most.
        now: Local time, by which schedules go.

    Raises:
        UsageError: There is no such interface.
    """
    known = sorted({name for _, name in settings.devices})
    if interface is not None and interface not in known:
        raise UsageError(f"there is no interface {interface!r}", hint=f"Configured are: {', '.join(known) or 'none'}.")
    matching = [
        rule for rule in settings.rules if interface is None or not rule.interfaces or interface in rule.interfaces
    ]
    off = {each.name for each in settings.schedules if not each.applies(now)}
    return {
        "node": settings.node,
        "counted": counts is not None,
        "matching": len(matching),
        "rules": [_rule(rule, counts, off) for rule in matching[:limit]],
    }


def _rule(rule: ShownRule, counts: Mapping[str, Count] | None, off: Container[str]) -> dict[str, Any]:
    has_hits = counts is not None and bool(rule.counter) and not rule.disabled
    count = (counts or {}).get(rule.counter, Count())
    return {
        "id": rule.id,
        "kind": rule.kind,
        "action": rule.action,
        "direction": rule.direction,
        "interfaces": list(rule.interfaces),
        "text": rule.text,
        "description": rule.description,
        "disabled": rule.disabled,
        "schedule": rule.schedule or None,
        "applies": not rule.disabled and rule.schedule not in off,
        "log": rule.log,
        "packets": count.packets if has_hits else None,
        "bytes": count.bytes if has_hits else None,
        "key": key_text(rule.path) or None,
    }


def key_text(path: Sequence[str | int]) -> str:
    """A key of `appliance.toml` as people write it: ``firewall.rule[3].source``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def aliases(settings: FirewallSettings, name: str | None) -> dict[str, Any]:
    """What `show aliases --json` prints.

    Raises:
        UsageError: There is no such alias.
    """
    if name is None:
        return {"aliases": [_alias(alias) for alias in settings.aliases]}
    found = next((alias for alias in settings.aliases if alias.name == name), None)
    if found is None:
        known = ", ".join(sorted(alias.name for alias in settings.aliases)[:20])
        raise UsageError(f"there is no alias {name!r}", hint=f"Configured are: {known or 'none'}.")
    members = [] if found.resolved is None else list(islice(_members(found.resolved), MEMBERS_MAX))
    return {"aliases": [_alias(found) | {"members": members}]}


def _alias(alias: ShownAlias) -> dict[str, Any]:
    of = alias.resolved
    return {
        "name": alias.name,
        "type": alias.type,
        "description": alias.description,
        "entries": list(alias.entries[:ENTRIES_MAX]),
        "resolved": None if of is None else len(of.v4) + len(of.v6) + len(of.ports),
    }


def _members(of: Resolved) -> Iterator[str]:
    for version in (4, 6):
        yield from (range_text(version, numbers) for numbers in of.of(version))
    yield from (range_text(0, numbers) for numbers in of.ports)


def entry(of: Entry) -> dict[str, Any]:
    """The JSON of one entry of the log."""
    return {"time": rfc3339(of.wall)} | row(of)


def rfc3339(wall: float) -> str:
    """A time of day for programs, in UTC with milliseconds."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
