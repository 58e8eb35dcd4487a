"""What ``[metrics]`` must satisfy beyond the types of its keys. Each path names the offending key."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterator

from appliance.config import Config, ProvidesInterfaces
from appliance.errors import Problem
from appliance_metrics.config import MetricsConfig

TABLE = "metrics"
LIBRARY = "prometheus_client"


def verify(config: Config) -> list[Problem]:
    """Every problem of the table."""
    problems = [*_interfaces(config)]
    if importlib.util.find_spec(LIBRARY) is None:
        message = "the library prometheus-client is not installed: pip install 'ha-appliance[metrics]'"
        problems.append(Problem(path=(TABLE,), message=message))
    return problems


def _interfaces(config: Config) -> Iterator[Problem]:
    table = config[MetricsConfig]
    provider = config.providing(ProvidesInterfaces)
    known = provider.logical_interfaces() if provider else {}
    counts = Counter(table.listen)
    for index, name in enumerate(table.listen):
        path = (TABLE, "listen", index)
        if counts[name] > 1 and table.listen.index(name) != index:
            yield Problem(path=path, message=f"{name} is there twice")
        elif name not in known:
            there = ", ".join(known) or "none"
            yield Problem(path=path, message=f"there is no interface {name!r}; there are: {there}")
        elif not known[name].addresses:
            message = f"{name} has no address of its own, and metrics of one node are not asked for at a virtual one"
            yield Problem(path=path, message=message)
