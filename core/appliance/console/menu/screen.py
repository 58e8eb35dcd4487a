"""What the menu shows above its numbers: version, node, role, and a line for each interface. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

GAP = "  "
LINK_LOCAL = "fe80:"
LINK_WIDTH = 16
"""Columns of device and link; a longer name moves its addresses."""


def banner(version: str, ha: Mapping[str, Any] | None, interfaces: Sequence[Mapping[str, Any]]) -> str:
    """The lines above the menu.

    Args:
        version: Of the software.
        ha: What `show ha` says; `None` when no node answers.
        interfaces: Those of `show interfaces`; empty when nobody keeps any.
    """
    if ha is None:
        return f"appliance {version}: no node is running"
    problems = len(ha["problems"])
    trouble = f", {problems} problem{'s' if problems > 1 else ''}: see `HA status`" if problems else ""
    lines = [f"appliance {version}: {ha['summary']}{trouble}", ""]
    width = max((len(row["name"]) for row in interfaces), default=0)
    for row in interfaces:
        link = f"{row['device']} {'up' if row['carrier'] else 'NO LINK'}"
        # Every device has a link-local address; nobody looks for it here.
        there = " ".join(
            each["address"]
            for each in row["addresses"]
            if each["present"] and not each["address"].startswith(LINK_LOCAL)
        )
        lines.append(GAP.join(["", row["name"].ljust(width), link.ljust(LINK_WIDTH), there]).rstrip())
    return "\n".join(lines)


def numbered(labels: Sequence[str]) -> str:
    """The entries in two columns, numbered from 1; 0 leaves."""
    cells = [f"{number:>3}) {label}" for number, label in enumerate(labels, start=1)] + ["  0) Leave the menu"]
    half = (len(cells) + 1) // 2
    width = max(len(cell) for cell in cells[:half])
    right = [*cells[half:], ""]
    return "\n".join(f"{left.ljust(width)}{GAP}{right[index]}".rstrip() for index, left in enumerate(cells[:half]))
