"""Random stories of losses, cuts, restarts and slow kernels: when all is well again, all nodes agree.

What changes carries a timeout that rises with time, so that the merge of two copies finds the newer one, as it
does where connections make progress. A restarted node does not repeat what it said in its former life to whoever
could not hear it then: an audit compares which flows there are, and their next change corrects the rest.
"""

from __future__ import annotations

import random

import pytest

from appliance_pfsync.flow import Op
from appliance_pfsync.native.memory import GENERATION_S
from appliance_pfsync.native.peering import TIDY_S
from tests.sim.pfsync.network import Network, Node, flows_of

WELL_AGAIN_S = 2 * GENERATION_S + TIDY_S + 60
"""A restarted node can not tell whether its copy is newer than a peer's word that the flow ended: the peer has to
forget that first."""


def trouble(network: Network, draw: random.Random) -> bool:
    """Something happens; whether a node was restarted."""
    one, other = draw.sample(network.nodes, 2)
    what = draw.choice(["cut", "heal", "restart", "bulk", "lost", "slow", "nothing"])
    match what:
        case "cut":
            network.cut(one, other)
        case "heal":
            network.heal()
        case "restart":
            one.boot(empty=draw.random() < 0.5)
        case "bulk":
            one.peering.request_bulk(network.now)
            one.flush()
        case "lost":
            one.peering.lost_events(network.now)
            one.flush()
        case "slow":
            one.inject_s = draw.choice([0.0, 0.002, 0.01])
    network.loss = draw.choice([0.0, 0.0, 0.05, 0.3])
    return what == "restart"


def traffic(network: Network, draw: random.Random) -> None:
    """Flow n belongs to node n modulo the number of nodes."""
    count = len(network.nodes)
    place = draw.randrange(count)
    node: Node = network.nodes[place]
    numbers = sorted({draw.randrange(200) * count + place for _ in range(draw.randrange(1, 30))})
    op = draw.choice([Op.INSERT, Op.UPDATE, Op.DELETE])
    node.change(flows_of(numbers, op, timeout=int(network.now * 100)))


@pytest.mark.parametrize("seed", range(8))
def test_whatever_happened_all_nodes_agree_in_the_end(seed: int) -> None:
    draw = random.Random(seed)
    network = Network(seed=seed, jitter_s=draw.choice([0.0, 0.003]), doubling=draw.choice([0.0, 0.1]))
    for name in "abcd"[: draw.choice([2, 3, 4])]:
        network.add(name)
    network.run(2)
    restarted = False
    for _ in range(12):
        restarted |= trouble(network, draw)
        for _ in range(draw.choice([20, 60, 150])):
            traffic(network, draw)
            network.run(0.02)
    network.heal()
    network.loss = 0.0
    network.run(WELL_AGAIN_S)
    first, *others = network.nodes
    assert first.table
    for node in others:
        assert node.table.keys() == first.table.keys(), f"{node.name} differs from {first.name}"
        if not restarted:
            assert node.content() == first.content(), f"{node.name} differs from {first.name}"
