"""What `show pfsync` tells, as metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import trio

from appliance.plugin.context import Metrics

if TYPE_CHECKING:
    from appliance_pfsync.operator import Operator

INTERVAL_S = 5.0
"""More often than Prometheus asks with its defaults."""


class Numbers:
    """What is told."""

    def __init__(self, metrics: Metrics) -> None:
        self._events = metrics.counter("events", "What happened to states, by the names of its counters", ("event",))
        self._states = metrics.gauge("states", "Connection states of this node")
        self._behind = metrics.gauge("bulk_running", "1 while states of a peer are missing here")
        self._alive = metrics.gauge("peer_alive", "1 while a peer is heard", ("peer",))
        self._lag = metrics.gauge(
            "peer_lag_seconds", "Age of the oldest state that a peer has not confirmed", ("peer",)
        )
        self._peers: frozenset[str] = frozenset()

    def tell(self, report: Mapping[str, Any]) -> None:
        """Take over a report in the shape of `show pfsync --json`."""
        for event, count in report["counters"].items():
            self._events.advance(count, event=event)
        self._states.set(report["states"])
        self._behind.set(report["bulk"] == "running")
        for peer in report["peers"]:
            self._alive.set(peer["alive"], peer=peer["name"])
            if peer["lag_ms"] is not None:
                self._lag.set(peer["lag_ms"] / 1000.0, peer=peer["name"])
        names = frozenset(peer["name"] for peer in report["peers"])
        for name in self._peers - names:
            self._alive.set(0, peer=name)
        self._peers = names


async def run(metrics: Metrics, operator: Operator) -> None:
    """Tell for ever."""
    numbers = Numbers(metrics)
    while True:
        numbers.tell(operator.report())
        await trio.sleep(INTERVAL_S)
