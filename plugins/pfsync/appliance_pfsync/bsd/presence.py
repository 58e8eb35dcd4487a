"""Who is there. BSD has no hello: a peer is known by its source address, and silence is its normal state.

A standby BSD with nothing to tell says nothing for hours, so silence alone is no alarm. Our own nodes fill every
second of silence with a datagram without content, which every BSD takes and ignores; a peer that has sent
one of those is expected to go on, and is down after `DEAD_S` without anything. Any other peer is down when it
leaves our requests for a bulk update unanswered.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from appliance_pfsync.native.effects import Effect, PeerDown, PeerRefused, PeerUp

KEEPALIVE_S = 1.0
DEAD_S = 3.5
"""Three lost keepalives are forgiven, as by the native protocol."""
PEERS_MAX = 16
"""A sync link has two or three nodes; more sources are noise or an attack."""
REFUSED_AGAIN_S = 60.0


@dataclass(slots=True)
class Seen:
    """One peer."""

    address: str
    heard_at: float
    is_alive: bool = True
    is_chatty: bool = False
    """It sends keepalives: one of our own nodes."""
    last_bulk_at: float | None = None
    last_bulk_count: int = 0
    counters: Counter[str] = field(default_factory=Counter)


class Presence:
    """All peers."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self._refused: dict[tuple[str, str], float] = {}

    @property
    def all(self) -> tuple[Seen, ...]:
        """Everybody who was heard since the start."""
        return tuple(self._seen.values())

    def find(self, address: str) -> Seen | None:
        """The peer of this address."""
        return self._seen.get(address)

    def heard(self, address: str, now: float, *, is_keepalive: bool) -> list[Effect]:
        """A datagram of the right version arrived."""
        seen = self._seen.get(address)
        effects: list[Effect] = []
        if seen is None:
            effects += self._make_room()
            seen = self._seen[address] = Seen(address, now, is_alive=False)
        seen.heard_at = now
        seen.is_chatty |= is_keepalive
        seen.counters["ipackets"] += 1
        if not seen.is_alive:
            seen.is_alive = True
            effects.append(PeerUp(address, address))
        return effects

    def _make_room(self) -> list[Effect]:
        if len(self._seen) < PEERS_MAX:
            return []
        oldest = min(self._seen.values(), key=lambda seen: seen.heard_at)
        del self._seen[oldest.address]
        return [PeerDown(oldest.address, oldest.address)] if oldest.is_alive and oldest.is_chatty else []

    def refused(self, address: str, why: str, now: float) -> list[Effect]:
        """Somebody speaks another pfsync. Said once a minute."""
        last = self._refused.get((address, why), -math.inf)
        if now - last < REFUSED_AGAIN_S:
            return []
        if len(self._refused) >= PEERS_MAX:
            self._refused.clear()
        self._refused[address, why] = now
        return [PeerRefused(address, address, why)]

    def unanswered(self, since: float) -> list[Effect]:
        """Nobody answered what was asked since then: those who were not heard at all are down."""
        return self._down(seen for seen in self._seen.values() if seen.heard_at < since)

    def tick(self, now: float) -> list[Effect]:
        """Those who are expected to be heard and are not."""
        return self._down(seen for seen in self._seen.values() if seen.is_chatty and now - seen.heard_at >= DEAD_S)

    def _down(self, gone: Iterable[Seen]) -> list[Effect]:
        effects: list[Effect] = []
        for seen in gone:
            if seen.is_alive:
                seen.is_alive = False
                effects.append(PeerDown(seen.address, seen.address))
        return effects

    @property
    def deadline(self) -> float:
        """When the next peer is down unless it is heard."""
        alive = (seen.heard_at + DEAD_S for seen in self._seen.values() if seen.is_chatty and seen.is_alive)
        return min(alive, default=math.inf)
