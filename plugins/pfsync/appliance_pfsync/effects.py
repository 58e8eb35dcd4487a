"""Does what the protocol asks for, and remembers it for `show pfsync`."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import trio

from appliance.events import Health, Status
from appliance_pfsync.flow import Flows, Op
from appliance_pfsync.kernel import STANDBY_EXTRA_S
from appliance_pfsync.native import effects as does
from appliance_pfsync.native.effects import Effect, gather

if TYPE_CHECKING:
    from appliance_pfsync.replicator import Replicator

FULL_QUIET_S = 60.0
"""The table counts as full until nothing has been refused for so long."""
RESYNC_HINT = "When the peer is well: 'appliance states resync'."


STRANGER_S = 700.0
"""A refused peer that is no longer refused has gone: twice the time after which a refusal is said again, and more."""


class Actor:
    """The hands of the protocol."""

    def __init__(self, replicator: Replicator) -> None:
        self._of = replicator
        self.counters: Counter[str] = Counter()
        self.bulk = "none"
        self.bulk_text = ""
        self.audits = {"rounds": 0, "sent": 0, "wanted": 0, "deleted": 0}
        self.last_audit: float | None = None
        self._status: Status | None = None
        self._refused = 0
        self._refused_at = 0.0
        self._strangers: dict[str, float] = {}
        """Peers that were refused, and when that was said last."""

    def act(self, effects: list[Effect]) -> None:
        """Do all of it, in order; neighbouring states of one peer go into the kernel together."""
        for effect in gather(effects):
            match effect:
                case does.FlowsReceived():
                    self._take(effect)
                case does.PeerUp() | does.PeerDown() | does.PeerRefused() | does.FlowsLost():
                    self._peer(effect)
                case does.BulkWanted() | does.BulkDone() | does.BulkFailed():
                    self._bulk(effect)
                case does.AuditWanted() | does.AuditSend() | does.AuditDelete() | does.AuditDone():
                    self._audit(effect)
                case does.Cleared(peer):
                    self._of.ctx.log.info("pfsync_cleared", peer=peer)
                    self._of.start_removal()
                case does.FlowsInjected():
                    self._of.release(effect.ticket)

    def _take(self, effect: does.FlowsReceived) -> None:
        now, flows = trio.current_time(), effect.flows
        asked = flows["op"] == Op.REQUEST
        if asked.any():
            self._answer(flows[asked], now)
            flows = flows[~asked]
        extra_s = 0 if self._of.is_master else STANDBY_EXTRA_S
        self._of.table.apply(flows, extra_s=extra_s, is_snapshot=effect.bulk)
        self._of.protocol.injected(effect.peer, effect.token, now)

    def _answer(self, asked: Flows, now: float) -> None:
        """A peer's copies expired. What is alive here is sent anew, unless this is a copy of the same age."""
        self.counters["requests"] += len(asked)
        if self._of.is_owner:
            alive = self._of.table.lookup(asked)
            if len(alive):
                self._of.protocol.offer(alive, now)

    def _peer(self, effect: does.PeerUp | does.PeerDown | does.PeerRefused | does.FlowsLost) -> None:
        alarms, log = self._of.alarms, self._of.ctx.log
        match effect:
            case does.PeerUp(peer, address):
                log.info("pfsync_peer_up", peer=peer, address=address)
                alarms.clear(f"down/{peer}")
                alarms.clear(f"refused/{peer}")
            case does.PeerDown(peer, address):
                fix = "See 'appliance show pfsync' there, and the cable of the sync interface."
                alarms.set(f"down/{peer}", f"pfsync hears nothing of {peer} ({address})", fix)
            case does.PeerRefused(peer, address, why):
                fix = "Give both nodes the same software version and the same key file, or pair them with each other."
                alarms.set(f"refused/{peer}", f"pfsync does not replicate with {peer} ({address}): {why}", fix)
                self._strangers[peer] = trio.current_time()
            case does.FlowsLost(peer, why):
                log.warning("pfsync_lost", peer=peer, why=why)
                self.counters["losses"] += 1
                self._of.fell_behind()

    def _bulk(self, effect: does.BulkWanted | does.BulkDone | does.BulkFailed) -> None:
        match effect:
            case does.BulkWanted(peer):
                self._of.start_feed(peer)
            case does.BulkDone(peer, count, took_s):
                self.bulk, self.bulk_text = "done", f"{count} states of {peer} in {took_s:.2f} s"
                self._of.ctx.log.info("pfsync_bulk_done", peer=peer, states=count, took_s=round(took_s, 3))
                self._of.alarms.clear("bulk")
                self._of.caught_up()
            case does.BulkFailed(peer, why, lonely):
                self.bulk, self.bulk_text = ("none", why) if lonely else ("failed", why)
                if not lonely:
                    what = f"the bulk update from {peer} failed: {why}"
                    self._of.alarms.set("bulk", what, RESYNC_HINT)
                self._of.caught_up()

    def _audit(self, effect: does.AuditWanted | does.AuditSend | does.AuditDelete | does.AuditDone) -> None:
        snapshot = self._of.snapshot
        match effect:
            case does.AuditWanted():
                self._of.start_audit()
            case does.AuditSend(peer, hashes) if snapshot is not None:
                for flows in snapshot.pick(hashes, Op.INSERT):
                    if len(flows):
                        alive = self._of.table.lookup(flows)
                        alive["op"] = Op.INSERT
                        self._of.protocol.offer_repair(peer, alive, trio.current_time())
            case does.AuditDelete(_, hashes) if snapshot is not None:
                for flows in snapshot.pick(hashes, Op.DELETE):
                    self._of.table.apply(flows, extra_s=0)
            case does.AuditDone():
                self.audits["rounds"] += 1
                for name in ("sent", "wanted", "deleted"):
                    self.audits[name] += getattr(effect, name)
                self.last_audit = time.time()

    def report_health(self) -> None:
        """One line for `show services` and `show ha`, published when it changes."""
        of = self._of
        self._look_at_table()
        self._forget_strangers()
        worst = of.alarms.worst
        alive = [peer.name for peer in of.protocol.peers if peer.alive]
        summary = worst.what if worst else f"replicates with {', '.join(alive)}" if alive else "no peer is heard"
        status = Status(health=worst.health if worst else Health.OK, summary=summary)
        if status != self._status:
            self._status = status
            of.ctx.publish(status)

    def _forget_strangers(self) -> None:
        """Whoever is still there is refused again, every five minutes."""
        long_ago = trio.current_time() - STRANGER_S
        for peer in [name for name, at in self._strangers.items() if at < long_ago]:
            del self._strangers[peer]
            self._of.alarms.clear(f"refused/{peer}")

    def _look_at_table(self) -> None:
        now, refused = trio.current_time(), self._of.table.counters.table_full
        if refused != self._refused:
            self._refused, self._refused_at = refused, now
            fix = "Raise [pfsync] max_states on every node."
            self._of.alarms.set("table-full", "the kernel's state table is full: states of peers are refused", fix)
        elif now - self._refused_at >= FULL_QUIET_S:
            self._of.alarms.clear("table-full")
