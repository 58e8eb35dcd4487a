"""What this plugin tells, and the request it answers."""

from __future__ import annotations

from typing import Any

from appliance.events import Event, Request, event, request


@event(retain="name")
class GatewayChanged(Event):
    """A gateway has another status, or is no longer configured."""

    name: str
    status: str
    """``unknown``, ``online``, ``latency``, ``loss``, ``down``, or ``gone`` when it is no longer configured."""
    loss: float | None = None
    """Percent of lost probes at this moment."""
    latency: float | None = None
    """Average round trip in milliseconds at this moment."""


@request
class GetGateways(Request[dict[str, Any]]):
    """What ``show gateways`` prints; see the plugin's README for the shape."""
