"""The keys that all paired nodes share, answered by the plugin that pairs them. Keys are never shown."""

from __future__ import annotations

from dataclasses import dataclass

from appliance.events.base import Event, Request, event, request
from appliance.events.config import Hidden


@dataclass(frozen=True, slots=True, kw_only=True)
class DerivedKey:
    """A key for one purpose, made from a pairing secret."""

    id: str
    """Names the pairing secret, the same on all nodes, and says nothing about it: 16 hexadecimal digits."""
    key: Hidden
    """32 bytes."""


@request
class GetKeys(Request[tuple[DerivedKey, ...]]):
    """The keys for a purpose: the first one sends, all are accepted. None: this node is not paired.

    Raises `ApplianceError` when they cannot be read, and `RefusedError` for an unknown purpose.
    """

    purpose: str
    """``pfsync``, ``carp-hello`` or ``carp-password`` (of which those of virtual hosts are made)."""


@event(retain=())
class KeysChanged(Event):
    """Other keys may be in force, or none: ask with `GetKeys`."""

    generation: int
    """Counts since the service that answers has started; says only that this one is not the one before."""
