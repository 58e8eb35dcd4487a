"""Which events of the kernel are told to the peers, and as what. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from appliance_pfsync.filters import LocalAddresses, coalesce, exportable
from appliance_pfsync.flow import TCP, Flows, Op, TcpState


def select(flows: Flows, pids: npt.NDArray[np.uint32], local: LocalAddresses, *, is_owner: bool) -> Flows:
    """The records to send, of one batch of events of one family.

    On a node that does not carry the traffic (`is_owner` is false) a copy that ends by itself says nothing about
    the flow: its packets pass elsewhere. The peers are asked for it instead. Somebody who deleted it by a command
    (the event then carries that program's port id) meant it.

    Args:
        flows: Events in the order of the kernel.
        pids: The netlink port id of each event; 0 when the kernel acted by itself.
        local: Addresses at which flows are the node's own.
        is_owner: This node is MASTER, or nobody on it decides who is.
    """
    if not is_owner:
        expired = (flows["op"] == Op.DELETE) & (pids == 0)
        if expired.any():
            flows = flows.copy()
            flows["op"][expired] = Op.REQUEST
    chosen = flows[exportable(flows, local)]
    # The first that peers hear of a TCP connection is its change to ESTABLISHED: creating it is worth the first try.
    is_born = (chosen["proto"] == TCP) & (chosen["op"] == Op.UPDATE) & (chosen["tcp_state"] == TcpState.ESTABLISHED)
    chosen["op"][is_born] = Op.INSERT
    return coalesce(chosen)
