"""What happens to this node's flows becomes states that are told to the peers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from appliance_pfsync.bsd import convert, records, wire
from appliance_pfsync.bsd.actions import Action
from appliance_pfsync.bsd.identities import Identities, Pair
from appliance_pfsync.bsd.queue import Outbox
from appliance_pfsync.bsd.records import Record
from appliance_pfsync.bsd.wire import Identity
from appliance_pfsync.flow import TCP, Flows, Op

REMIND_S = 6 * 3600.0
"""pf drops an idle TCP state after a day, and its DEL_C would end the flow here, where it may carry packets that the
kernel reports to nobody."""
ROUND_S = 60.0
"""Between two looks at all pairs."""
STEP_PAIRS = 2048
"""Looked at in one go: less than a millisecond."""


class Announcer:
    """Writes into the database and the outbox."""

    def __init__(self, identities: Identities, outbox: Outbox, counters: Counter[str]) -> None:
        self._identities, self._outbox, self._counters = identities, outbox, counters
        self._round: Iterator[Pair] = iter(())
        self._round_at = -math.inf

    def offer(self, flows: Flows, now: float, *, ack_wanted: bool) -> list[Identity]:
        """Tell about flows; the names of the states that are new."""
        names: list[Identity] = []
        for record in records.each(flows):
            pair = self._identities.find_flow(record.key)
            if record.op not in (Op.DELETE, Op.REQUEST):
                names += self._announce(pair, record, now, ack_wanted)
            elif pair is not None:
                (self._ended if record.op == Op.DELETE else self._expired)(pair, now)
        return names

    def _announce(self, pair: Pair | None, record: Record, now: float, ack_wanted: bool) -> list[Identity]:
        if pair is None:
            pair = self._create(record, now)
            if pair is None:
                return []
            self._outbox.keep_together(pair.states, now)
            for known in pair.states:
                self._outbox.created(known, now, ack_wanted=ack_wanted)
            return [known.state.identity for known in pair.states]
        self._advance(pair, record, now)
        if pair.is_wanted:
            self._outbox.keep_together(pair.states, now)
        for known in pair.states:
            if pair.is_wanted:
                self._outbox.wanted(known, now)
            else:
                self._outbox.changed(known, now)
        pair.is_wanted = False
        return []

    def _create(self, record: Record, now: float) -> Pair | None:
        keys = convert.keys_of(record)
        if keys is None:
            self._counters["unsupported"] += 1
            return None
        states = convert.make_states(record, keys, self._identities.next_names(), now)
        others = self._identities.in_the_way(states)
        for other in others:
            self._ended(other, now)
        if others:
            self._outbox.flush(now)  # BSD reads INS first, and refuses a second state with the same key
        pair = self._identities.create(record, states)
        pair.told_at = now
        return pair

    def _advance(self, pair: Pair, record: Record, now: float) -> None:
        for known in pair.states:
            convert.advance(known.state, record, now)
        pair.record, pair.is_expired, pair.told_at = record, False, now

    def _ended(self, pair: Pair, now: float) -> None:
        for known in pair.states:
            self._outbox.deleted(known, now)
        self._identities.remove(pair)

    def _expired(self, pair: Pair, now: float) -> None:
        pair.is_expired, pair.told_at = True, math.inf
        for known in pair.states:
            self._outbox.forget(known)
            self._outbox.ask(known.state.identity, now)
        self._outbox.is_urgent = True

    def whole(self, flows: Flows, now: float) -> list[list[bytes]]:
        """The states of each flow of a part of the table, for a bulk update."""
        packed: list[list[bytes]] = []
        for record in records.each(flows):
            pair = self._identities.find_flow(record.key)
            if pair is None:
                pair = self._create(record, now)
            elif not any(known.is_queued for known in pair.states):  # what is queued is newer than any table
                self._advance(pair, record, now)
            if pair is not None:
                packed.append([self._outbox.pack_whole(known, now) for known in pair.states])
        return packed

    def clear(self, now: float) -> None:
        """Every flow is removed: CLR for our own states, DEL_C for those that others made. A CLR for a BSD's creatorid
        would also end that BSD's own connections."""
        self._outbox.drop()
        for known in self._identities.states():
            if known.state.identity[1] != self._identities.creator:
                self._outbox.message(Action.DEL_C, wire.pack_identity(known.state.identity), now)
        self._outbox.message(Action.CLR, wire.pack_clear(self._identities.creator), now)
        self._outbox.is_urgent = True
        self._identities.clear()

    def remind(self, now: float) -> None:
        """Tell again of TCP flows whose peers would give them up; a few at a time."""
        step = list(islice(self._round, STEP_PAIRS))
        if not step and now - self._round_at >= ROUND_S:
            self._round, self._round_at = iter(self._identities.pairs()), now
        for pair in step:
            if now - pair.told_at >= REMIND_S and pair.record is not None and pair.record.proto == TCP:
                pair.told_at = now
                for known in pair.states:
                    self._outbox.changed(known, now)
