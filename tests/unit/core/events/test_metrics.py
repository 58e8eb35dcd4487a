"""The request for all numbers of a node."""

from __future__ import annotations

from appliance.bus import EventBus
from appliance.events import GetMetrics, Sample
from appliance.metrics import MetricsRegistry


async def test_the_registry_answers_with_every_number(autojump_clock: object) -> None:
    bus, registry = EventBus(), MetricsRegistry()
    registry.scoped("carp").counter("sent", "Sent", ("vhid",)).inc(3, vhid=1)
    with registry.serving(bus, source="node"):
        assert await bus.call(GetMetrics()) == (
            Sample("appliance_carp_sent_total", "counter", "Sent", ("vhid",), ("1",), 3.0),
        )
