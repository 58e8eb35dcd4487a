"""The requests this plugin answers."""

from __future__ import annotations

from typing import Any

from appliance.events import Request, request


@request
class GetNotify(Request[list[dict[str, Any]]]):
    """What ``show notify`` prints: how each target is."""


@request
class SendTestNotice(Request[list[dict[str, Any]]]):
    """Send a test to one target or to all, and say what became of it."""

    target: str | None = None
