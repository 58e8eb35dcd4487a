"""This node's whole table on its way to the peers that asked for it, and to everybody when events were lost."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from appliance_pfsync.bsd import wire
from appliance_pfsync.bsd.actions import Action, Bus
from appliance_pfsync.bsd.queue import Outbox

EVERYBODY = ""
FEEDS_MAX = 8
"""Peers that are served at one time."""
TICK_S = 0.001
"""FreeBSD sends one datagram in each (kern.hz = 1000); more would overrun its queue."""
BURST_DATAGRAMS = 16
"""What may be made up for when ticks come late."""


@dataclass(slots=True)
class _Feed:
    per_datagram: int
    asked_at: float
    pending: list[bytes] = field(default_factory=list)
    """States that do not fill a datagram yet."""
    credit: float = field(init=False)
    """States that may be sent now."""
    credited_at: float = field(init=False)

    def __post_init__(self) -> None:
        self.credit = float(BURST_DATAGRAMS * self.per_datagram)
        self.credited_at = self.asked_at

    @property
    def has_room(self) -> bool:
        return self.credit >= self.per_datagram

    def refill(self, now: float) -> None:
        earned = max(0.0, now - self.credited_at) / TICK_S * self.per_datagram
        self.credit = min(self.credit + earned, float(BURST_DATAGRAMS * self.per_datagram))
        self.credited_at = now


class Feeds:
    """All bulk updates that this node answers."""

    def __init__(self, outbox: Outbox, creator: int, mtu: int) -> None:
        self._outbox, self._creator = outbox, creator
        self._per_datagram = outbox.form.states_per_datagram(mtu)
        self._feeds: dict[str, _Feed] = {}

    @property
    def targets(self) -> tuple[str, ...]:
        """Whose update has begun and not ended."""
        return tuple(self._feeds)

    def begin(self, peer: str, now: float) -> None:
        """Begin, or begin again. To everybody it is not an answer and has neither START nor END."""
        if len(self._feeds) >= FEEDS_MAX and peer not in self._feeds:
            del self._feeds[next(iter(self._feeds))]
        self._feeds[peer] = _Feed(self._per_datagram, now)
        if peer != EVERYBODY:
            self._bus(peer, 0, Bus.START, now)

    def room(self, peer: str) -> int:
        """Flows that may be handed over now; each one has two states."""
        feed = self._feeds.get(peer)
        return max(1, int(feed.credit) // 2) if feed is not None and feed.has_room else 0

    def is_on(self, peer: str) -> bool:
        """Whether this peer's update is under way."""
        return peer in self._feeds

    def add(self, peer: str, flows: list[list[bytes]], now: float) -> None:
        """Send the full states of these flows as soon as they fill a datagram; those of one flow stay together."""
        feed = self._feeds[peer]
        for states in flows:
            feed.credit -= len(states)
            if len(feed.pending) + len(states) > self._per_datagram:
                self._send(peer, feed, now)
            feed.pending += states
        feed.refill(now)

    def _send(self, peer: str, feed: _Feed, now: float) -> None:
        size = self._per_datagram
        for start in range(0, len(feed.pending), size):
            self._outbox.send(peer, {self._outbox.form.update: feed.pending[start : start + size]}, now)
        feed.pending.clear()

    def end(self, peer: str, now: float) -> None:
        """That was all."""
        feed = self._feeds.pop(peer, None)
        if feed is None:
            return
        self._send(peer, feed, now)
        if peer != EVERYBODY:
            # OpenBSD always says 0; FreeBSD tells by the age which request is answered.
            self._bus(peer, int(now - feed.asked_at) if self._outbox.form.has_eof else 0, Bus.END, now)

    def _bus(self, peer: str, age_s: int, status: Bus, now: float) -> None:
        self._outbox.send(peer, {Action.BUS: [wire.pack_bus(self._creator, age_s, status)]}, now)

    def tick(self, now: float) -> None:
        """There is room again."""
        for feed in self._feeds.values():
            feed.refill(now)

    @property
    def deadline(self) -> float:
        """When `tick` makes room for somebody who has none."""
        waiting = (feed.credited_at + TICK_S for feed in self._feeds.values() if not feed.has_room)
        return min(waiting, default=math.inf)
