"""The kernel's table as the replicator uses it: what peers say is in it at once, whatever was there before."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

import numpy as np
import pytest

from appliance.net.conntrack import OverrunError
from appliance.testing import LabNode, Netlab
from appliance_pfsync import kernel
from appliance_pfsync.flow import FLOW4, TCP, UDP, Flows, Op, Status, TcpState
from appliance_pfsync.kernel import STANDBY_EXTRA_S, KernelTable

pytestmark = pytest.mark.netns

CLIENT, SERVER, VIP = (int(ip_address(text)) for text in ("10.0.0.1", "192.0.2.9", "198.51.100.1"))


@pytest.fixture
def standby(netlab: Netlab) -> LabNode:
    node = netlab.node("standby")
    node.run("nft", "add table inet t")
    node.run("nft", "add chain inet t post { type nat hook postrouting priority srcnat; }")
    return node


@pytest.fixture
def table(standby: LabNode) -> Iterator[KernelTable]:
    made = standby.inside(KernelTable)
    yield made
    made.close()


def flows(count: int = 1, op: Op = Op.INSERT, *, proto: int = TCP, port: int = 5001, timeout: int = 300) -> Flows:
    """Established connections through SNAT; row n has the client's port 10000 + n."""
    made = np.zeros(count, FLOW4)
    number = np.arange(count)
    made["op"], made["proto"] = op, proto
    made["orig_src"], made["orig_dst"], made["orig_sport"], made["orig_dport"] = CLIENT, SERVER, 10000 + number, 443
    made["reply_src"], made["reply_dst"], made["reply_sport"], made["reply_dport"] = SERVER, VIP, 443, port + number
    made["status"] = Status.SEEN_REPLY | Status.ASSURED | Status.CONFIRMED
    made["tcp_state"] = TcpState.ESTABLISHED if proto == TCP else 0
    made["timeout"] = timeout
    return made


def listed(standby: LabNode, table: KernelTable) -> Flows:
    parts = standby.inside(lambda: [four for four, _ in table.dump()])
    found: Flows = np.sort(np.concatenate([np.zeros(0, FLOW4), *parts], dtype=FLOW4), order="orig_sport")
    return found


def test_new_states_are_in_the_kernel_with_their_translation_and_live_longer(
    standby: LabNode, table: KernelTable
) -> None:
    table.apply(flows(600), extra_s=STANDBY_EXTRA_S)
    found = listed(standby, table)
    assert table.counters.created == 600
    assert found["reply_dport"].tolist() == list(range(5001, 5601))
    assert (found["reply_dst"] == VIP).all()
    assert set(found["timeout"].tolist()) <= {304, 305}


def test_what_is_known_already_is_updated_whatever_it_is_called(standby: LabNode, table: KernelTable) -> None:
    table.apply(flows(), extra_s=0)
    closing = flows(timeout=20)
    closing["tcp_state"] = TcpState.TIME_WAIT
    table.apply(closing, extra_s=0)
    (found,) = listed(standby, table)
    assert found["tcp_state"] == TcpState.TIME_WAIT
    assert found["timeout"] <= 20
    assert (table.counters.created, table.counters.updated) == (1, 1)


def test_an_update_of_an_unknown_state_makes_it(standby: LabNode, table: KernelTable) -> None:
    table.apply(flows(3, Op.UPDATE), extra_s=0)
    assert len(listed(standby, table)) == 3


def test_an_own_copy_with_another_translation_gives_way(standby: LabNode, table: KernelTable) -> None:
    table.apply(flows(2, port=7001), extra_s=0)
    table.apply(flows(2, port=5001), extra_s=0)
    assert listed(standby, table)["reply_dport"].tolist() == [5001, 5002]
    assert (table.counters.clashed, table.counters.failed) == (2, 0)


def test_a_state_that_has_the_translated_port_gives_way(standby: LabNode, table: KernelTable) -> None:
    other = flows()
    other["orig_sport"] = 33333
    table.apply(other, extra_s=0)
    table.apply(flows(), extra_s=0)
    assert listed(standby, table)["orig_sport"].tolist() == [10000]
    assert (table.counters.clashed, table.counters.failed) == (1, 0)


def test_a_snapshot_never_takes_a_connection_back(standby: LabNode, table: KernelTable) -> None:
    ahead = flows(2)
    ahead["tcp_state"][0] = TcpState.LAST_ACK
    table.apply(ahead, extra_s=0)
    behind = flows(2)
    behind["tcp_state"] = [TcpState.ESTABLISHED, TcpState.CLOSE_WAIT]
    table.apply(behind, extra_s=0, is_snapshot=True)
    assert listed(standby, table)["tcp_state"].tolist() == [TcpState.LAST_ACK, TcpState.CLOSE_WAIT]


def test_deleted_states_are_gone_and_deleting_twice_does_no_harm(standby: LabNode, table: KernelTable) -> None:
    table.apply(flows(4), extra_s=0)
    for _ in range(2):
        table.apply(flows(2, Op.DELETE), extra_s=0)
    assert listed(standby, table)["orig_sport"].tolist() == [10002, 10003]
    assert (table.counters.deleted, table.counters.failed) == (2, 0)


def test_a_connection_that_ends_and_begins_anew_in_one_batch_exists(standby: LabNode, table: KernelTable) -> None:
    table.apply(flows(), extra_s=0)
    both = np.concatenate([flows(op=Op.DELETE), flows(port=6001)], dtype=FLOW4)
    table.apply(both, extra_s=0)
    assert listed(standby, table)["reply_dport"].tolist() == [6001]


def test_a_lookup_finds_what_exists(standby: LabNode, table: KernelTable) -> None:
    table.apply(flows(300, proto=UDP), extra_s=0)
    found = table.lookup(flows(310, proto=UDP))
    assert len(found) == 300
    assert found.dtype == FLOW4
    assert (found["op"] == Op.UPDATE).all()


def test_own_injections_are_not_heard_and_what_others_do_is(standby: LabNode, table: KernelTable) -> None:
    table.apply(flows(5), extra_s=0)
    other = standby.inside(KernelTable)
    try:
        other.apply(flows(2, Op.DELETE), extra_s=0)
    finally:
        other.close()
    batch = table.decoder.decode(table.events.drain(100))
    assert batch.flows4["op"].tolist() == [Op.DELETE, Op.DELETE]
    assert (batch.pids4 != 0).all()


def drain_all(table: KernelTable) -> None:
    while len(table.events.drain(1000)):
        pass


def test_lost_events_are_told_and_the_next_ones_arrive(standby: LabNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "EVENT_BYTES", 4096)
    deaf, other = standby.inside(KernelTable), standby.inside(KernelTable)
    try:
        other.apply(flows(2000), extra_s=0)
        with pytest.raises(OverrunError):
            drain_all(deaf)
        drain_all(deaf)
        other.apply(flows(1, Op.DELETE), extra_s=0)
        assert deaf.decoder.decode(deaf.events.drain(10)).flows4["op"].tolist() == [Op.DELETE]
    finally:
        deaf.close()
        other.close()
