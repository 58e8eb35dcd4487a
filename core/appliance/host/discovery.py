"""Finds installed plugins by their entry points, and remembers which distribution each one comes from.

Finding imports nothing of a plugin: a blocked one is never loaded, and one that cannot be imported is
the business of `Plugins`, which says so and goes on. pluggy's own loader registers the loaded object
itself; ours are classes, and every appliance makes its own instance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import cast

GROUP = "appliance.plugins"
ISOLATED = "appliance.isolated"
"""What isolated services need first of all: a module under the full name of each, such as ``carp/heartbeat``."""
OWN = "ha-appliance"
"""Our own distribution: it wins when another one uses the name of a bundled plugin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One plugin that is installed."""

    name: str
    distribution: str
    factory: Callable[[], object] | None = None
    """Imports the plugin's class and makes an instance; may raise anything."""
    error: str | None = None
    """Why it cannot be used although it is installed."""
    isolated: Mapping[str, str] = field(default_factory=dict, hash=False)
    """Full names of isolated services, and what their processes may load before the plugin itself is imported."""


def discover(group: str = GROUP) -> tuple[Found, ...]:
    """Every plugin that is installed, bundled ones first, then by name."""
    found: dict[str, Found] = {}
    every = entry_points()
    isolated: dict[tuple[str, str], dict[str, str]] = {}
    for point in every.select(group=ISOLATED):
        isolated.setdefault((_owner(point), point.name.partition("/")[0]), {})[point.name] = point.value
    points = [(_owner(point), point) for point in every.select(group=group)]
    for owner, point in sorted(points, key=lambda item: (item[0] != OWN, item[1].name, item[0])):
        if point.name in found:
            # Kept under a name of its own: it must be seen, and must not replace what it imitates.
            error = f"the name {point.name} belongs to the plugin of {found[point.name].distribution}"
            name = f"{point.name}@{owner}"
            found[name] = Found(name=name, distribution=owner, error=error)
        else:
            found[point.name] = Found(
                name=point.name,
                distribution=owner,
                factory=_factory(point),
                isolated=isolated.get((owner, point.name), {}),
            )
    return tuple(found.values())


def _owner(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "unknown"


def _factory(point: EntryPoint) -> Callable[[], object]:
    def make() -> object:
        return cast("Callable[[], object]", point.load())()

    return make
