"""Two protocols that pass their datagrams by hand, without loss and in no time."""

from __future__ import annotations

import random

import numpy as np

from appliance_pfsync.flow import FLOW4, FLOW6, Flows, Op
from appliance_pfsync.native.effects import Effect, FlowsReceived
from appliance_pfsync.native.keys import Key, Keyring
from appliance_pfsync.native.peering import Peering, PeeringSettings

KEYS = Keyring((Key("k", bytes(range(32))),))


def records(*numbers: int, op: Op = Op.INSERT, six: bool = False) -> Flows:
    """One record of each of these flows."""
    flows: Flows = np.zeros(len(numbers), FLOW6 if six else FLOW4)
    flows["orig_sport"], flows["op"], flows["proto"] = [n & 0xFFFF for n in numbers], op, 17
    flows["orig_dport"] = [n >> 16 for n in numbers]
    return flows


class Pair:
    """Nodes a and b."""

    def __init__(self, keyring: Keyring | None = KEYS) -> None:
        self.now = 100.0
        self.effects: dict[str, list[Effect]] = {"a": [], "b": []}
        draw = random.Random(3)
        self.a, self.b = (
            Peering(PeeringSettings(), node=name, keyring=keyring, random_bytes=draw.randbytes) for name in "ab"
        )
        for _ in range(20):
            self.now += 0.1
            self.tick()
        self.effects = {"a": [], "b": []}

    def tick(self) -> None:
        """Let time pass at both and deliver what they say, until they are silent."""
        for node in (self.a, self.b):
            self.take(node, node.tick(self.now))
        self.exchange()

    def exchange(self) -> None:
        while said := [
            (other, datagram, node.node)
            for node, other in ((self.a, self.b), (self.b, self.a))
            for _, datagram in node.outgoing()
        ]:
            for other, datagram, source in said:
                self.take(other, other.receive(datagram, source, self.now))

    def take(self, node: Peering, effects: list[Effect]) -> None:
        self.effects[node.node] += effects
        for effect in effects:
            if isinstance(effect, FlowsReceived):
                node.injected(effect.peer, effect.token, self.now)
        for peer in node.bulk_targets:
            node.end_bulk(peer, self.now)
