"""Requests that the carp service answers. Roles, demotion and role control are in `appliance.events`."""

from __future__ import annotations

from typing import Any

from appliance.events import Request, request


@request
class GetCarp(Request[dict[str, Any]]):
    """What `show carp --json` prints; see `docs/cli.md` for its shape."""


@request
class GetReach(Request[list[dict[str, Any]]]):
    """What gets through between this node and each other one, on each network; measured now (see `reach`)."""


@request
class CommitStaged(Request[str]):
    """Put staged changes of virtual hosts in force, or say whom they wait for."""

    force: bool = False
    """Do not wait for anybody."""
