"""What is to be sent, and when: the queues of pfsync(4).

A new state waits as INS, a changed one as UPD_C, one that a peer asked for as UPD, a deleted one as DEL_C.
Everything waits for company, at most a second, or until a datagram is full.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence

from appliance_pfsync.bsd import state, wire
from appliance_pfsync.bsd.actions import SUBHEADER_BYTES, Action, Form, StateFlag
from appliance_pfsync.bsd.identities import Known, Queued
from appliance_pfsync.bsd.wire import Compressed, Identity
from appliance_pfsync.flow import TCP

FLUSH_S = 1.0
"""After the first item (if_pfsync.c, pfsync_timeout)."""
SHARED_S = 2.0
"""A state that a peer told about less than this ago has packets on both nodes: its changes are urgent."""
READY_MAX = 1 << 16
"""Datagrams that wait for the socket."""


class Outbox:
    """Datagrams that are complete, and the one that is not."""

    def __init__(self, form: Form, mtu: int, maxupd: int, counters: Counter[str]) -> None:
        self.form = form
        self.flush_at = math.inf
        """When the collected messages must go."""
        self.is_urgent = False
        """They must go as soon as what is happening now is complete."""
        self.sent_at = -math.inf
        """When everybody was last sent something."""
        self._maxupd = maxupd
        self._budget = form.budget(mtu)
        self._counters = counters
        self._ready: deque[tuple[str, bytes]] = deque()
        self._actions = {Queued.INS: form.insert, Queued.UPD: form.update, Queued.UPD_C: Action.UPD_C}
        self._states: dict[Action, dict[int, Known]] = {action: {} for action in self._actions.values()}
        self._messages: dict[Action, dict[bytes, None]] = {}
        self._used = 0

    # --- states ----------------------------------------------------------------------------------------------

    def created(self, known: Known, now: float, *, ack_wanted: bool = False) -> None:
        """It is new to everybody. Who wants an acknowledgement holds a packet back until it comes."""
        known.ack_wanted = ack_wanted
        self._put(known, Queued.INS, now)
        self.is_urgent |= ack_wanted

    def changed(self, known: Known, now: float) -> None:
        """It is not what it was."""
        if known.queued is Queued.NOWHERE:
            self._put(known, Queued.UPD_C, now)
        elif known.state.proto == TCP:
            known.updates += 1
            self.is_urgent |= known.updates >= self._maxupd
        self.is_urgent |= now - known.heard_at < SHARED_S

    def wanted(self, known: Known, now: float) -> None:
        """A peer asked for all of it."""
        self.is_urgent = True
        if known.queued is Queued.UPD_C:
            self._take_out(known)
        if known.queued is Queued.NOWHERE:
            self._put(known, Queued.UPD, now)

    def differs(self, known: Known, now: float) -> None:
        """A peer's view of it is older than ours."""
        self.is_urgent = True
        if known.queued is Queued.NOWHERE:
            self._put(known, Queued.UPD_C, now)

    def deleted(self, known: Known, now: float) -> None:
        """It ended; nothing is said of a state that nobody knows yet."""
        was = known.queued
        self._take_out(known)
        if was is not Queued.INS:
            self.message(Action.DEL_C, wire.pack_identity(known.state.identity), now)

    def forget(self, known: Known) -> None:
        """Say nothing of it any more."""
        self._take_out(known)

    def keep_together(self, states: Sequence[Known], now: float) -> None:
        """These full states are to come in one datagram: one state alone would be taken for an untranslated flow."""
        size = len(states) * self.form.state_bytes + SUBHEADER_BYTES
        if self._used + size > self._budget:
            self.flush(now)

    def _put(self, known: Known, queue: Queued, now: float) -> None:
        action = self._actions[queue]
        self._make_room(action, bool(self._states[action]), now)
        known.queued, known.updates = queue, 0
        self._states[action][id(known)] = known

    def _take_out(self, known: Known) -> None:
        if known.queued is not Queued.NOWHERE:
            action = self._actions[known.queued]
            del self._states[action][id(known)]
            self._used -= self.form.sizes[action] + (0 if self._states[action] else SUBHEADER_BYTES)
            known.queued = Queued.NOWHERE
            if not self._used:
                self.flush_at = math.inf

    # --- other messages ----------------------------------------------------------------------------------------

    def message(self, action: Action, payload: bytes, now: float) -> None:
        """INS_ACK, DEL_C, UPD_REQ, CLR or BUS; the same one goes once in a datagram."""
        if payload not in self._messages.get(action, ()):
            self._make_room(action, bool(self._messages.get(action)), now)
            self._messages.setdefault(action, {})[payload] = None

    def ask(self, identity: Identity, now: float) -> None:
        """UPD_REQ."""
        self.message(Action.UPD_REQ, wire.pack_identity(identity), now)

    # --- datagrams -------------------------------------------------------------------------------------------

    def _make_room(self, action: Action, has_subheader: bool, now: float) -> None:
        size = self.form.sizes[action]
        if self._used + size + (0 if has_subheader else SUBHEADER_BYTES) > self._budget and self._used:
            self.flush(now)
            has_subheader = False
        self._used += size + (0 if has_subheader else SUBHEADER_BYTES)
        self.flush_at = min(self.flush_at, now + FLUSH_S)

    def flush(self, now: float) -> None:
        """Complete the datagram, if there is anything in it."""
        self.is_urgent = False
        if not self._used:
            return
        messages: dict[Action, list[bytes]] = {action: list(found) for action, found in self._messages.items()}
        for action, waiting in self._states.items():
            pack = self.pack_change if action is Action.UPD_C else self.pack_whole
            packed = [pack(known, now) for known in waiting.values() if not known.is_gone]
            if packed:
                messages[action] = packed
            for known in waiting.values():
                known.queued, known.updates, known.ack_wanted = Queued.NOWHERE, 0, False
            waiting.clear()
        self._messages.clear()
        self._used, self.flush_at = 0, math.inf
        if messages:
            self.send("", messages, now)

    def pack_whole(self, known: Known, now: float) -> bytes:
        """A full state."""
        return state.pack(self.form, known.state, now, StateFlag.ACK if known.ack_wanted else 0)

    def pack_change(self, known: Known, _: float) -> bytes:
        """UPD_C."""
        own = known.state
        return wire.pack_compressed(Compressed(own.identity, own.src, own.dst, own.timeout))

    def send(self, destination: str, messages: Mapping[Action, list[bytes]], now: float) -> None:
        """A datagram of its own, at once. An empty destination is everybody."""
        if len(self._ready) >= READY_MAX:
            self._counters["onomem"] += 1
            return
        for action, found in messages.items():
            self._counters[f"oacts_{action.name.lower()}"] += len(found)
        self._ready.append((destination, wire.build(self.form, messages)))
        if not destination:
            self.sent_at = now

    def drop(self) -> None:
        """Say nothing of what waits."""
        for waiting in self._states.values():
            for known in waiting.values():
                known.queued = Queued.NOWHERE
            waiting.clear()
        self._messages.clear()
        self._used, self.flush_at, self.is_urgent = 0, math.inf, False

    def take(self) -> list[tuple[str, bytes]]:
        """What is complete, with its destinations."""
        taken = list(self._ready)
        self._ready.clear()
        return taken
