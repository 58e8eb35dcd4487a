"""The report of pfsync becomes metrics."""

from __future__ import annotations

from typing import Any

from appliance.metrics import MetricsRegistry
from appliance_pfsync.numbers import Numbers


def report(*peers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"counters": {"opackets": 3, "created": 2}, "states": 40, "bulk": "done", "peers": list(peers), **more}


def test_what_show_pfsync_says_is_counted() -> None:
    registry = MetricsRegistry()
    numbers = Numbers(registry.scoped("pfsync"))
    numbers.tell(report({"name": "fw2", "alive": True, "lag_ms": 12.5}, bulk="running"))
    assert {(each.name.removeprefix("appliance_pfsync_"), each.labels): each.value for each in registry.samples()} == {
        ("events_total", ("opackets",)): 3,
        ("events_total", ("created",)): 2,
        ("states", ()): 40,
        ("bulk_running", ()): 1,
        ("peer_alive", ("fw2",)): 1,
        ("peer_lag_seconds", ("fw2",)): 0.0125,
    }


def test_a_peer_that_is_gone_is_not_alive() -> None:
    registry = MetricsRegistry()
    numbers = Numbers(registry.scoped("pfsync"))
    numbers.tell(report({"name": "fw2", "alive": True, "lag_ms": None}))
    numbers.tell(report())
    assert [each.value for each in registry.samples() if each.name.endswith("peer_alive")] == [0]
