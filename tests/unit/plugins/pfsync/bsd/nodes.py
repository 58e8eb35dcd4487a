"""Nodes that speak BSD's pfsync, with a paper kernel, on a link in virtual time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from appliance_pfsync.bsd import records
from appliance_pfsync.bsd.peering import BsdPeering
from appliance_pfsync.bsd.records import Record
from appliance_pfsync.flow import FLOW4, FLOW6, Flows, Op
from appliance_pfsync.native.effects import BulkWanted, Effect, FlowsReceived
from appliance_pfsync.settings import PfsyncSettings, Version

STEP_S = 0.0005


def settings(version: Version = "1400", **values: object) -> PfsyncSettings:
    fixed = {"node": "n", "interface": "sync", "device": "sync0", "family": 4, "version": version}
    return PfsyncSettings(**fixed | values)  # type: ignore[arg-type]


def arrays(flows: Iterable[Record]) -> list[Flows]:
    """One array a family."""
    found = list(flows)
    split = [(family, [flow for flow in found if flow.family == family]) for family in (4, 6)]
    return [records.array(each, family) for family, each in split if each]


@dataclass
class Node:
    """One node. Its kernel applies what comes and reports what is done to it."""

    name: str
    protocol: BsdPeering
    is_owner: bool = True
    table: dict[bytes, Record] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    sent: list[tuple[str, bytes]] = field(default_factory=list)
    feeding: dict[str, list[Record]] = field(default_factory=dict)

    def happens(self, now: float, *flows: Record, ack_wanted: bool = False) -> int:
        """Its kernel reports this."""
        ticket = 0
        for flow in flows:
            if flow.op == Op.DELETE:
                self.table.pop(flow.key, None)
            elif flow.op != Op.REQUEST:
                self.table[flow.key] = flow._replace(op=Op.INSERT)
        for array in arrays(flows):
            ticket = self.protocol.offer(array, now, ack_wanted=ack_wanted)
        return ticket

    def take(self, effects: list[Effect], now: float) -> None:
        self.effects += effects
        for effect in effects:
            if isinstance(effect, FlowsReceived):
                for record in records.each(effect.flows):
                    self._apply(record, effect.bulk, now)
                self.protocol.injected(effect.peer, effect.token, now)
            elif isinstance(effect, BulkWanted):
                self.feeding[effect.peer] = list(self.table.values())

    def _apply(self, record: Record, is_bulk: bool, now: float) -> None:
        if record.op == Op.DELETE:
            self.table.pop(record.key, None)
        elif record.op == Op.REQUEST:
            if self.is_owner and record.key in self.table:
                self.protocol.offer(records.array([self.table[record.key]._replace(op=Op.UPDATE)], record.family), now)
        elif not is_bulk or record.key not in self.table:
            self.table[record.key] = record._replace(op=Op.INSERT)

    def feed(self, now: float) -> None:
        for peer, left in list(self.feeding.items()):
            while left and (room := self.protocol.room_for_bulk(peer)):
                part = left[:room]
                del left[:room]
                for array in arrays(part):
                    self.protocol.offer_bulk(peer, array, now)
            if not left:
                self.protocol.end_bulk(peer, now)
                del self.feeding[peer]

    def of(self, kind: type[Effect]) -> list[Effect]:
        return [effect for effect in self.effects if isinstance(effect, kind)]


class Link:
    """All nodes hear what one sends, unless it is lost."""

    def __init__(self, *versions: Version, **values: object) -> None:
        self.now = 1000.0
        self.loses: Callable[[str, bytes], bool] = lambda _source, _datagram: False
        self.nodes = [self.node(index, version, **values) for index, version in enumerate(versions)]

    def node(self, index: int, version: Version, **values: object) -> Node:
        seed = np.random.default_rng(index + 1)
        return Node(f"192.0.2.{index + 1}", BsdPeering(settings(version, **values), random_bytes=seed.bytes))

    def run(self, seconds: float) -> None:
        """Virtual time passes; only moments at which something happens are looked at."""
        end = self.now + seconds
        while True:
            for node in self.nodes:
                if self.now >= node.protocol.deadline():
                    node.take(node.protocol.tick(self.now), self.now)
                node.feed(self.now)
            moved = self._deliver()
            wakes = min(node.protocol.deadline() for node in self.nodes)
            if not moved:
                if wakes > end:
                    break
                self.now = max(self.now + STEP_S, wakes)
        self.now = end

    def _deliver(self) -> bool:
        moved = False
        for node in self.nodes:
            for destination, datagram in node.protocol.outgoing():
                node.sent.append((destination, datagram))
                moved = True
                for other in self.nodes:
                    if other is not node and destination in ("", other.name) and not self.loses(node.name, datagram):
                        other.take(other.protocol.receive(datagram, node.name, self.now), self.now)
        return moved


EMPTY4, EMPTY6 = np.zeros(0, FLOW4), np.zeros(0, FLOW6)
