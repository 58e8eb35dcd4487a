"""Nodes that replicate on a simulated network: virtual time, and a dictionary instead of the kernel's table.

The network loses, delays, reorders and doubles datagrams, and can be cut between two nodes. A node does with
effects what the service does: it injects at once (or later, when its kernel is slow), feeds bulk updates as there
is room, and answers audits from a snapshot.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import defaultdict
from collections.abc import Callable

import numpy as np

from appliance_pfsync.flow import FLOW4, FLOW6, Flows, Op, key_hashes
from appliance_pfsync.merge import join
from appliance_pfsync.native import effects as does
from appliance_pfsync.native.effects import Effect, Hashes, gather
from appliance_pfsync.native.keys import Key, Keyring
from appliance_pfsync.native.peering import Peering, PeeringSettings

DUMP_PART = 200
FEED_S = 0.001
SECRET = bytes(range(32))
KEYRING = Keyring((Key("first", SECRET),))


def flow(number: int, op: Op = Op.INSERT, *, timeout: int = 60, mark: int = 0, six: bool = False) -> Flows:
    """One record of the flow with this number."""
    return flows_of([number], op, timeout=timeout, mark=mark, six=six)


def flows_of(numbers: list[int], op: Op = Op.INSERT, *, timeout: int = 60, mark: int = 0, six: bool = False) -> Flows:
    """Records of the flows with these numbers."""
    flows = np.zeros(len(numbers), FLOW6 if six else FLOW4)
    flows["op"], flows["proto"], flows["timeout"], flows["mark"] = op, 17, timeout, mark
    flows["orig_sport"] = np.array(numbers, np.int64) & 0xFFFF
    flows["orig_dport"] = np.array(numbers, np.int64) >> 16
    return flows


class Node:
    """One node: the protocol, its table, and the hands of its service."""

    def __init__(
        self,
        network: Network,
        name: str,
        number: int,
        settings: PeeringSettings,
        keyring: Keyring | None,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.network = network
        self.name = name
        self.address = f"10.0.0.{number}"
        self.settings = settings
        self._random_bytes = random_bytes
        self.keyring = keyring
        self.inject_s = 0.0
        """How long its kernel takes for a batch."""
        self.boot()

    def boot(self, *, empty: bool = True) -> None:
        """Start, or start again."""
        if empty:
            self.table: dict[int, np.void] = {}
        self.peering = Peering(self.settings, node=self.name, keyring=self.keyring, random_bytes=self._random_bytes)
        self.effects: list[tuple[float, Effect]] = []
        self.seen: dict[str, int] = defaultdict(int)
        self.alive = True
        self.snapshot: dict[int, np.void] = {}
        self._feeds: dict[str, list[Flows]] = {}
        self.network.wake(self)

    def power_off(self) -> None:
        self.alive = False

    # --- the traffic ---------------------------------------------------------------------------------------

    def change(self, flows: Flows, *, ack_wanted: bool = False) -> int:
        """Something happens in this node's kernel, and is told."""
        self._apply(flows, is_snapshot=False)
        ticket = self.peering.offer(flows, self.network.now, ack_wanted=ack_wanted)
        self.flush()
        return ticket

    def change_silently(self, flows: Flows) -> None:
        """Something happens, and the kernel drops the event."""
        self._apply(flows, is_snapshot=False)

    def _apply(self, flows: Flows, *, is_snapshot: bool) -> None:
        for one, hashed in zip(flows, key_hashes(flows).tolist(), strict=True):
            if one["op"] == Op.DELETE:
                self.table.pop(hashed, None)
            elif is_snapshot and hashed in self.table:
                self.table[hashed] = join(self.table[hashed], one)
            else:
                kept = one.copy()
                kept["op"] = Op.INSERT
                self.table[hashed] = kept

    # --- the driver ----------------------------------------------------------------------------------------

    def receive(self, datagram: bytes, source: str) -> None:
        if self.alive:
            self.do(self.peering.receive(datagram, source, self.network.now))
            self.flush()

    def tick(self) -> None:
        if self.alive and self.peering.deadline() <= self.network.now:
            self.do(self.peering.tick(self.network.now))
            self.flush()

    def flush(self) -> None:
        for destination, datagram in self.peering.outgoing():
            self.network.carry(self, destination, datagram)
        self.network.wake(self)

    def do(self, effects: list[Effect]) -> None:
        now = self.network.now
        for effect in gather(effects):
            self.seen[type(effect).__name__] += 1
            match effect:
                case does.FlowsReceived():
                    self._inject(effect)
                    continue
                case does.BulkWanted(peer):
                    self._feeds[peer] = self._dump()
                    self.network.after(FEED_S, lambda peer=peer: self._feed(peer, self._feeds[peer]))  # type: ignore[misc]
                case does.AuditWanted():
                    self.snapshot = dict(self.table)
                    hashes = np.sort(np.fromiter(self.table, np.uint64, len(self.table)))
                    self.do(self.peering.audit_snapshot(hashes, now))
                case does.AuditSend(peer, hashes):
                    for flows in self._pick(hashes, self.table, Op.INSERT):
                        self.peering.offer_repair(peer, flows, now)
                case does.AuditDelete(_, hashes):
                    for flows in self._pick(hashes, self.snapshot, Op.DELETE):
                        self._apply(flows, is_snapshot=False)
                case does.Cleared():
                    self.table.clear()
            self.effects.append((now, effect))

    def _inject(self, effect: does.FlowsReceived) -> None:
        self._apply(effect.flows, is_snapshot=effect.bulk)
        confirm = lambda: self.confirm(effect.peer, effect.token)  # noqa: E731
        if self.inject_s:
            self.network.after(self.inject_s, confirm)
        else:
            self.peering.injected(effect.peer, effect.token, self.network.now)

    def confirm(self, peer: str, token: int) -> None:
        self.peering.injected(peer, token, self.network.now)
        self.flush()

    def _pick(self, hashes: Hashes, table: dict[int, np.void], op: Op) -> list[Flows]:
        picked: dict[int, list[np.void]] = defaultdict(list)
        for hashed in hashes.tolist():
            if hashed in table:
                picked[table[hashed].dtype.itemsize].append(table[hashed])
        arrays = [np.array(rows, rows[0].dtype) for rows in picked.values()]
        for flows in arrays:
            flows["op"] = op
        return arrays

    # --- bulk ----------------------------------------------------------------------------------------------

    def _dump(self) -> list[Flows]:
        parts = []
        for size in (FLOW4.itemsize, FLOW6.itemsize):
            rows = [one for one in self.table.values() if one.dtype.itemsize == size]
            if rows:
                flows = np.array(rows, rows[0].dtype)
                parts += [flows[at : at + DUMP_PART] for at in range(0, len(flows), DUMP_PART)]
        return parts

    def _feed(self, peer: str, parts: list[Flows]) -> None:
        if self._feeds.get(peer) is not parts or not self.alive:
            return
        while parts:
            room = self.peering.room_for_bulk(peer)
            if room <= 0:
                if peer in self.peering.bulk_targets:
                    self.network.after(FEED_S, lambda: self._feed(peer, parts))
                return
            self.peering.offer_bulk(peer, parts[0][:room], self.network.now)
            self.flush()
            parts[0] = parts[0][room:]
            if not len(parts[0]):
                del parts[0]
        self.peering.end_bulk(peer, self.network.now)
        self.flush()

    # --- looking -------------------------------------------------------------------------------------------

    def content(self) -> dict[int, bytes]:
        return {hashed: one.tobytes() for hashed, one in self.table.items()}

    def all(self, kind: type) -> list[Effect]:
        return [effect for _, effect in self.effects if isinstance(effect, kind)]


class Network:
    """All nodes, and the clock."""

    def __init__(self, *, seed: int = 1, loss: float = 0.0, jitter_s: float = 0.0, doubling: float = 0.0) -> None:
        self.random = random.Random(seed)
        self.loss, self.jitter_s, self.doubling = loss, jitter_s, doubling
        self.latency_s = 0.0002
        self.now = 100.0
        self.nodes: list[Node] = []
        self.cuts: set[tuple[str, str]] = set()
        self.carried = 0
        self.recorded: list[tuple[str, str, bytes]] | None = None
        """Source, destination and datagram of everything, if wanted."""
        self._order = itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._wakes: dict[str, float] = {}

    def add(self, name: str, *, keyring: Keyring | None = KEYRING, **settings: object) -> Node:
        how = PeeringSettings(**{"audit_s": 10.0, **settings})  # type: ignore[arg-type]
        node = Node(self, name, len(self.nodes) + 1, how, keyring, self.random.randbytes)
        self.nodes.append(node)
        return node

    def cut(self, one: Node, other: Node) -> None:
        self.cuts |= {(one.name, other.name), (other.name, one.name)}

    def heal(self) -> None:
        self.cuts.clear()

    def run(self, seconds: float) -> None:
        end, events = self.now + seconds, self._events
        while events and events[0][0] <= end:
            self.now, _, action = heapq.heappop(events)
            action()
        self.now = end

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), action))

    def wake(self, node: Node) -> None:
        """The node is to tick at its deadline; the earliest one that is planned counts."""
        at = max(node.peering.deadline(), self.now)
        if at < self._wakes.get(node.name, np.inf):
            self._wakes[node.name] = at
            heapq.heappush(self._events, (at, next(self._order), lambda: self._woken(node, at)))

    def _woken(self, node: Node, at: float) -> None:
        if self._wakes.get(node.name) == at:
            del self._wakes[node.name]
            node.tick()
            if node.alive:
                self.wake(node)

    def carry(self, sender: Node, destination: str, datagram: bytes) -> None:
        if self.recorded is not None:
            self.recorded.append((sender.address, destination, datagram))
        for node in self.nodes:
            if node is sender or (destination and node.address != destination):
                continue
            if (sender.name, node.name) in self.cuts:
                continue
            for _ in range(1 + (self.random.random() < self.doubling)):
                if self.random.random() < self.loss:
                    continue
                self.carried += 1
                delay_s = self.latency_s + self.random.random() * self.jitter_s
                self.after(delay_s, lambda node=node: node.receive(datagram, sender.address))  # type: ignore[misc]
