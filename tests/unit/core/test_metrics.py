"""Metrics count, stay bounded, travel between processes and read as Prometheus expects."""

from __future__ import annotations

import json

import pytest

from appliance import metrics as metrics_module
from appliance.errors import PluginError
from appliance.metrics import OTHER, MetricsRegistry
from appliance.plugin import Metrics


def test_the_text_form_is_prometheus_exposition() -> None:
    registry = MetricsRegistry()
    carp: Metrics = registry.scoped("carp")
    sent = carp.counter("adverts_sent", "Adverts sent,\nall of them", labels=("interface", "vhid"))
    sent.inc(interface="lan", vhid=1)
    sent.inc(2, vhid=1, interface="lan")
    sent.inc(0.5, interface='w"a\\n', vhid=2)
    carp.gauge("demotion", "Sum of reasons").set(240)
    registry.scoped("outbound-nat").gauge("age_s", "Age").set(float("inf"))
    assert registry.exposition() == (
        "# HELP appliance_carp_adverts_sent_total Adverts sent,\\nall of them\n"
        "# TYPE appliance_carp_adverts_sent_total counter\n"
        'appliance_carp_adverts_sent_total{interface="lan",vhid="1"} 3\n'
        'appliance_carp_adverts_sent_total{interface="w\\"a\\\\n",vhid="2"} 0.5\n'
        "# HELP appliance_carp_demotion Sum of reasons\n"
        "# TYPE appliance_carp_demotion gauge\n"
        "appliance_carp_demotion 240\n"
        "# HELP appliance_outbound_nat_age_s Age\n"
        "# TYPE appliance_outbound_nat_age_s gauge\n"
        "appliance_outbound_nat_age_s Inf\n"
    )


def test_declaring_twice_gives_the_same_number() -> None:
    registry = MetricsRegistry()
    for _ in range(2):
        registry.scoped("carp").counter("restarts_total", "Restarts").inc()
    (sample,) = registry.samples()
    assert (sample.name, sample.value) == ("appliance_carp_restarts_total", 2)


def test_mistakes_of_the_author_are_named() -> None:
    registry = MetricsRegistry()
    carp = registry.scoped("carp")
    sent = carp.counter("sent", "Sent", labels=("vhid",))
    with pytest.raises(TypeError, match="has the labels"):
        sent.inc(vhdi=1)
    with pytest.raises(TypeError, match="has the labels"):
        sent.inc()
    with pytest.raises(ValueError, match="only grows"):
        sent.inc(-1, vhid=1)
    with pytest.raises(PluginError, match="declared twice"):
        carp.counter("sent", "Sent", labels=("interface",))
    with pytest.raises(PluginError, match="'bad-label' is not a name"):
        carp.gauge("x", "X", labels=("bad-label",))
    assert registry.samples() == ()


def test_label_sets_are_bounded_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_module, "LABEL_SETS_MAX", 3)
    registry = MetricsRegistry()
    seen = registry.scoped("x").counter("seen", "Seen", labels=("source",))
    for n in range(10):
        seen.inc(source=f"192.0.2.{n}")
    seen.inc(source="192.0.2.1")
    values = {sample.labels[0]: sample.value for sample in registry.samples()}
    assert values == {"192.0.2.0": 1, "192.0.2.1": 2, "192.0.2.2": 1, OTHER: 7}


def test_numbers_of_another_process_replace_what_it_shipped_before() -> None:
    there, here = MetricsRegistry(), MetricsRegistry()
    sent = there.scoped("carp").counter("sent", "Sent", labels=("vhid",))
    here.scoped("host").gauge("uptime_s", "Uptime").set(5)
    for _ in range(3):
        sent.inc(vhid=1)
        shipped = json.loads(json.dumps(there.samples()))  # as it arrives: lists, not tuples
        here.merge(shipped)
        here.merge(shipped)
    assert {(s.name, s.labels, s.value) for s in here.samples()} == {
        ("appliance_carp_sent_total", ("1",), 3),
        ("appliance_host_uptime_s", (), 5),
    }
    assert there.exposition() in here.exposition()


def test_a_counter_takes_over_what_somebody_else_counts() -> None:
    registry = MetricsRegistry()
    counter = registry.scoped("carp").counter("sent", "Sent")
    counter.advance(7)
    counter.advance(9)
    assert [each.value for each in registry.samples()] == [9.0]
    counter.advance(2)  # it was counted anew
    assert [each.value for each in registry.samples()] == [2.0]
    with pytest.raises(ValueError, match="only grows"):
        counter.advance(-1)
