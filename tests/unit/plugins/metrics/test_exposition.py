"""The text, read back by the library's own parsers."""

from __future__ import annotations

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from appliance_metrics.exposition import expose
from appliance_metrics.facts import counter, gauge

SAMPLES = [
    gauge("ha_demotion", 'Weight of "each"\nreason', 240, ("reason",), ('a "quoted"\\ name\n',)),
    gauge("ha_demotion", 'Weight of "each"\nreason', 7, ("reason",), ("bulk",)),
    counter("pushes", "Pushes", 3.5),
]
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"


def test_prometheus_text_says_what_was_counted() -> None:
    kind, body = expose(SAMPLES, "text/plain")
    assert kind.startswith("text/plain; version=")
    families = {each.name: each for each in text_string_to_metric_families(body.decode())}
    assert {(each.labels["reason"], each.value) for each in families["appliance_ha_demotion"].samples} == {
        ('a "quoted"\\ name\n', 240.0),
        ("bulk", 7.0),
    }
    (pushes,) = families["appliance_pushes"].samples
    assert (families["appliance_pushes"].type, pushes.name, pushes.value) == ("counter", "appliance_pushes_total", 3.5)
    assert "process_resident_memory_bytes" in families


def test_who_asks_for_openmetrics_gets_it() -> None:
    kind, body = expose(SAMPLES, OPENMETRICS)
    assert kind.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    assert "appliance_ha_demotion" in {each.name for each in openmetrics.text_string_to_metric_families(body.decode())}


def test_an_endless_header_is_cut() -> None:
    assert expose([], "text/plain," * 100_000)[0].startswith("text/plain")
