"""The request this plugin answers."""

from __future__ import annotations

from typing import Any

from appliance.events import Request, request


@request
class GetUsers(Request[list[dict[str, Any]]]):
    """All users as ``show users`` prints them; no hashes."""
