"""The request this plugin answers."""

from __future__ import annotations

from typing import Any

from appliance.events import Request, request


@request
class GetInterfaces(Request[dict[str, Any]]):
    """What ``show interfaces`` prints; see the plugin's README for the shape."""
