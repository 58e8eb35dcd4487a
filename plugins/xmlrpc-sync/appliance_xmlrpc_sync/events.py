"""Events and requests of this plugin. Those about pairing are answered by the service "listener"."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from appliance.events import Event, Request, event, request
from appliance.events.config import Hidden


@event(retain=())
class PeersPaired(Event):
    """Whom this node is paired with. Who uses the identity store opens its connections anew."""

    peers: tuple[str, ...]
    """Names, in order."""
    change: int
    """Counts pairings and removals since the service started: equal names may have another certificate."""


@event()
class SectionsReceived(Event):
    """Another node's sections are in force here, confirmed."""

    sender: str
    """Name of the node that sent them."""
    revision: int
    sections: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingOpen:
    """What an operator carries to the other node."""

    window: int
    """For `AwaitPairing`."""
    name: str
    fingerprint: str
    code: str = field(repr=False)
    valid_s: float
    addresses: tuple[str, ...]
    port: int


@request
class OpenPairing(Request[PairingOpen]):
    """Listen for another node to pair with. An earlier code stops being valid."""


@request
class AwaitPairing(Request[dict[str, Any]]):
    """Wait for what comes of `OpenPairing`; whoever stops waiting closes it."""

    window: int


@request
class PairWith(Request[dict[str, Any]]):
    """Pair with the node that listens there."""

    address: str
    port: int | None
    """``None``: the configured one."""
    code: Hidden
    """Text. Requests can be seen in the trace of the bus, codes should not."""


@request
class GetPeers(Request[dict[str, Any]]):
    """What ``pair list`` prints."""


@request
class RemovePeer(Request[dict[str, Any]]):
    """Trust a paired node no longer."""

    name: str


@request
class ResetIdentity(Request[dict[str, Any]]):
    """Forget all peers and secrets and make a new identity."""


@request
class RotatePairing(Request[dict[str, Any]]):
    """Replace the pairing secret on all nodes."""


@request
class GetReceived(Request[dict[str, Any]]):
    """What this node has received: ``received``, the methods' `appliance.sync_status`."""
