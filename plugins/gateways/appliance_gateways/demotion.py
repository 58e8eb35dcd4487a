"""When a dead gateway makes this node a worse candidate. Pure.

A node is demoted for a gateway that is down only while somebody could do better: a live peer whose own demotion is
less than the weight. Once demoted it stays so until the gateway is up again, or until no peer is left alive.

Why that cannot flap: when the path is dead for both nodes, the first to notice is demoted; the other sees a peer that
is demoted by the weight already, so nobody could do better, and is not. If both notice in the same moment both are
demoted alike, which changes nothing in the election. In either case nothing is taken back before a gateway comes up,
and that is what the monitor's hysteresis and window make slow. Being demoted never changes what a node sees of its
own gateway, so there is no circle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping


def demotions(down: Mapping[str, int], held: Collection[str], peers: Mapping[str, int]) -> frozenset[str]:
    """Gateways for which this node should be demoted.

    Args:
        down: Weight of each gateway that is down, 0 for those that demote nobody.
        held: Those for which it is demoted now.
        peers: Demotion of each live peer, by its name.
    """
    if not peers:
        return frozenset()
    best = min(peers.values())
    return frozenset(name for name, weight in down.items() if weight > 0 and (name in held or best < weight))
