"""What plugins contribute to the one nftables table of the node: fragments, pure data.

The core composes all fragments into ``table inet appliance`` and loads it in one transaction, the same on a
BACKUP as on a MASTER. A plugin says at which hook and stage its rules stand, never where in the table. Names of
chains, sets and counters are the plugin's own: begin them with its name or with what they are about.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

KeyPath = tuple[str | int, ...]
"""A key of `appliance.toml`, as in `Problem.path`."""

TABLE = "appliance"
"""The table, of family inet."""


class Hook(StrEnum):
    """A base chain of the table: where in the kernel its rules are asked."""

    POLICY = "policy"
    """Filter, prerouting, after destination translation and before routing: marks that choose a gateway."""
    POLICY_LOCAL = "policy_local"
    """Route, output: the same for what this node itself sends."""
    TRANSLATE_IN = "translate_in"
    """NAT, prerouting: destination translation."""
    TRANSLATE_OUT = "translate_out"
    """NAT, postrouting: source translation."""
    INPUT = "input"
    """Filter: to this node."""
    FORWARD = "forward"
    """Filter: through this node. Addresses are those after destination and before source translation."""
    OUTPUT = "output"
    """Filter: from this node."""


class Stage(IntEnum):
    """The order of rules at one hook. Rules of one stage stand in the order of their plugins."""

    NEVER = 0
    """What no configuration may change, such as: heartbeats and states are never translated."""
    STATE = 10
    """What belongs to a connection that is known."""
    AUTOMATIC = 20
    """What the appliance itself needs."""
    USER = 30
    """What the operator configured."""
    DEFAULT = 40
    """What happens to the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule in nftables' own language, on one line and without ``add rule``."""

    text: str
    origin: KeyPath = ()
    """The key it comes from: a ruleset that the kernel refuses is reported at this line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooked:
    """Rules of a base chain."""

    hook: Hook
    stage: Stage
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain to jump to."""

    name: str
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Set:
    """A named set, or a map when it has a value type."""

    name: str
    key: str
    """Type of its keys: ``ipv4_addr``, ``ifname``, ``ipv4_addr . inet_service``."""
    value: str = ""
    """Type of its values: ``verdict``, ``mark``, ``counter``, an address; empty for a set."""
    flags: str = ""
    """Such as ``interval``."""
    elements: tuple[str, ...] = ()
    """Each as nftables writes it: ``10.0.0.0/8``, ``80 : accept``. Intervals must not overlap."""
    origin: KeyPath = ()
    kept: bool = False
    """Its service fills it while the node runs: loading the ruleset leaves it alone. See `RulesetLoaded`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragment:
    """What one plugin contributes."""

    hooked: tuple[Hooked, ...] = ()
    chains: tuple[Chain, ...] = ()
    sets: tuple[Set, ...] = ()
    counters: tuple[str, ...] = ()
    """Named counters; their values survive every load of the ruleset."""
