"""Effects: neighbours are joined so that the kernel gets large batches."""

from __future__ import annotations

import numpy as np

from appliance_pfsync.flow import FLOW4, FLOW6, Flows
from appliance_pfsync.native.effects import FlowsReceived, PeerDown, gather


def received(peer: str, marks: list[int], token: int, *, bulk: bool = False, six: bool = False) -> FlowsReceived:
    flows: Flows = np.zeros(len(marks), FLOW6 if six else FLOW4)
    flows["mark"] = marks
    return FlowsReceived(peer, flows, bulk, token)


def test_neighbours_of_one_peer_kind_and_family_become_one_with_the_last_token() -> None:
    joined = gather([received("b", [1, 2], 7), received("b", [3], 8)])
    assert len(joined) == 1
    assert isinstance(joined[0], FlowsReceived)
    assert joined[0].flows["mark"].tolist() == [1, 2, 3]
    assert joined[0].token == 8


def test_what_differs_stays_apart_and_the_order_is_kept() -> None:
    effects = [
        received("b", [1], 1),
        received("c", [2], 1),
        received("c", [3], 2, bulk=True),
        received("c", [4], 3, bulk=True, six=True),
        PeerDown("b", "10.0.0.2"),
        received("c", [5], 4, bulk=True, six=True),
    ]
    assert gather(effects) == effects
    assert gather([]) == []
