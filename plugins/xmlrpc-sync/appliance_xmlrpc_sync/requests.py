"""Requests that the service "sender" answers."""

from __future__ import annotations

from typing import Any

from appliance.events import Request, request


@request
class GetSync(Request[dict[str, Any]]):
    """What ``show sync`` prints of the sender."""


@request
class SyncNow(Request[dict[str, Any]]):
    """Look at every peer now, push what it lacks, and wait for what comes of it."""

    force: bool = False
    """Overwrite what was changed there, whatever the policy is."""


@request
class DiffSync(Request[dict[str, Any]]):
    """The keys in which each peer differs from what it should have, with both values; secret ones are not shown."""


REQUESTS = (GetSync, SyncNow, DiffSync)
