"""Who this node is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """Identity of a node, the same in every service."""

    name: str
    role: Literal["primary", "secondary"] = "primary"
    """Who owns the shared configuration. Not who is active."""
    machine_id: str = ""
    """Stable over reinstalls of the software, unique per machine; empty when unknown."""
