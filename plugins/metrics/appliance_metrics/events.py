"""The request this plugin answers."""

from __future__ import annotations

from typing import Any

from appliance.events import Request, request


@request
class GetExporter(Request[list[dict[str, Any]]]):
    """What ``show metrics`` prints: where numbers can be read."""
