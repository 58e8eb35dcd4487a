"""The request of this plugin."""

from __future__ import annotations

from appliance.events import Request
from appliance_metrics.events import GetExporter
from appliance_metrics.plugin import Metrics


def test_the_plugin_declares_its_request() -> None:
    assert issubclass(GetExporter, Request)
    assert Metrics().appliance_events() == [GetExporter]
