"""One comparison with one peer: digests, the lists of buckets that differ, and who is to do what about each flow.

::

    initiator                          responder
    OPEN(bits)              →
                            ←          DIGEST of its settled flows
    ASK(buckets) + LIST     →
                            ←          LIST
    WANT, DELETE, CLOSE     →  and  ←  WANT, DELETE, CLOSE

*Settled* flows were also in the node's previous snapshot: what is under way never differs. Listed are settled
flows; missing are those that are not in the other's whole snapshot. Whoever lacks a flow wants it, unless the
last word it remembers is that the flow ended: then it tells the holder to delete it, and how long ago that word
was. The holder obeys if it has heard nothing newer; if it has, the flow lives again and is sent. About a flow whose
last word it may have forgotten it does nothing, unless it carries the traffic: then the flow lives.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from appliance_pfsync.native.digest import BITS_MAX, BUCKET, choose, digest, members, missing
from appliance_pfsync.native.effects import AuditDelete, AuditDone, AuditSend, Effect, Hashes
from appliance_pfsync.native.header import LAST, Kind, Malformed
from appliance_pfsync.native.memory import Memory

HEAD = struct.Struct("!II")
"""Number of the round, and what the kind makes of it."""
ROUND_MAX = 50_000
"""Hashes that are listed, and so flows that are repaired, in one round."""
LISTED_MAX = 4 * ROUND_MAX
"""More than a peer of good faith lists: its buckets may have grown since it was asked."""
ENDED = np.dtype([("hash", ">u8"), ("age_ms", ">u4")])
COSTS = {Kind.AUDIT_WANT: 8, Kind.AUDIT_DELETE: 8}
"""Each of these makes the peer look up that many flows in its kernel; everything else costs 1."""
REPAIRS_PER_DATAGRAM = 128
STEP = 16
"""Cost that is spent at once."""
_U8 = np.dtype(">u8")
_U2 = np.dtype(">u2")


class Party(Protocol):
    """The peer, as a round sees it."""

    name: str

    def send(self, kind: int, payload: bytes = b"", count: int = 0, flags: int = 0) -> None:
        """Queue a datagram."""

    def room(self) -> int:
        """Datagrams that may be queued now without delaying live records."""


class Round:
    """This node's side of one comparison."""

    def __init__(self, party: Party, number: int, memory: Memory, *, payload_max: int, start: float) -> None:
        self.party = party
        self.number = number
        self.start = start
        self.full: Hashes = np.zeros(0, np.uint64)
        self.settled: Hashes = self.full
        self.is_waiting = False
        """For this node's snapshot."""
        self.next_bucket = 0
        self._memory = memory
        self._room = payload_max - HEAD.size
        self._bits = 0
        self._outbox: deque[tuple[Kind, bytes, int]] = deque()
        self._parts: list[npt.NDArray[Any]] = []
        self._asked: list[npt.NDArray[Any]] = []
        self._listed: list[npt.NDArray[Any]] = []
        self._heard_close = self._is_closing = self._has_listed = False
        self._complete = True
        self._sent = self._wanted = self._deleted = 0

    # --- beginning -----------------------------------------------------------------------------------------

    def open(self, full: Hashes, settled: Hashes, bits: int, first_bucket: int) -> None:
        """Begin as the initiator."""
        self.full, self.settled, self._bits = full, settled, bits
        self.next_bucket = first_bucket
        self._put(Kind.AUDIT_OPEN, b"", argument=bits)

    def opened(self, bits: int) -> None:
        """Begin as the responder; `answer` follows when there is a snapshot."""
        if not 0 < bits <= BITS_MAX:
            raise Malformed("malformed")
        self._bits, self.is_waiting = bits, True

    def answer(self, full: Hashes, settled: Hashes | None) -> None:
        """The responder's snapshot; without settled flows there is nothing to compare yet."""
        self.is_waiting, self.full = False, full
        if settled is None:
            self._complete = False
            self._close()
            self._heard_close = True
            return
        self.settled = settled
        table = digest(settled, self._bits)
        step = self._room // BUCKET.itemsize
        for first in range(0, len(table), step):
            self._put(Kind.AUDIT_DIGEST, table[first : first + step].tobytes(), argument=first, last=first + step)

    # --- sending -------------------------------------------------------------------------------------------

    def _put(self, kind: Kind, body: bytes, *, argument: int = 0, last: float = 0) -> None:
        flags = LAST if kind is not Kind.AUDIT_DIGEST or last >= 1 << self._bits else 0
        self._outbox.append((kind, HEAD.pack(self.number, argument) + body, flags))

    def _put_array(self, kind: Kind, values: npt.NDArray[Any], per_datagram: int) -> None:
        for first in range(0, max(len(values), 1), per_datagram):
            body = values[first : first + per_datagram].tobytes()
            flags = LAST if first + per_datagram >= len(values) else 0
            self._outbox.append((kind, HEAD.pack(self.number, 0) + body, flags))

    def _close(self) -> None:
        self._put(Kind.AUDIT_CLOSE, b"", argument=self._complete)
        self._is_closing = True

    @property
    def has_mail(self) -> bool:
        """Something is to be sent when there is room."""
        return bool(self._outbox)

    def send_some(self) -> None:
        """Send what may be sent at once."""
        spent = 0
        room = self.party.room()
        while self._outbox and spent < STEP and room > 0:
            kind, payload, flags = self._outbox.popleft()
            self.party.send(kind, payload, 0, flags)
            spent += COSTS.get(kind, 1)
            room -= 1

    @property
    def is_done(self) -> bool:
        """Both sides have said and sent everything."""
        return self._heard_close and self._is_closing and not self._outbox

    def summary(self, *, given_up: bool = False) -> AuditDone:
        """How it went."""
        complete = self._complete and not given_up
        return AuditDone(self.party.name, self._sent, self._wanted, self._deleted, complete)

    # --- hearing -------------------------------------------------------------------------------------------

    def take(self, kind: int, flags: int, argument: int, body: bytes, now: float) -> list[Effect]:
        """Take a message of this round.

        Raises:
            Malformed: It is nonsense; the round is to be given up.
        """
        is_last = bool(flags & LAST)
        if kind == Kind.AUDIT_DIGEST:
            self._take_digest(argument, _array(body, BUCKET), is_last=is_last)
        elif kind == Kind.AUDIT_ASK:
            self._collect(self._asked, _array(body, _U2), 1 << BITS_MAX)
            if is_last:
                self._list()
        elif kind == Kind.AUDIT_LIST:
            self._collect(self._listed, _array(body, _U8), LISTED_MAX)
            if is_last:
                self._compare(now)
        elif kind == Kind.AUDIT_WANT:
            return self._send(_native(_array(body, _U8)))
        elif kind == Kind.AUDIT_DELETE:
            return self._delete(_array(body, ENDED), now)
        elif kind == Kind.AUDIT_CLOSE:
            self._heard_close = True
            self._complete &= bool(argument)
            if not self._asked and not self._listed:  # nothing differs, or the peer can not compare yet
                self._outbox.clear()
                self._is_closing = True
        return []

    def _collect(self, parts: list[npt.NDArray[Any]], part: npt.NDArray[Any], limit: int) -> None:
        parts.append(part)
        if sum(map(len, parts)) > limit or len(parts) > limit:
            raise Malformed("malformed")

    def _take_digest(self, first: int, part: npt.NDArray[Any], *, is_last: bool) -> None:
        if first != sum(map(len, self._parts)) or first + len(part) > 1 << self._bits or not len(part):
            raise Malformed("malformed")
        self._parts.append(part)
        if not is_last:
            return
        theirs = np.concatenate(self._parts)
        if len(theirs) != 1 << self._bits:
            raise Malformed("malformed")
        choice = choose(digest(self.settled, self._bits), theirs, start=self.next_bucket, limit=ROUND_MAX)
        self._complete = choice.complete
        if not len(choice.buckets):
            self._close()
            self._heard_close = True
            return
        self.next_bucket = 0 if choice.complete else int(choice.buckets[-1]) + 1
        self._asked.append(choice.buckets)
        self._put_array(Kind.AUDIT_ASK, choice.buckets.astype(_U2), self._room // _U2.itemsize)
        self._list()

    def _list(self) -> None:
        if self._has_listed:
            raise Malformed("malformed")
        self._has_listed = True
        buckets = np.unique(np.concatenate(self._asked).astype(np.intp))
        if len(buckets) and buckets[-1] >= 1 << self._bits:
            raise Malformed("malformed")
        mine = members(self.settled, self._bits, buckets)[:LISTED_MAX]
        self._put_array(Kind.AUDIT_LIST, mine.astype(_U8), self._room // _U8.itemsize)

    def _compare(self, now: float) -> None:
        if self._is_closing:
            raise Malformed("malformed")
        lacking = missing(self.full, _native(np.concatenate(self._listed)))
        ages = self._memory.ended_ago(lacking, now)
        has_ended = np.isfinite(ages)
        wanted = lacking[~has_ended]
        self._wanted = len(wanted)
        if len(wanted):
            self._put_array(Kind.AUDIT_WANT, wanted.astype(_U8), REPAIRS_PER_DATAGRAM)
        if has_ended.any():
            ended = np.zeros(int(has_ended.sum()), ENDED)
            ended["hash"] = lacking[has_ended]
            ended["age_ms"] = np.clip(ages[has_ended] * 1000, 0, 0xFFFFFFFF)
            self._put_array(Kind.AUDIT_DELETE, ended, REPAIRS_PER_DATAGRAM)
        self._close()

    def _send(self, hashes: Hashes) -> list[Effect]:
        self._sent += len(hashes)
        if self._sent + self._deleted > LISTED_MAX:
            raise Malformed("malformed")
        return [AuditSend(self.party.name, hashes)] if len(hashes) else []

    def _delete(self, ended: npt.NDArray[Any], now: float) -> list[Effect]:
        hashes = _native(ended["hash"])
        ages = ended["age_ms"] / 1000
        lives_again = self._memory.begun_ago(hashes, now) < ages
        is_known = np.isfinite(self._memory.ended_ago(hashes, now)) | (ages <= self._memory.horizon_s(now))
        if self._memory.is_owner:
            lives_again |= ~is_known
        gone = hashes[~lives_again & is_known]
        effects = self._send(hashes[lives_again])
        if len(gone):
            self._deleted += len(gone)
            self._memory.note_ended(gone, now)
            effects.append(AuditDelete(self.party.name, gone))
        return effects


def _array(body: bytes, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    if len(body) % dtype.itemsize:
        raise Malformed("malformed")
    return np.frombuffer(body, dtype)


def _native(hashes: npt.NDArray[Any]) -> Hashes:
    return hashes.astype(np.uint64)
