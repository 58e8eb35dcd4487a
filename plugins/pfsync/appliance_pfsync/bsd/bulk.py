"""Asking for the peers' whole tables.

::

    requester                          responder
    UPD_REQ 0/0          ->
                         <-            BUS START
                         <-            UPD of every state, one datagram a tick
                         <-            BUS END, with the age of the request that it answers
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from appliance_pfsync.bsd.actions import Form
from appliance_pfsync.bsd.feeds import TICK_S
from appliance_pfsync.native.effects import BulkDone, BulkFailed, Effect

TRIES_MAX = 12
"""Requests without success (if_pfsync.c, PFSYNC_MAX_BULKTRIES)."""
START_S = 4.0
"""What a peer may take beyond the time that the size of its table explains."""
LIMIT_STATES = 262_144
"""Assumed size of a peer's table, unless this node's is configured."""
AGE_SLACK_S = 1.0
"""BSD counts the age of a request in differences of whole seconds."""


@dataclass(slots=True)
class _Incoming:
    began_at: float
    until: float
    count: int = 0


class Request:
    """What we ask the peers for. One request goes to all of them; each one answers by itself."""

    def __init__(self, form: Form, *, mtu: int, limit: int | None, timeout_s: float) -> None:
        self.is_due = False
        """The request is to be sent now."""
        self._form = form
        self._whole_s = START_S + (limit or LIMIT_STATES) / form.states_per_datagram(mtu) * TICK_S
        self._timeout_s = timeout_s
        self._asked_at: float | None = None
        """`None`: nothing has been asked, and nobody's answer is expected."""
        self._is_open = False
        """Nobody has answered completely yet."""
        self._retry_at = math.inf
        self._progress_at = 0.0
        self._tries = 0
        self._incoming: dict[str, _Incoming] = {}
        self._early: dict[str, int] = {}
        """States that came from a peer whose START was not seen."""
        self._done: set[str] = set()

    def begin(self, now: float) -> None:
        """Ask everybody, from the beginning."""
        self._is_open, self._tries, self._progress_at = True, 0, now
        self._incoming.clear()
        self._early.clear()
        self._done.clear()
        self._ask(now)

    def _ask(self, now: float) -> None:
        self._asked_at, self._retry_at, self.is_due = now, now + self._form.retry_s, True
        self._tries += 1

    def state_of(self, peer: str) -> str:
        """For `show pfsync`."""
        if peer in self._incoming:
            return "running"
        if peer in self._done:
            return "done"
        return "asked" if self._is_open else "idle"

    @property
    def is_open(self) -> bool:
        """Nobody has answered completely yet, and it has not been given up."""
        return self._is_open

    def is_running(self, peer: str) -> bool:
        """Whether this peer is sending us its table."""
        return peer in self._incoming

    def started(self, peer: str, now: float) -> None:
        """BUS START. From a peer that we did not ask it means nothing."""
        if self._asked_at is not None and peer not in self._done:
            self._incoming[peer] = _Incoming(now, now + self._whole_s)
            self._progress_at = now

    def progressed(self, peer: str, count: int, now: float) -> None:
        """Full updates of a peer."""
        incoming = self._incoming.get(peer)
        if incoming is not None:
            incoming.count += count
            incoming.until = max(incoming.until, now + START_S)
            self._progress_at = now
        elif self._is_open:
            self._early[peer] = count

    def ended(self, peer: str, age_s: int, now: float) -> list[Effect]:
        """BUS END. One that answers an earlier request means nothing."""
        if self._asked_at is None or now - age_s < self._asked_at - AGE_SLACK_S or peer in self._done:
            return []
        incoming = self._incoming.pop(peer, None)
        if incoming is None:
            # OpenBSD says END alone when it has nothing. Otherwise the START was lost: the request is repeated.
            if self._form.has_eof or self._early.get(peer):
                return []
            incoming = _Incoming(self._asked_at, now)
        self._done.add(peer)
        self._is_open = False
        self._retry_at = math.inf
        return [BulkDone(peer, incoming.count, now - incoming.began_at)]

    def tick(self, now: float, *, is_lonely: bool) -> list[Effect]:
        """Repeat the request or give up."""
        for peer in [peer for peer, incoming in self._incoming.items() if incoming.until <= now]:
            del self._incoming[peer]
            self._retry_at = min(self._retry_at, now)
        if not self._is_open or self._incoming or now < self._retry_at:
            return []
        if self._tries >= TRIES_MAX or now - self._progress_at >= self._timeout_s:
            self._is_open, self._retry_at = False, math.inf
            why = "no peer is heard" if is_lonely else "no peer sent all its states"
            return [BulkFailed("", why, is_lonely)]
        self._ask(now)
        return []

    @property
    def deadline(self) -> float:
        """When `tick` has something to do."""
        if self._incoming:
            return min(incoming.until for incoming in self._incoming.values())
        return self._retry_at if self._is_open else math.inf
