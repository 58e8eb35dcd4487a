"""Which new flows the peers have taken: the packets that wait for them are held back until then.

Acknowledgements come for single states and in any order. What is reported is cumulative: a ticket is done when
it and all before it are, or are too old to be waited for.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance_pfsync.bsd.wire import Identity
from appliance_pfsync.native.effects import FlowsInjected

HELD_S = 1.0
"""Long after pfsync(4) and this node have released the packet by themselves (20 ms)."""
TICKETS_MAX = 4096


@dataclass(slots=True)
class _Ticket:
    number: int
    since: float
    names: frozenset[Identity]
    missing: dict[str, set[Identity]] = field(default_factory=dict)
    """What a peer has not acknowledged yet; peers that never acknowledged anything of it are not in here."""

    def is_done(self, peer: str) -> bool:
        return not self.names or self.missing.get(peer, self.names) == set()


class Tickets:
    """Those that somebody waits for, the oldest first."""

    def __init__(self) -> None:
        self._waiting: dict[int, _Ticket] = {}
        self._by_name: dict[Identity, _Ticket] = {}
        self._told: dict[str, int] = {}

    def add(self, number: int, names: Iterable[Identity], now: float) -> None:
        """Wait for these states."""
        self.expire(now)
        if len(self._waiting) >= TICKETS_MAX:
            self._drop(next(iter(self._waiting)))
        self._waiting[number] = ticket = _Ticket(number, now, frozenset(names))
        for name in ticket.names:
            self._by_name[name] = ticket

    def acknowledged(self, peer: str, names: Iterable[Identity], now: float) -> list[FlowsInjected]:
        """A peer has these states; at most one report comes out."""
        self.expire(now)
        for name in names:
            ticket = self._by_name.get(name)
            if ticket is not None:
                ticket.missing.setdefault(peer, set(ticket.names)).discard(name)
        last = 0
        for ticket in self._waiting.values():
            if not ticket.is_done(peer):
                break
            last = ticket.number
        if last <= self._told.get(peer, 0):
            return []
        if len(self._told) >= TICKETS_MAX:
            self._told.clear()
        self._told[peer] = last
        return [FlowsInjected(peer, last)]

    def expire(self, now: float) -> None:
        """Give up the oldest ones."""
        for number in list(self._waiting):
            if now - self._waiting[number].since < HELD_S:
                break
            self._drop(number)

    def _drop(self, number: int) -> None:
        ticket = self._waiting.pop(number)
        for name in ticket.names:
            if self._by_name.get(name) is ticket:
                del self._by_name[name]
