"""What stands before the cursor: name and role of the node, the place, and what runs out. Pure."""

from __future__ import annotations

from appliance.console.shell.node import Seen

SILENT = "no node"
NONE = "NONE"
"""The role of a node without virtual hosts."""


def prompt(seen: Seen, *, place: str | None, now: float) -> str:
    """The prompt.

    Args:
        seen: What is known of the node.
        place: Where the editor is; `None` in operational mode.
        now: Monotonic seconds.
    """
    role = seen.role if seen.role else SILENT
    name = (seen.node or "appliance") + (f"[{role}]" if role != NONE else "")
    lines = []
    if seen.deadline is not None:
        lines.append(f"[revision {seen.revision} rolls back in {clock(seen.deadline - now)}]")
    if place is not None:
        lines.append(f"[edit {place}]" if place else "[edit]")
    return "\n".join([*lines, f"{name}{'>' if place is None else '#'} "])


def clock(seconds: float) -> str:
    """``9:05``."""
    whole = max(int(seconds), 0)
    return f"{whole // 60}:{whole % 60:02d}"
