"""Counters and gauges with labels, and their text form for Prometheus.

Small enough to own. A number is a dict entry, so counting costs a dict update and scraping costs nothing
in between. A service in a process of its own counts there and ships `samples()`, which are totals and not
differences: shipping may be repeated, late or lost without miscounting.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from appliance.errors import PluginError
from appliance.events import GetMetrics, Request
from appliance.events import Sample as Sample

if TYPE_CHECKING:
    from appliance.bus import EventBus

LABEL_SETS_MAX = 2048
"""Label sets per metric: 255 virtual hosts on eight interfaces. What comes beyond is added up in one
set whose labels read ``OTHER``, so that a label taken from the network cannot eat the node's memory."""
OTHER = "_other"

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
Kind = Literal["counter", "gauge"]
Labels = tuple[str, ...]


@dataclass(slots=True)
class _Family:
    """One metric with all its label sets."""

    name: str
    kind: Kind
    help: str
    label_names: Labels
    values: dict[Labels, float] = field(default_factory=dict)

    def key(self, labels: dict[str, object]) -> Labels:
        if len(labels) != len(self.label_names) or not all(name in labels for name in self.label_names):
            raise TypeError(f"metric {self.name} has the labels {self.label_names}, not {tuple(labels)}")
        return self.bounded(tuple(str(labels[name]) for name in self.label_names))

    def bounded(self, key: Labels) -> Labels:
        if key in self.values or len(self.values) < LABEL_SETS_MAX:
            return key
        return (OTHER,) * len(self.label_names)


class _Counter:
    def __init__(self, family: _Family) -> None:
        self._family = family

    def inc(self, amount: float = 1.0, **labels: object) -> None:
        """Add to the number of this label set."""
        if amount < 0:
            raise ValueError(f"counter {self._family.name} only grows; use a gauge")
        key = self._family.key(labels)
        self._family.values[key] = self._family.values.get(key, 0.0) + amount

    def advance(self, total: float, **labels: object) -> None:
        """Take over a number that somebody else counts. A smaller one than before: it was counted anew from zero."""
        if total < 0:
            raise ValueError(f"counter {self._family.name} only grows; use a gauge")
        self._family.values[self._family.key(labels)] = float(total)


class _Gauge:
    def __init__(self, family: _Family) -> None:
        self._family = family

    def set(self, value: float, **labels: object) -> None:
        """Set the number of this label set."""
        self._family.values[self._family.key(labels)] = float(value)


class ScopedMetrics:
    """Satisfies `appliance.plugin.Metrics`: declares metrics under one prefix."""

    def __init__(self, registry: MetricsRegistry, prefix: str) -> None:
        self._registry = registry
        self._prefix = prefix

    def counter(self, name: str, help: str, labels: tuple[str, ...] = ()) -> _Counter:  # noqa: A002
        """Declare a counter; declaring it again gives the same one."""
        return _Counter(
            self._registry.family(f"{self._prefix}_{name.removesuffix('_total')}_total", "counter", help, labels)
        )

    def gauge(self, name: str, help: str, labels: tuple[str, ...] = ()) -> _Gauge:  # noqa: A002
        """Declare a gauge; declaring it again gives the same one."""
        return _Gauge(self._registry.family(f"{self._prefix}_{name}", "gauge", help, labels))


class MetricsRegistry:
    """All metrics of one node."""

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def scoped(self, prefix: str) -> ScopedMetrics:
        """Where one plugin declares its metrics; ``carp`` makes ``appliance_carp_…``."""
        return ScopedMetrics(self, "appliance_" + re.sub(r"[^a-zA-Z0-9_]", "_", prefix))

    def family(self, name: str, kind: Kind, text: str, labels: Labels) -> _Family:
        """Find or make a metric. The same name with another kind or other labels is a mistake."""
        found = self._families.get(name)
        if found is None:
            for word in (name, *labels):
                if not _NAME.fullmatch(word):
                    raise PluginError(f"metric {name}: {word!r} is not a name", hint="use letters, digits and _")
            found = self._families[name] = _Family(name, kind, text, tuple(labels))
        elif (found.kind, found.label_names) != (kind, tuple(labels)):
            raise PluginError(
                f"metric {name} is declared twice: {found.kind} with labels {found.label_names}, {kind} with {labels}",
                hint="give one of them another name",
            )
        return found

    def samples(self) -> tuple[Sample, ...]:
        """Every number at this moment; a metric without numbers is not in it."""
        return tuple(
            Sample(family.name, family.kind, family.help, family.label_names, labels, value)
            for family in self._families.values()
            for labels, value in family.values.items()
        )

    @contextmanager
    def serving(self, bus: EventBus, *, source: str) -> Iterator[None]:
        """Answer `GetMetrics` while the block lasts."""

        async def answer(_: Request[tuple[Sample, ...]]) -> tuple[Sample, ...]:
            return self.samples()

        with bus.serve(GetMetrics, answer, source=source):
            yield

    def merge(self, samples: Iterable[Sample]) -> None:
        """Take over the totals of another process. It alone counts what it ships, so numbers are replaced.

        After a restart of that process its counters begin at zero again, which Prometheus expects of counters.
        """
        for sample in map(Sample._make, samples):
            family = self.family(sample.name, sample.kind, sample.help, tuple(sample.label_names))
            family.values[family.bounded(tuple(sample.labels))] = sample.value

    def exposition(self) -> str:
        """Prometheus text format 0.0.4."""
        lines: list[str] = []
        for family in sorted(self._families.values(), key=lambda each: each.name):
            lines.append(f"# HELP {family.name} {_escape(family.help)}")
            lines.append(f"# TYPE {family.name} {family.kind}")
            for labels, value in sorted(family.values.items()):
                pairs = ",".join(
                    f'{name}="{_escape(text, quote=True)}"'
                    for name, text in zip(family.label_names, labels, strict=True)
                )
                lines.append(
                    f"{family.name}{{{pairs}}} {_number(value)}" if pairs else f"{family.name} {_number(value)}"
                )
        return "".join(f"{line}\n" for line in lines)


def _escape(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", r"\\").replace("\n", r"\n")
    return text.replace('"', r"\"") if quote else text


def _number(value: float) -> str:
    if not math.isfinite(value):
        return str(value).replace("inf", "Inf").replace("nan", "NaN")
    return str(int(value)) if value == int(value) else repr(value)
