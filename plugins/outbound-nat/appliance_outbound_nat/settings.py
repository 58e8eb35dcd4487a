"""What the service is told: every rule as people see it, with what it translates to on this node. Plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRule:
    """One outbound rule in its place."""

    id: str
    counter: str
    """Empty: the rule is not in force."""
    kind: str
    """``manual`` or ``automatic``."""
    interface: str
    protocol: str
    source: str
    source_port: str
    destination: str
    destination_port: str
    translation: str
    """As configured: ``vip:wan``."""
    resolved: tuple[str, ...]
    """What it is on this node; empty for none, and when only the kernel knows."""
    static_port: bool
    description: str
    disabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownForward:
    """One port forward."""

    id: str
    counter: str
    interface: str
    protocol: str
    source: str
    destination: str
    resolved: str
    """The address outside; empty when only the kernel knows."""
    port: str
    target: str
    target_port: str
    filter: str
    reflection: bool
    description: str
    disabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownPair:
    """One one-to-one entry."""

    id: str
    counter: str
    interface: str
    external: str
    resolved: str
    internal: str
    destination: str
    reflection: bool
    description: str
    disabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NatSettings:
    """All of them."""

    node: str
    mode: str
    rules: tuple[ShownRule, ...] = ()
    forwards: tuple[ShownForward, ...] = ()
    pairs: tuple[ShownPair, ...] = ()
