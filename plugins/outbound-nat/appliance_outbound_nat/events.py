"""The request this plugin answers."""

from __future__ import annotations

from typing import Any

from appliance.events import Request, request


@request
class GetNat(Request[dict[str, Any]]):
    """What ``show nat`` prints; see the plugin's README for the shape."""
