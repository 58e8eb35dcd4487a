"""Events and requests of the upgrade of a cluster."""

from __future__ import annotations

from typing import Any

from appliance.events import Event, Request, event, request


@request
class UpgradeCluster(Request[dict[str, Any]]):
    """Upgrade both nodes from this one; answers when it has begun, or with what would be done."""

    file: str
    dry_run: bool = False


@request
class GetUpgrade(Request[dict[str, Any]]):
    """How far the upgrade of the cluster is: phase, both nodes, its story so far."""


@event()
class UpgradeStep(Event):
    """The upgrade of the cluster went a step further."""

    phase: str
    what: str
    """For people."""
