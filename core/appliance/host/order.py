"""In which order services start: after those that provide what they need. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from appliance.errors import PluginError
from appliance.plugin.contributions import Service


def providers(name: str, services: Mapping[str, Service]) -> frozenset[str]:
    """Names of the services that have to be ready before `name` starts, needed or only preferred.

    A capability that nobody provides is not waited for.
    """
    needs = services[name].needs | services[name].after
    return frozenset(other for other, service in services.items() if other != name and service.provides & needs)


def ranks(services: Mapping[str, Service]) -> tuple[tuple[str, ...], ...]:
    """Names in ranks: everything in a rank needs only what earlier ranks provide.

    Raises:
        PluginError: Services need each other in a circle.
    """
    waiting = {name: providers(name, services) for name in services}
    done: set[str] = set()
    found: list[tuple[str, ...]] = []
    while waiting:
        rank = tuple(name for name, needed in waiting.items() if needed <= done)
        if not rank:
            circle = ", ".join(sorted(waiting))
            raise PluginError(
                f"these services need each other in a circle, so none can start first: {circle}",
                hint="change Service.needs or Service.provides in one of their plugins",
            )
        found.append(rank)
        done.update(rank)
        for name in rank:
            del waiting[name]
    return tuple(found)
