"""Audits: when tables are compared, with whom, and with which snapshot.

Of two nodes the one with the smaller name begins, every `audit_s`, with all its peers at once, so that one
snapshot serves for all. A loss on either side makes it begin soon: once after `SOON_S` and once more when what
was under way then is settled, but never twice within `PAUSE_S`. After a round that could not look at
everything the next one begins after `FRESH_S`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from appliance_pfsync.native.digest import bits_for, contains
from appliance_pfsync.native.effects import AuditWanted, Effect, Hashes
from appliance_pfsync.native.header import Kind, Malformed
from appliance_pfsync.native.memory import Memory
from appliance_pfsync.native.rounds import HEAD, Party, Round

SETTLE_S = 3.0
"""Two snapshots that a settled flow is in are at least this far apart."""
FRESH_S = 2.0
"""A snapshot serves for this long: reading a large table costs more than an old one misses."""
RECENT_MAX = 4
SOON_S = 1.0
PAUSE_S = 5.0
ROUND_TIMEOUT_S = 20.0
SNAPSHOT_TIMEOUT_S = 30.0
STEP_S = 0.01
_FAR = math.inf


@dataclass(frozen=True, slots=True, eq=False)
class _Snapshot:
    full: Hashes
    at: float


class Auditor:
    """All comparisons of this node."""

    def __init__(self, *, node: str, audit_s: float, payload_max: int, memory: Memory) -> None:
        self._node = node
        self._audit_s = audit_s
        self._payload_max = payload_max
        self._memory = memory
        self._due = _FAR
        self._begun_at = -_FAR
        self._follow_up = False
        self._wanted_at = -_FAR
        self._is_wanted = False
        self._to_open: dict[str, Party] = {}
        """Peers with whom a round begins when the snapshot is here."""
        self._snapshots: list[_Snapshot] = []
        """The newest, the younger ones than `SETTLE_S`, and one before them."""
        self._settled: Hashes | None = None
        self._rounds: dict[str, Round] = {}
        self._next_bucket: dict[str, int] = {}
        self._number = 0
        self._step_at = _FAR

    def begin(self, now: float) -> None:
        """Time begins."""
        self._due = now + self._audit_s if self._audit_s else _FAR

    # --- when ----------------------------------------------------------------------------------------------

    def soon(self, now: float, *, twice: bool) -> None:
        """Begin earlier than planned; a second time for what is not settled at the first."""
        self._due = min(self._due, max(now + SOON_S, self._begun_at + PAUSE_S))
        self._follow_up |= twice

    def deadline(self) -> float:
        """When `tick` has something to do."""
        return min(
            self._due,
            self._step_at,
            min((each.start + ROUND_TIMEOUT_S for each in self._rounds.values()), default=_FAR),
        )

    def tick(self, parties: Iterable[Party], now: float) -> list[Effect]:
        """Do what is due with those of these peers that are to be asked."""
        effects: list[Effect] = []
        if now >= self._due:
            self._begun_at = now
            self._due = now + self._audit_s if self._audit_s else _FAR
            if self._follow_up:
                self._due, self._follow_up = min(self._due, now + PAUSE_S), False
            self._to_open.update((party.name, party) for party in parties if party.name > self._node)
            if self._to_open:
                effects += self._need_snapshot(now)
        for each in list(self._rounds.values()):
            if now - each.start >= ROUND_TIMEOUT_S:
                del self._rounds[each.party.name]
                effects.append(each.summary(given_up=True))
        if now >= self._step_at:
            effects += self._step(now)
        return effects

    def _step(self, now: float) -> list[Effect]:
        self._step_at = _FAR
        effects: list[Effect] = []
        for name, each in list(self._rounds.items()):
            each.send_some()
            if each.has_mail:
                self._step_at = now + STEP_S
            elif each.is_done:
                del self._rounds[name]
                self._next_bucket[name] = each.next_bucket
                done = each.summary()
                if not done.complete:
                    self._due = min(self._due, now + FRESH_S)  # the snapshots of this round are too old then
                effects.append(done)
        return effects

    # --- snapshots -----------------------------------------------------------------------------------------

    def _need_snapshot(self, now: float) -> list[Effect]:
        if self._snapshots and now - self._snapshots[-1].at <= FRESH_S:
            return self._use_snapshot(now)
        if self._is_wanted and now - self._wanted_at < SNAPSHOT_TIMEOUT_S:
            return []
        self._is_wanted, self._wanted_at = True, now
        return [AuditWanted()]

    def snapshot(self, hashes: Hashes, now: float) -> list[Effect]:
        """All exportable flows of this node, by hash."""
        self._is_wanted = False
        full = np.unique(hashes)
        before = [each for each in self._snapshots if now - each.at >= SETTLE_S]
        self._settled = full[contains(before[-1].full, full)] if before else None
        recent = [each for each in self._snapshots if now - each.at < SETTLE_S][:RECENT_MAX]
        self._snapshots = [*before[-1:], *recent, _Snapshot(full, now)]
        return self._use_snapshot(now)

    def _use_snapshot(self, now: float) -> list[Effect]:
        current = self._snapshots[-1]
        for party in self._to_open.values():
            if self._settled is None:
                self._due = min(self._due, now + PAUSE_S)
                break
            self._number += 1
            fresh = self._round(party, self._number, now)
            first_bucket = self._next_bucket.get(party.name, 0)
            fresh.open(current.full, self._settled, bits_for(len(self._settled)), first_bucket)
        self._to_open.clear()
        for each in self._rounds.values():
            if each.is_waiting:
                each.answer(current.full, self._settled)
        return self._step(now)

    def _round(self, party: Party, number: int, now: float) -> Round:
        fresh = Round(party, number, self._memory, payload_max=self._payload_max, start=now)
        self._rounds[party.name] = fresh
        return fresh

    # --- messages ------------------------------------------------------------------------------------------

    def take(self, party: Party, kind: int, flags: int, payload: bytes, now: float) -> list[Effect]:
        """Take an audit message of a peer.

        Raises:
            Malformed: It is nonsense; the round with this peer is given up.
        """
        if kind == Kind.AUDIT_PLEASE:
            self.soon(now, twice=False)
            return []
        if len(payload) < HEAD.size:
            raise Malformed("malformed")
        number, argument = HEAD.unpack_from(payload)
        try:
            if kind == Kind.AUDIT_OPEN:
                self._round(party, number, now).opened(argument)
                return self._need_snapshot(now)
            each = self._rounds.get(party.name)
            if each is None or each.number != number:
                return []
            return each.take(kind, flags, argument, payload[HEAD.size :], now) + self._step(now)
        except Malformed:
            self._rounds.pop(party.name, None)
            raise

    def forget(self, name: str) -> None:
        """The stream of that peer has a gap, or is no more: its round leads nowhere."""
        self._rounds.pop(name, None)
        self._to_open.pop(name, None)
