"""What of the kernel's events is told, and as what, on a node that carries the traffic and on one that does not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from appliance_pfsync.exporter import select
from appliance_pfsync.filters import LocalAddresses
from appliance_pfsync.flow import UDP, Flows, Op, Status, TcpState
from tests.unit.plugins.pfsync.fakes import OWN, flows, flows6, joined, ports

LOCAL = LocalAddresses([OWN])
A_PROGRAM = 4711


def pids(events: Flows, *values: int) -> npt.NDArray[np.uint32]:
    return np.array(values or [0] * len(events), np.uint32)


def ops(told: Flows) -> list[int]:
    found: list[int] = told["op"].tolist()
    return found


def test_the_owner_tells_what_ended_as_the_end() -> None:
    events = flows(1, 2, op=Op.DELETE)
    told = select(events, pids(events), LOCAL, is_owner=True)
    assert ops(told) == [Op.DELETE, Op.DELETE]


def test_elsewhere_a_copy_that_ends_by_itself_is_a_question() -> None:
    events = joined(flows(1, op=Op.DELETE), flows(2), flows(3, op=Op.UPDATE, proto=UDP))
    told = select(events, pids(events), LOCAL, is_owner=False)
    assert (ports(told), ops(told)) == ([1, 2, 3], [Op.REQUEST, Op.INSERT, Op.UPDATE])
    assert ops(events)[0] == Op.DELETE, "the caller's array stays as it was"


def test_elsewhere_what_somebody_deleted_by_a_command_is_meant() -> None:
    events = flows6(1, 2, op=Op.DELETE)
    told = select(events, pids(events, 0, A_PROGRAM), LOCAL, is_owner=False)
    assert ops(told) == [Op.REQUEST, Op.DELETE]


@pytest.mark.parametrize("is_owner", [True, False])
def test_a_tcp_connection_is_new_to_the_peers_when_it_is_established(is_owner: bool) -> None:
    events = flows(1, 2, 3, op=Op.UPDATE)
    events["tcp_state"] = [TcpState.SYN_RECV, TcpState.ESTABLISHED, TcpState.FIN_WAIT]
    events["status"][0] = Status.CONFIRMED | Status.SEEN_REPLY
    told = select(events, pids(events), LOCAL, is_owner=is_owner)
    assert (ports(told), ops(told)) == ([2, 3], [Op.INSERT, Op.UPDATE])


def test_flows_of_the_node_itself_are_nobodys_business() -> None:
    events = joined(flows(1, client=OWN), flows(2), flows(3, server=OWN))
    for is_owner in (True, False):
        assert ports(select(events, pids(events), LOCAL, is_owner=is_owner)) == [2]


def test_a_flow_is_told_once_per_batch() -> None:
    events = joined(flows(1), flows(2), flows(1, op=Op.UPDATE))
    events["timeout"] = [10, 20, 30]
    told = select(events, pids(events), LOCAL, is_owner=True)
    assert (ports(told), ops(told), told["timeout"].tolist()) == ([2, 1], [Op.INSERT, Op.INSERT], [20, 30])


def test_no_events_are_no_records() -> None:
    assert len(select(flows(), pids(flows()), LOCAL, is_owner=False)) == 0
