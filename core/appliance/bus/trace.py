"""The last few thousand publications and calls, always recorded: the flight recorder of a node."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from appliance.bus.envelope import Envelope

CAPACITY = 4096
"""Envelopes kept: an hour of a busy pair, minutes of a link-flap storm, one to two megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFilter:
    """Which envelopes somebody wants to see; the default is all of them."""

    types: frozenset[str] = frozenset()
    """Class names, of the event or of one of its bases: ``RoleChanged`` or ``appliance.events.ha:RoleChanged``."""
    source: str = ""
    """A service (``carp/lan``) or a whole plugin (``carp``)."""
    without: frozenset[str] = frozenset()
    """Class names, as in `types`, that are left out."""

    def matches(self, envelope: Envelope) -> bool:
        """Whether the envelope passes."""
        if self.source and envelope.source != self.source and not envelope.source.startswith(f"{self.source}/"):
            return False
        if not self.types and not self.without:
            return True
        names = frozenset(_names(type(envelope.event)))
        return names.isdisjoint(self.without) and (not self.types or not names.isdisjoint(self.types))


def _names(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        yield base.__name__
        yield f"{base.__module__}:{base.__qualname__}"


EVERYTHING = TraceFilter()


class Trace:
    """A ring of envelopes. Iterating it yields them oldest first."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._ring: deque[Envelope] = deque(maxlen=capacity)
        self.append = self._ring.append
        """Records one envelope (bound here because it is on the path of every publish). Seqs must have no gaps."""

    def __len__(self) -> int:
        return len(self._ring)

    def __iter__(self) -> Iterator[Envelope]:
        return iter(self._ring)

    def find(self, seq: int) -> Envelope | None:
        """The envelope with this number; ``None`` when it is not or no longer recorded."""
        # No gaps in seq: the position follows from the number.
        index = seq - self._ring[0].seq if self._ring else -1
        return self._ring[index] if 0 <= index < len(self._ring) else None

    def select(
        self, wanted: TraceFilter = EVERYTHING, *, after: int = 0, limit: int | None = None
    ) -> tuple[Envelope, ...]:
        """Matching envelopes with ``seq > after``, oldest first; with `limit` only the newest that many."""
        newest_first = (e for e in reversed(self._ring) if e.seq > after and wanted.matches(e))
        return tuple(islice(newest_first, limit))[::-1]

    def why(self, seq: int) -> tuple[Envelope, ...]:
        """The chain of causes that ends with this envelope, root first.

        Empty when `seq` is not recorded. A first element with a cause of its own means that the ring has
        already forgotten the root.
        """
        chain: list[Envelope] = []
        found = self.find(seq)
        while found is not None:
            chain.append(found)
            # A cause is always older than its effect, so this ends.
            found = self.find(found.cause) if found.cause is not None else None
        return tuple(reversed(chain))
