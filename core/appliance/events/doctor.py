"""Requests about the health of this node and of the others, as `appliance doctor` finds it."""

from __future__ import annotations

from typing import Any

from appliance.events.base import Request, request


@request
class Examine(Request[dict[str, Any]]):
    """Run all checks of this node; what `appliance doctor --json` prints of one node. Answered by the core."""


@request
class ExaminePeers(Request[list[dict[str, Any]]]):
    """Let every paired node run its checks; one report for each, as `appliance doctor --peers --json` prints it.

    Whoever answers has checked what the other nodes said; a node that did not answer has an ``error`` and a ``remedy``.
    """


def unexamined(node: str, address: str, error: str, remedy: str) -> dict[str, Any]:
    """The report about a node that could not be examined."""
    report: dict[str, Any] = {"node": node, "address": address, "error": error, "remedy": remedy}
    return report | {"ok": 0, "warn": 0, "fail": 0, "findings": []}
