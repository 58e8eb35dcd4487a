"""Who may hold a connection: strangers few and replaceable, pinned peers apart from them.

Anybody on the sync network can open connections and say nothing. Such a flood fills the places of
strangers only, and there the newest wins over the oldest one of whoever holds most: the handshake of the
real peer takes milliseconds and gets through. With its certificate shown it leaves the places of strangers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from appliance.rpc.limits import Limits


class Slot:
    """The place of one connection."""

    __slots__ = ("busy", "close", "fingerprint", "source")

    def __init__(self, source: str, close: Callable[[], None]) -> None:
        self.source = source
        """Address of the client."""
        self.close = close
        """Ends the connection at its next wait; may be called more than once."""
        self.fingerprint = ""
        """Of the pinned certificate; empty for a stranger."""
        self.busy = False
        """Whether a request is being carried out: then it is not replaced by another connection."""


class Slots:
    """All connections of one server.

    Args:
        limits: How many.
        known: Addresses of pinned peers: strangers from elsewhere leave `Limits.strangers_reserved` free.
    """

    def __init__(self, limits: Limits, known: frozenset[str] = frozenset()) -> None:
        self._limits = limits
        self._known = known
        self._held: dict[Slot, None] = {}

    def __len__(self) -> int:
        return len(self._held)

    def admit(self, source: str, close: Callable[[], None]) -> Slot | None:
        """A place for a new connection, `None` when there is none and nobody to replace."""
        strangers = [slot for slot in self._held if not slot.fingerprint]
        known = source in self._known
        room = self._limits.strangers_max - len(strangers)
        if not known:
            inside = sum(slot.source in self._known for slot in strangers)
            room -= max(self._limits.strangers_reserved - inside, 0) if self._known else 0
        if room <= 0 and not self._replace(strangers, known=known):
            return None
        made = Slot(source, close)
        self._held[made] = None
        return made

    def identify(self, slot: Slot, fingerprint: str) -> bool:
        """Note that a connection has shown a pinned certificate; whether it may stay."""
        same = [other for other in self._held if other.fingerprint == fingerprint]
        if len(same) >= self._limits.per_peer_max:
            # A peer that lost power left connections behind that nobody will use again.
            idle = next((other for other in same if not other.busy), None)
            if idle is None:
                return False
            self._drop(idle)
        slot.fingerprint = fingerprint
        return True

    def release(self, slot: Slot) -> None:
        """The connection has ended."""
        self._held.pop(slot, None)

    def _replace(self, strangers: list[Slot], *, known: bool) -> bool:
        candidates = [slot for slot in strangers if not slot.busy and slot.source not in self._known]
        if known and not candidates:
            candidates = [slot for slot in strangers if not slot.busy]
        if not candidates:
            return False
        held = Counter(slot.source for slot in candidates)
        # The oldest of whoever holds most; dicts keep their order.
        self._drop(max(candidates, key=lambda slot: held[slot.source]))
        return True

    def _drop(self, slot: Slot) -> None:
        self.release(slot)
        slot.close()
