"""What pairing gives to other plugins: keys that all nodes share, and who the nodes are. Keys are never shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

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


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedNode:
    """Another node of the cluster."""

    name: str
    address: str
    """Where it was when it was paired."""
    fingerprint: str
    """SHA-256 of its certificate, 64 small hexadecimal digits."""
    certificate: Path
    """A PEM file: the only certificate that is accepted from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """Who this node is to others, and whom it trusts: what mutual TLS needs (`appliance.rpc.server_tls`)."""

    certificate: Path
    """This node's, a PEM file."""
    key: Path
    """Its private key, a PEM file."""
    peers: tuple[PairedNode, ...] = ()


@request
class GetPairing(Request[Pairing]):
    """The identity of this node and its peers, for a channel of one's own between the nodes.

    Ask again at `KeysChanged`. Raises `ApplianceError` when they cannot be read.
    """
