"""What this plugin tells, and the request it answers."""

from __future__ import annotations

from typing import Any

from appliance.events import Event, Request, event, request


@event()
class MemberUp(Event):
    """A member of a link aggregation can carry traffic."""

    lagg: str
    member: str


@event()
class MemberDown(Event):
    """A member of a link aggregation cannot carry traffic any more."""

    lagg: str
    member: str
    reason: str
    """``missing``: the device is gone; ``out``: it left the aggregation; ``down``: it has no link."""


@event(retain="lagg")
class ActiveMemberChanged(Event):
    """Another member of a `failover` aggregation carries the traffic, or none does."""

    lagg: str
    member: str
    """Empty: none."""


@event(retain="lagg")
class PartnerChanged(Event):
    """Another system answers at the far end of an `lacp` aggregation, or none does any more."""

    lagg: str
    partner: str
    """MAC address of its LACP system; empty: nobody answers."""


@request
class GetLaggs(Request[dict[str, Any]]):
    """What ``show lagg`` prints; see the plugin's README for the shape."""
