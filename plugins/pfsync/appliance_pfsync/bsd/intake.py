"""What one datagram of a peer changes: its states go into the database, and flow records for the kernel come out.

Which of two views of a state is newer is decided for each side by itself, as OpenBSD does (FreeBSD copies the
responder's side even when it is older).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from appliance_pfsync.bsd import phases, state, wire
from appliance_pfsync.bsd.actions import Action, Form, Peer, StateFlag
from appliance_pfsync.bsd.identities import Identities, Known, Pair
from appliance_pfsync.bsd.queue import Outbox
from appliance_pfsync.bsd.records import Record
from appliance_pfsync.bsd.state import Invalid, State
from appliance_pfsync.bsd.wire import Identity, Section
from appliance_pfsync.flow import TCP, Op

_DEL_CREATOR_AT = 236
"""Of OpenBSD's full state, which is all that DEL is used with."""


@dataclass(slots=True)
class _Change:
    pair: Pair
    is_bulk: bool
    is_end: bool = False


class Intake:
    """One datagram. Feed it the sections in their order, then take the records."""

    def __init__(self, form: Form, identities: Identities, outbox: Outbox, counters: Counter[str], now: float) -> None:
        """Prepare.

        Args:
            form: The dialect.
            identities: All states that this node knows.
            outbox: Takes what has to be said about it.
            counters: Those of pfsync(4).
            now: Monotonic seconds.
        """
        self.acks: list[Known] = []
        """States whose sender holds a packet back until they are here."""
        self.is_bulk = False
        """The sender is in the middle of a bulk update: its full updates describe an earlier moment."""
        self._form, self._identities, self._outbox, self._counters = form, identities, outbox, counters
        self._now = now
        self._changes: dict[int, _Change] = {}
        self._requests: dict[bytes, Record] = {}

    def take(self, section: Section) -> None:
        """Everything about states; other actions are none of its business."""
        match section.action:
            case Action.INS | Action.INS_1301 | Action.INS_1500:
                self._each_state(section, is_bulk=False)
            case Action.UPD | Action.UPD_1301 | Action.UPD_1500:
                self._each_state(section, is_bulk=self.is_bulk)
            case Action.UPD_C:
                for message in section.messages:
                    self._compressed(message)
            case Action.UPD_REQ:
                for message in section.messages:
                    self._request(wire.unpack_identity(message))
            case Action.DEL_C:
                for message in section.messages:
                    self._delete(wire.unpack_identity(message))
            case Action.DEL:
                for message in section.messages:
                    self._delete(wire.unpack_identity(message[:8] + message[_DEL_CREATOR_AT : _DEL_CREATOR_AT + 4]))
            case Action.CLR:
                for message in section.messages:
                    self._clear(*wire.unpack_clear(message))
            case _:
                pass

    # --- states ----------------------------------------------------------------------------------------------

    def _each_state(self, section: Section, *, is_bulk: bool) -> None:
        for message in section.messages:
            try:
                told = state.unpack(self._form, section.action, message, self._now)
            except Invalid:
                self._counters["badval"] += 1
                continue
            ack_wanted = bool(told.flags & StateFlag.ACK)
            told.flags &= ~StateFlag.ACK
            known = self._identities.find(told.identity)
            if known is None:
                known = self._adopt(told, is_bulk=is_bulk)
            else:
                self._compare(known, (told.src, told.dst), told.timeout, told.expire, is_bulk=is_bulk)
            if ack_wanted:
                self.acks.append(known)

    def _adopt(self, told: State, *, is_bulk: bool) -> Known:
        known, replaced = self._identities.adopt(told, self._now)
        self._outbox.forget(known)
        if replaced is not None:
            self._ended(replaced)
        self._changed(known.pair, is_bulk=is_bulk)
        return known

    def _compressed(self, message: bytes) -> None:
        update = wire.unpack_compressed(message)
        sides = (update.src, update.dst)
        if update.timeout >= self._form.timeout_max or max(map(state.side_state, sides)) > state.STATES_MAX:
            self._counters["badval"] += 1
            return
        known = self._identities.find(update.identity)
        if known is None:
            self._outbox.ask(update.identity, self._now)
            self._outbox.is_urgent = True
            return
        self._compare(known, sides, update.timeout, 0, is_bulk=False)

    def _compare(self, known: Known, told: tuple[bytes, bytes], timeout: int, expire: int, *, is_bulk: bool) -> None:
        """Copy each side that is not older than ours.

        Args:
            known: Our view.
            told: The peer's view of initiator and responder.
            timeout: Which timeout it applies.
            expire: The seconds that remain; 0 for all.
            is_bulk: It describes an earlier moment.
        """
        own = known.state
        is_stale = _src_is_stale(own, told[0]), _dst_is_stale(own, told[1])
        known.heard_at = self._now
        if any(is_stale):
            self._counters["stale"] += 1
            self._outbox.differs(known, self._now)
        if not all(is_stale):
            known.pair.told_at = math.inf
            own.src = own.src if is_stale[0] else told[0]
            own.dst = own.dst if is_stale[1] else told[1]
            own.creation, own.timeout, own.expire, own.at = own.age_s(self._now), timeout, expire, self._now
        if not all(is_stale) or known.pair.is_expired:
            self._changed(known.pair, is_bulk=is_bulk and not known.pair.is_expired)
        known.pair.is_expired = False

    def _delete(self, identity: Identity) -> None:
        known = self._identities.find(identity)
        if known is None:
            self._counters["badstate"] += 1
            return
        self._retire(known)

    def _clear(self, creator: int, ifname: str) -> None:
        for known in self._identities.states():
            if known.state.identity[1] == creator and ifname in ("", known.state.ifname):
                self._retire(known)

    def _retire(self, known: Known) -> None:
        self._outbox.forget(known)
        if self._identities.retire(known):
            self._ended(known.pair)

    def _request(self, identity: Identity) -> None:
        """A peer lacks a state. We know how much time it had left when we last heard of it; after that only the
        kernel knows whether packets have renewed it."""
        if identity == wire.BULK_REQUEST:
            return
        known = self._identities.find(identity)
        if known is None or known.pair.is_expired:
            self._counters["badstate"] += 1
        elif known.state.flags & StateFlag.NOSYNC:
            pass
        elif _is_surely_alive(known, self._now):
            self._outbox.wanted(known, self._now)
        elif known.pair.record is not None:
            known.pair.is_wanted = True
            self._requests[known.pair.record.key] = known.pair.record._replace(op=Op.REQUEST)

    # --- flows -----------------------------------------------------------------------------------------------

    def _changed(self, pair: Pair, *, is_bulk: bool) -> None:
        change = self._changes.setdefault(id(pair), _Change(pair, is_bulk))
        change.is_bulk &= is_bulk

    def _ended(self, pair: Pair) -> None:
        self._changed(pair, is_bulk=False)
        self._changes[id(pair)].is_end = True

    def records(self) -> Iterator[tuple[Record, bool]]:
        """What the kernel has to do, and whether it describes an earlier moment."""
        for change in self._changes.values():
            if change.is_end:
                if change.pair.record is not None:
                    yield change.pair.record._replace(op=Op.DELETE), False
            elif change.pair.states:  # or it was forgotten for want of room
                yield from self._settle(change.pair, change.is_bulk)
        for request in self._requests.values():
            yield request, False

    def _settle(self, pair: Pair, is_bulk: bool) -> Iterator[tuple[Record, bool]]:
        before = pair.record
        record = pair.to_record(self._now)
        if before is not None and (record is None or record.key != before.key):
            # Its other half arrived and it turns out to be translated, which the kernel cannot learn later.
            yield before._replace(op=Op.DELETE), False
            before, is_bulk = None, False
        if record is not None:
            if before is not None:
                record = record._replace(mark=before.mark, labels=before.labels)
            other = self._identities.find_flow(record.key)
            if other is not None and other is not pair:
                self._identities.remove(other)
            record = record._replace(op=Op.INSERT if before is None or is_bulk else Op.UPDATE)
            yield record, is_bulk
        self._identities.bind(pair, record)


def _src_is_stale(own: State, told: bytes) -> bool:
    mine, theirs = state.side_state(own.src), state.side_state(told)
    if own.proto == TCP and mine >= Peer.PROXY_SRC > theirs:
        return False
    return _is_older(own.proto, own.src, told)


def _dst_is_stale(own: State, told: bytes) -> bool:
    return _is_older(own.proto, own.dst, told)


def _is_older(proto: int, own: bytes, told: bytes) -> bool:
    mine, theirs = state.side_state(own), state.side_state(told)
    if proto != TCP or mine != theirs:
        return mine > theirs
    ahead = (state.seqlo(own) - state.seqlo(told)) & 0xFFFFFFFF
    return 0 < ahead < 0x80000000


def _is_surely_alive(known: Known, now: float) -> bool:
    own = known.state
    if own.expire:
        return now < own.at + own.expire
    record = known.pair.record
    if record is None:
        return True
    phase = phases.Phase(record.status, record.tcp_state)
    return now < own.at + phases.default_s(record.proto, phase)
