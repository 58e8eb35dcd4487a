"""Several nodes on a simulated network: what they know in the end is the same, whatever the network does.

The order in which things happen at one node decides about a flow; after a partition the last word does. Every
flow has one owner here, as with one MASTER, so the expected table is known.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance_pfsync.flow import Op
from appliance_pfsync.native import rounds as rounds_module
from appliance_pfsync.native import sending
from appliance_pfsync.native.effects import (
    AuditDone,
    BulkDone,
    BulkFailed,
    Cleared,
    FlowsInjected,
    FlowsLost,
    PeerDown,
    PeerRefused,
    PeerUp,
)
from appliance_pfsync.native.keys import Key, Keyring
from tests.sim.pfsync.network import Network, flow, flows_of

OLD, NEW = Key("old", bytes(range(32))), Key("new", bytes(range(32, 64)))


def cluster(count: int = 2, *, settled: bool = True, **how: Any) -> Any:
    """Nodes a, b, … that have met on a quiet network."""
    network = Network(**how)
    network.loss, loss = 0.0, network.loss
    for name in "abcdefghijklmnopq"[:count]:
        network.add(name)
    if settled:
        network.run(2)
    network.loss = loss
    return network


def bustle(network: Any, seconds: float, *, rate: int = 200, owners: int = 1, seed: int = 5) -> None:
    """Flows come, change and go; flow n belongs to node n modulo `owners`."""
    draw = random.Random(seed)
    for _ in range(int(seconds * 50)):
        for owner in range(owners):
            node = network.nodes[owner]
            numbers = sorted({draw.randrange(300) * owners + owner for _ in range(max(1, rate // 50 // owners))})
            op = draw.choice([Op.INSERT, Op.UPDATE, Op.UPDATE, Op.DELETE])
            node.change(flows_of(numbers, op, timeout=draw.randrange(1, 500), six=draw.random() < 0.2))
        network.run(0.02)


def assert_equal_tables(network: Any) -> None:
    first, *others = network.nodes
    for node in others:
        assert node.content() == first.content(), f"{node.name} differs from {first.name}"


def names(effects: list[Any]) -> list[str]:
    return [effect.peer for effect in effects]


# --- live ------------------------------------------------------------------------------------------------------


def test_what_happens_on_one_node_is_in_the_other_kernels_within_a_flight() -> None:
    network = cluster(3)
    a, b, c = network.nodes
    a.change(flow(1))
    network.run(network.latency_s * 1.5)
    assert b.content() == c.content() == a.content() != {}
    a.change(flow(1, Op.DELETE))
    network.run(network.latency_s * 1.5)
    assert b.table == c.table == {}


def test_a_ticket_is_reported_by_every_peer_when_its_kernel_has_the_records() -> None:
    network = cluster(3)
    a, _, c = network.nodes
    c.inject_s = 0.2
    before = a.change(flow(1))
    ticket = a.change(flow(2), ack_wanted=True)
    network.run(0.1)
    assert before < ticket
    assert a.all(FlowsInjected) == [FlowsInjected("b", ticket)]
    network.run(0.3)
    assert a.all(FlowsInjected) == [FlowsInjected("b", ticket), FlowsInjected("c", ticket)]


def test_the_lag_is_the_time_into_the_peer_s_kernel_and_not_that_of_a_lazy_acknowledgement() -> None:
    network = cluster(2)
    a, b = network.nodes
    a.change(flow(1))
    network.run(1)
    assert a.peering.peers[0].lag_s == pytest.approx(2 * network.latency_s, abs=2e-4)
    b.inject_s = 0.05
    a.change(flow(2))
    network.run(1)
    assert a.peering.peers[0].lag_s == pytest.approx(0.05 + 2 * network.latency_s, abs=2e-4)
    b.inject_s = 1e9
    a.change(flow(3))
    network.run(2)
    assert a.peering.peers[0].lag_s == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("seed", range(4))
def test_three_nodes_agree_on_a_network_that_loses_reorders_and_doubles(seed: int) -> None:
    network = cluster(3, seed=seed, loss=0.2, jitter_s=0.004, doubling=0.1)
    bustle(network, 4, owners=3, seed=seed)
    network.run(3)
    assert_equal_tables(network)
    assert network.nodes[0].table
    assert not network.nodes[0].all(FlowsLost)
    assert network.nodes[0].peering.counters["retransmitted"] > 0
    assert network.nodes[0].peering.counters["replayed"] > 0


def test_a_lost_last_datagram_is_repeated_without_waiting_for_the_next_hello() -> None:
    network = cluster(2)
    a, b = network.nodes
    network.loss = 1.0
    a.change(flow(1))
    network.loss = 0.0
    network.run(0.1)
    assert b.content() == a.content() != {}


def test_a_peer_that_falls_behind_the_window_loses_and_fetches_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "WINDOW_BYTES", 0)
    network = cluster(2)
    a, b = network.nodes
    network.cut(a, b)
    for start in range(0, 30_000, 1000):
        a.change(flows_of(list(range(start, start + 1000))))
    network.heal()
    network.run(5)
    assert names(b.all(FlowsLost)) == ["a"]
    assert names(b.all(BulkDone))[-1] == "a"
    assert len(b.table) == 30_000


# --- silence and partitions -------------------------------------------------------------------------------------


def test_a_short_interruption_goes_unnoticed() -> None:
    network = cluster(2)
    a, b = network.nodes
    network.cut(a, b)
    bustle(network, 2)
    network.heal()
    network.run(1.2)
    assert_equal_tables(network)
    assert not b.all(PeerDown)
    assert not b.all(FlowsLost)


def test_silence_is_reported_once_and_the_return_as_well() -> None:
    network = cluster(2)
    a, b = network.nodes
    b.power_off()
    network.run(10)
    assert names(a.all(PeerDown)) == ["b"]
    assert not a.peering.peers[0].alive
    b.boot()
    network.run(2)
    assert names(a.all(PeerUp)) == ["b", "b"]
    assert a.peering.peers[0].alive


def test_a_quiet_partition_costs_no_bulk_update() -> None:
    network = cluster(2)
    a, b = network.nodes
    a.change(flow(1))
    network.run(1)
    network.cut(a, b)
    network.run(10)
    network.heal()
    network.run(3)
    assert names(b.all(PeerUp)) == ["a", "a"]
    assert not b.all(FlowsLost)
    assert len(b.all(BulkDone)) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_partition_heals_and_what_ended_meanwhile_stays_ended(seed: int) -> None:
    network = cluster(3, seed=seed)
    bustle(network, 2, owners=2, seed=seed)
    network.run(5)
    assert_equal_tables(network)
    network.cut(network.nodes[0], network.nodes[1])
    network.cut(network.nodes[0], network.nodes[2])
    bustle(network, 8, owners=2, seed=seed + 10)
    assert network.nodes[0].content() != network.nodes[1].content()
    network.heal()
    network.run(45)
    owned = {key: one for node in network.nodes[:2] for key, one in node.table.items()}
    assert_equal_tables(network)
    assert owned


def test_a_restarted_node_asks_for_everything_and_takes_the_place_of_its_former_life() -> None:
    network = cluster(3)
    a, b, _ = network.nodes
    bustle(network, 2)
    b.boot()
    network.run(2)
    assert_equal_tables(network)
    assert sorted(names(b.all(BulkDone))) == ["a", "c"]
    assert [peer.name for peer in a.peering.peers] == ["b", "c"]


# --- bulk updates -----------------------------------------------------------------------------------------------


def test_a_late_node_gets_everything_from_everybody_and_reports_together() -> None:
    network = cluster(2)
    a = network.nodes[0]
    a.change(flows_of(list(range(5000))))
    a.change(flows_of(list(range(500)), six=True))
    network.run(1)
    c = network.add("c")
    network.run(3)
    assert c.content() == a.content()
    assert sorted((done.peer, done.count) for done in c.all(BulkDone)) == [("a", 5500), ("b", 5500)]
    assert len({at for at, effect in c.effects if isinstance(effect, BulkDone)}) == 1


def test_a_bulk_update_never_runs_far_ahead_of_a_slow_kernel() -> None:
    network = cluster(1)
    a = network.nodes[0]
    a.change(flows_of(list(range(20_000))))
    b = network.add("b")
    b.inject_s = 0.01
    deepest = 0
    for _ in range(2000):
        network.run(0.001)
        for peer in a.peering._circle.alive:
            deepest = max(deepest, peer.out.ahead)
    assert b.content() == a.content()
    assert 64 < deepest <= 160


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.2]), st.sampled_from([0.0, 0.003]))
def test_a_bulk_update_among_live_changes_ends_with_the_newest(seed: int, loss: float, jitter_s: float) -> None:
    network = cluster(1, seed=seed)
    a = network.nodes[0]
    draw = random.Random(seed)
    a.change(flows_of(list(range(600)), timeout=100))
    network.loss, network.jitter_s = loss, jitter_s
    b = network.add("b")
    b.inject_s = draw.choice([0.0, 0.002])
    for step in range(300):
        numbers = sorted({draw.randrange(700) for _ in range(5)})
        a.change(flows_of(numbers, draw.choice([Op.INSERT, Op.UPDATE, Op.DELETE]), timeout=draw.randrange(1, 200)))
        network.run(0.0005 if step % 3 else 0.01)
        if step == 150:
            b.peering.request_bulk(network.now)
            b.flush()
    network.run(6)
    assert b.content() == a.content()
    assert b.all(BulkDone)


def test_a_bulk_update_without_progress_fails_and_is_tried_again_when_the_peer_returns() -> None:
    network = cluster(2)
    a, b = network.nodes
    a.change(flows_of(list(range(20_000))))
    network.run(1)
    b.inject_s = 0.01
    b.peering.request_bulk(network.now)
    b.flush()
    network.run(0.02)
    network.cut(a, b)
    network.run(10)
    assert b.all(BulkFailed) == [BulkFailed("a", "it has fallen silent")]
    network.heal()
    network.run(5)
    assert len(b.all(BulkDone)) == 2


def test_a_peer_that_does_not_answer_is_given_up_after_the_timeout() -> None:
    network = Network()
    a = network.add("a", bulk_timeout_s=20.0)
    b = network.add("b", bulk_timeout_s=20.0)
    b.do = lambda effects: None  # its service hangs, its protocol lives
    network.run(30)
    assert a.all(BulkFailed) == [BulkFailed("b", "nothing has come for 20 s")]


def test_a_node_without_peers_learns_that_it_is_lonely_once() -> None:
    network = Network()
    a = network.add("a")
    network.run(4)
    assert not a.all(BulkFailed)
    network.run(30)
    assert [(failed.peer, failed.lonely) for failed in a.all(BulkFailed)] == [("", True)]


# --- clearing ---------------------------------------------------------------------------------------------------


def test_clearing_reaches_everybody_in_its_place_in_the_stream() -> None:
    network = cluster(3)
    a, b, c = network.nodes
    a.change(flows_of([1, 2, 3]))
    a.peering.offer(flow(4), network.now)
    a.table.clear()
    a.peering.clear(network.now)
    a.change(flow(5))
    network.run(1)
    assert b.all(Cleared) == [Cleared("a")]
    assert len(b.table) == len(c.table) == 1
    assert_equal_tables(network)


def test_clearing_in_the_middle_of_a_bulk_update_leaves_nothing_behind() -> None:
    network = cluster(1)
    a = network.nodes[0]
    a.change(flows_of(list(range(20_000))))
    b = network.add("b")
    b.inject_s = 0.02
    network.run(0.2)
    assert b.table
    assert not b.all(BulkDone)
    a.table.clear()
    a.peering.clear(network.now)
    a.change(flow(1))
    network.run(3)
    assert len(b.table) == 1
    assert_equal_tables(network)
    assert names(b.all(BulkDone)) == ["a"]


# --- audits -----------------------------------------------------------------------------------------------------


def test_a_lost_event_is_found_and_repaired() -> None:
    network = cluster(3)
    a, b, c = network.nodes
    a.change(flows_of(list(range(1000))))
    network.run(1)
    a.change_silently(flows_of(list(range(1000, 1100))))
    a.peering.lost_events(network.now)
    a.flush()
    network.run(15)
    assert len(b.table) == len(c.table) == 1100
    assert sum(done.sent for done in a.all(AuditDone)) == 200
    assert len(b.all(BulkDone)) == 2
    assert b.peering.peers[0].losses == 1


def test_a_copy_that_outlived_its_flow_is_deleted_by_the_audit() -> None:
    network = cluster(2)
    a, b = network.nodes
    a.change(flows_of(list(range(100))))
    network.run(30)
    a.change(flows_of(list(range(50)), Op.DELETE))
    network.run(1)
    b.change_silently(flows_of(list(range(40))))  # a program without sense put them there
    network.run(40)
    assert_equal_tables(network)
    assert len(a.table) == 50
    assert sum(done.deleted for done in b.all(AuditDone)) == 40


def test_a_flow_that_began_again_is_sent_and_not_deleted() -> None:
    network = cluster(2)
    a, b = network.nodes
    a.change(flow(1))
    network.run(5)
    a.change(flow(1, Op.DELETE))
    network.run(1)
    a.change(flow(1))
    network.run(1)
    assert b.table
    b.table.clear()
    network.run(40)
    assert a.table
    assert_equal_tables(network)


def test_what_is_under_way_is_no_difference() -> None:
    network = cluster(2, jitter_s=0.02)
    for seed in range(6):
        bustle(network, 5, rate=1000, seed=seed)
    audits = [done for node in network.nodes for done in node.all(AuditDone)]
    assert len(audits) >= 4
    assert not any(done.sent or done.wanted or done.deleted for done in audits)


def test_a_large_difference_is_repaired_in_bounded_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds_module, "ROUND_MAX", 20_000)
    network = cluster(2)
    a, b = network.nodes
    a.change_silently(flows_of(list(range(50_000))))
    network.run(100)
    assert len(b.table) == 50_000
    rounds = [done for done in a.all(AuditDone) if done.sent]
    assert len(rounds) >= 3
    assert all(done.sent <= 20_000 for done in rounds)
    assert [done.complete for done in rounds[:2]] == [False, False]
    assert a.all(AuditDone)[-1].complete


def test_whoever_is_asked_for_an_audit_need_not_be_the_one_who_begins_it() -> None:
    network = Network()
    for name in "ab":
        network.add(name, audit_s=0.0)
    b = network.nodes[1]
    network.run(20)
    assert not b.all(AuditDone)
    b.peering.request_audit(network.now)
    b.flush()
    network.run(20)
    assert b.all(AuditDone)[-1].complete


# --- keys, versions, names --------------------------------------------------------------------------------------


def test_keys_are_changed_node_by_node_without_a_gap() -> None:
    network = Network()
    for name in "abc":
        network.add(name, keyring=Keyring((OLD,)))
    network.run(2)
    for keys in ((OLD, NEW), (NEW, OLD), (NEW,)):
        for node in network.nodes:
            bustle(network, 0.6, owners=3)
            node.keyring = Keyring(keys)
            node.peering.set_keyring(node.keyring, network.now)
            node.flush()
    bustle(network, 1, owners=3)
    network.run(2)
    assert_equal_tables(network)
    for node in network.nodes:
        assert not node.all(FlowsLost)
        assert not node.all(PeerDown)
        assert len(node.all(PeerUp)) == 2
        assert not node.peering.counters.get("forged")


@pytest.mark.parametrize(
    ("mine", "theirs", "why"),
    [
        (Keyring((OLD,)), Keyring((NEW,)), "it has none of the secrets of this node"),
        (Keyring((OLD,)), None, "it has no key file, and this node has secrets"),
        (None, Keyring((NEW,)), "it has secrets, and this node has no key file"),
    ],
)
def test_nodes_without_a_common_secret_refuse_each_other(
    mine: Keyring | None, theirs: Keyring | None, why: str
) -> None:
    network = Network()
    a = network.add("a", keyring=mine)
    b = network.add("b", keyring=theirs)
    network.run(60)
    assert a.all(PeerRefused) == [PeerRefused("b", b.address, why)]
    assert not a.peering.peers
    assert [failed.lonely for failed in a.all(BulkFailed)] == [True]
    network.run(280)
    assert len(a.all(PeerRefused)) == 2


def test_nodes_without_secrets_replicate_plainly() -> None:
    network = Network()
    a, b = network.add("a", keyring=None), network.add("b", keyring=None)
    network.run(1)
    a.change(flows_of(list(range(100))))
    network.run(1)
    assert b.content() == a.content() != {}
    assert not a.peering.peers[0].secured


def test_the_highest_common_version_is_spoken() -> None:
    network = Network()
    a, b = network.add("a", versions=(1, 3)), network.add("b", versions=(2, 5))
    network.run(2)
    a.change(flow(1))
    network.run(1)
    assert [node.peering.peers[0].version for node in (a, b)] == [3, 3]
    assert b.content() == a.content() != {}


def test_without_a_common_version_both_ranges_are_named() -> None:
    network = Network()
    a, b = network.add("a", versions=(1, 1)), network.add("b", versions=(2, 3))
    network.run(5)
    assert [refused.why for refused in a.all(PeerRefused)] == ["it speaks versions 2 to 3 of the protocol, this node 1"]
    assert [refused.why for refused in b.all(PeerRefused)] == ["it speaks versions 1 of the protocol, this node 2 to 3"]


def test_a_node_with_the_name_of_another_is_refused() -> None:
    network = cluster(2)
    a, b = network.nodes
    network.add("b")
    network.run(10)
    assert "there are two nodes of this name" in [refused.why for refused in a.all(PeerRefused)]
    assert "another node has the name of this one" in [refused.why for refused in b.all(PeerRefused)]
    assert a.peering.peers[0].alive
    assert names(a.all(PeerUp)) == ["b"]


def test_there_is_room_for_fifteen_peers() -> None:
    network = cluster(17)
    a = network.nodes[0]
    assert sum(peer.alive for peer in a.peering.peers) == 15
    assert [refused.why for refused in a.all(PeerRefused)] == ["this node has 15 peers already"]
    a.change(flow(1))
    network.run(1)
    assert sum(bool(node.table) for node in network.nodes) == 16
