"""Demotion as named, weighted reasons. The total is always a sum over what is true now, never a counter.

A bare counter drifts (FreeBSD adds 240 per VHID and link loss; twelve VHIDs were seen at 2880, some never came
back). Here a link counts once, however many VHIDs it carries, and a reason that ended is simply absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

WEIGHT_MAX = 240
"""More than CARP_MAXSKEW means nothing to a peer."""
REASONS_MAX = 64
"""External reasons kept, the heaviest first: there are a handful of monitors."""
LINK_WEIGHT = 240
MAINTENANCE_WEIGHT = 240
MAINTENANCE = "maintenance"
LINK_PREFIX = "link:"


class Demotion:
    """All reasons why this node should rather not be MASTER."""

    def __init__(self) -> None:
        self._external: dict[str, int] = {}
        self._own: dict[str, int] = {}
        self.total = 0

    @property
    def reasons(self) -> Mapping[str, int]:
        """External reasons, ``link:<interface>`` and ``maintenance``, with their weights."""
        return {**self._external, **self._own}

    def set_external(self, reasons: Mapping[str, int]) -> None:
        """Replace the reasons that come from outside; names of our own are not taken from there."""
        wanted = {
            name: min(weight, WEIGHT_MAX)
            for name, weight in reasons.items()
            if weight > 0 and name != MAINTENANCE and not name.startswith(LINK_PREFIX)
        }
        heaviest = sorted(wanted, key=lambda name: (-wanted[name], name))[:REASONS_MAX]
        self._external = {name: wanted[name] for name in sorted(heaviest)}
        self._sum()

    def set_own(self, links_down: Iterable[str], *, maintenance: bool) -> None:
        """Replace the reasons that the machine itself knows."""
        self._own = {LINK_PREFIX + interface: LINK_WEIGHT for interface in sorted(set(links_down))}
        if maintenance:
            self._own[MAINTENANCE] = MAINTENANCE_WEIGHT
        self._sum()

    def _sum(self) -> None:
        self.total = sum(self._external.values()) + sum(self._own.values())
