"""Numbers as text: Prometheus' format, or OpenMetrics when the reader asks for it. The library knows both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from appliance.events import Sample

_ACCEPT_MAX = 1000
"""Characters of the header that are looked at."""


class _Samples(Collector):
    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples = samples

    def collect(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample in self._samples:
            family = families.get(sample.name)
            if family is None:
                made = CounterMetricFamily if sample.kind == "counter" else GaugeMetricFamily
                family = families[sample.name] = made(sample.name, sample.help, labels=sample.label_names)
            family.add_metric(sample.labels, sample.value)
        yield from families.values()


def expose(samples: Iterable[Sample], accept: str) -> tuple[str, bytes]:
    """The text of a scrape and its Content-Type.

    Args:
        samples: All numbers; of one metric they have the same kind and the same labels.
        accept: The header of the request.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Samples(samples))
    ProcessCollector(registry=registry)
    encode, kind = choose_encoder(accept[:_ACCEPT_MAX])
    return kind, encode(registry)
