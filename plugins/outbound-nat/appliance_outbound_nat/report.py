"""The answer to ``show nat --json`` and the text people read. Pure; the shape is promised in the README and tested."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from appliance.events import Count
from appliance_outbound_nat.settings import NatSettings, ShownForward, ShownPair, ShownRule

Row = dict[str, Any]


def report(settings: NatSettings, counts: Mapping[str, Count] | None) -> Row:
    """Everything ``show nat`` tells.

    Args:
        settings: What is configured.
        counts: By counter; ``None`` when the kernel could not be asked.
    """
    return {
        "node": settings.node,
        "mode": settings.mode,
        "rules": [_row(each, counts) for each in settings.rules],
        "port_forwards": [_row(each, counts) for each in settings.forwards],
        "one_to_one": [_row(each, counts) for each in settings.pairs],
    }


def _row(each: ShownRule | ShownForward | ShownPair, counts: Mapping[str, Count] | None) -> Row:
    row = asdict(each)
    if "resolved" in row and isinstance(row["resolved"], tuple):
        row["resolved"] = list(row["resolved"])
    count = None if counts is None or not each.counter else counts.get(each.counter)
    return row | {"hits": None if count is None else count.packets, "bytes": None if count is None else count.bytes}


def render(data: Row) -> str:
    """The lines people read: connections that each rule has translated first."""
    lines = [f"{data['node']}: outbound NAT, mode {data['mode']}"]
    lines += _section("rules", [(_hits(row), _rule(row), _notes(row, row["kind"])) for row in data["rules"]])
    lines += _section("port forwards", [(_hits(row), _forward(row), _notes(row)) for row in data["port_forwards"]])
    lines += _section("one to one", [(_hits(row), _pair(row), _notes(row)) for row in data["one_to_one"]])
    if len(lines) == 1:
        lines.append("  nothing is translated")
    return "\n".join(lines)


def _section(title: str, rows: Iterable[tuple[str, str, str]]) -> list[str]:
    listed = list(rows)
    if not listed:
        return []
    width = max(len(text) for _, text, _ in listed)
    return [f"  {title}:", *(f"  {hits:>8}  {text:<{width}}  {notes}".rstrip() for hits, text, notes in listed)]


def _hits(row: Row) -> str:
    return "-" if row["hits"] is None else str(row["hits"])


def _rule(row: Row) -> str:
    what = "" if row["protocol"] == "any" else f" {row['protocol']}"
    ends = f"{_end(row['source'], row['source_port'])} to {_end(row['destination'], row['destination_port'])}"
    return f"{row['interface']}{what} {ends}: {_translation(row)}"


def _end(address: str, port: str) -> str:
    return address if port == "any" else f"{address} port {port}"


def _translation(row: Row) -> str:
    said = row["translation"]
    return "not translated" if said == "none" else _resolved(said, ", ".join(row["resolved"]))


def _resolved(said: str, found: str) -> str:
    return said if found in ("", said) else f"{said} ({found})"


def _forward(row: Row) -> str:
    source = "" if row["source"] == "any" else f" from {row['source']}"
    outside = _resolved(row["destination"], row["resolved"])
    return (
        f"{row['interface']} {row['protocol']}{source} to {outside} port {row['port']}: {row['target']} port "
        f"{row['target_port']}"
    )


def _pair(row: Row) -> str:
    outside = _resolved(row["external"], row["resolved"])
    other = "" if row["destination"] == "any" else f" with {row['destination']}"
    return f"{row['interface']} {outside}: {row['internal']}{other}"


def _notes(row: Row, kind: str = "") -> str:
    notes = ["automatic"] if kind == "automatic" else []
    notes += ["DISABLED"] if row["disabled"] else []
    notes += ["reflected"] if row.get("reflection") else []
    notes += ["no filter rule"] if row.get("filter") == "none" else []
    notes += [row["description"]] if row["description"] else []
    return "; ".join(notes)
