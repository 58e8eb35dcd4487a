"""The numbers that all services of a node count, for whoever carries them elsewhere."""

from __future__ import annotations

from typing import Literal, NamedTuple

from appliance.events.base import Request, request


class Sample(NamedTuple):
    """One number, as it travels between processes (plain values only)."""

    name: str
    """Whole: ``appliance_carp_sent_total``."""
    kind: Literal["counter", "gauge"]
    help: str
    label_names: tuple[str, ...]
    labels: tuple[str, ...]
    value: float


@request
class GetMetrics(Request[tuple[Sample, ...]]):
    """Every number at this moment."""
