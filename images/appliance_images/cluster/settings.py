"""What the service is told: plain values of a verified configuration."""

from __future__ import annotations

from dataclasses import dataclass

PORT = 8446
PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Of the service ``upgrade``."""

    device: str
    addresses: tuple[str, ...]
    """Where this node listens."""
    port: int = PORT
    patience_s: float = PATIENCE_S
    """For a node to restart and prove healthy."""
