"""The node's nftables table: that it is loaded, and what its counters say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from appliance.events.base import Event, Request, event, request


@event(retain=())
class RulesetLoaded(Event):
    """Table ``inet appliance`` is in the kernel as configured. Sets that a service fills may be empty: fill them."""

    generation: int
    """Counts loads since the node started."""
    rules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a named counter has seen, its values before all later loads of the ruleset included."""

    packets: int = 0
    bytes: int = 0


@request
class GetCounters(Request[Mapping[str, Count]]):
    """The named counters of table ``inet appliance`` by name."""


@request
class GetRuleset(Request[str]):
    """The ruleset that was loaded last, as nftables' own text."""
