"""What this plugin tells, and the requests it answers."""

from __future__ import annotations

from typing import Any

from appliance.events import Event, Request, event, request


@event()
class LeaseGranted(Event):
    """A client got or kept an address here. At most ten a second are told; `unreported` counts the rest."""

    interface: str
    address: str
    mac: str
    hostname: str = ""
    lease_s: int
    """Seconds it lasts."""
    unreported: int = 0
    """Further ones since the last that was told."""


@event()
class LeaseReleased(Event):
    """A client gave its address back, or an operator took it."""

    interface: str
    address: str
    unreported: int = 0


@event(retain="interface")
class PoolChanged(Event):
    """What this node does for the clients of an interface changed."""

    interface: str
    state: str
    """``serving``, ``standby``, ``starting``, ``down``, or ``gone`` when it is no longer configured."""
    peer_state: str
    """``synchronized``, ``synchronizing``, ``unreachable`` or ``off``."""


@request
class GetDhcp(Request[dict[str, Any]]):
    """What ``show dhcp`` prints; see the plugin's README for the shape."""

    interface: str = ""
    """Only this one."""
    leases: bool = True
    """Also every lease."""


@request
class FindLeases(Request[dict[str, Any]]):
    """Leases whose address, MAC, client identifier or host name has this text in it."""

    text: str


@request
class ReleaseLease(Request[str]):
    """Take a lease from its client, on all nodes; answers with a sentence for people.

    Raises:
        RefusedError: There is no lease of this address, or this node is not the one that serves the interface.
    """

    address: str
