"""The counters of the virtual hosts as metrics, a few hosts at a time: the heartbeat process has no time to spare."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.plugin.context import Metrics
from appliance_carp.host import VirtualHost

TURNS = 10
"""Calls after which every host was looked at: 5 s. 1000 of them would take 10 ms at once."""
Key = tuple[str, int]


class Numbers:
    """What is told of each virtual host."""

    def __init__(self, metrics: Metrics) -> None:
        self._events = metrics.counter(
            "events", "What happened to a virtual host, by the names of its counters", ("interface", "vhid", "event")
        )
        self._told: dict[Key, dict[str, int]] = {}
        self._turn = 0

    def tell(self, hosts: Mapping[Key, VirtualHost]) -> None:
        """Tell what has changed of the next tenth of the hosts."""
        if self._turn == 0:
            self._told = {key: told for key, told in self._told.items() if key in hosts}
        for key in list(hosts)[self._turn :: TURNS]:
            told = self._told.setdefault(key, {})
            for event, count in hosts[key].counters.items():
                if told.get(event) != count:
                    told[event] = count
                    self._events.advance(count, interface=key[0], vhid=key[1], event=event)
        self._turn = (self._turn + 1) % TURNS
