"""Requests that the service of this plugin answers."""

from __future__ import annotations

from typing import Any

from appliance.events import Request, request


@request
class Begin(Request[dict[str, Any]]):
    """Let something happen to this node, and put it back when told, or by itself after some seconds.

    Raises:
        RefusedError: Something else is being rehearsed.
        ApplianceError: It could not be done; what was done of it is put back.
    """

    name: str
    """One of `appliance_drill.plan.NAMES`, or ``unplug-`` and an interface."""
    device: str = ""
    """The device to take down."""
    seconds: float = 30.0


@request
class End(Request[dict[str, Any]]):
    """Wait until what is rehearsed has been put back; answers at once when nothing is."""

    at_once: bool = False
    """Put it back now, without waiting for its time."""
