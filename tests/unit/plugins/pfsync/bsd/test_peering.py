"""Nodes that speak BSD's pfsync with each other: virtual time, a paper kernel, and any bytes."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance_pfsync.bsd import records, wire
from appliance_pfsync.bsd.actions import FORMS, Action
from appliance_pfsync.bsd.peering import BsdPeering
from appliance_pfsync.dialect import Dialect
from appliance_pfsync.flow import Op, TcpState
from appliance_pfsync.native.effects import (
    AuditWanted,
    BulkDone,
    BulkFailed,
    BulkWanted,
    Cleared,
    FlowsInjected,
    FlowsReceived,
    PeerDown,
    PeerRefused,
    PeerUp,
)
from appliance_pfsync.settings import BSD_VERSIONS, Version
from tests.unit.plugins.pfsync.bsd import nodes, samples
from tests.unit.plugins.pfsync.bsd.flows import dnat, flow, ping, snat, udp
from tests.unit.plugins.pfsync.bsd.nodes import EMPTY4, Link, Node

SIX = flow(("2001:db8::1", 1000, "2001:db8:2::2", 443))
EVERYTHING = [snat(), dnat(), udp(), ping(), SIX]
PEER = "192.0.2.9"


def actions_in(node: Node) -> list[Action]:
    """Of all datagrams that it has sent."""
    found = []
    for _, datagram in node.sent:
        form = node.protocol.form
        found += [section.action for section in wire.sections(form, datagram, node.protocol._counters)]
    return found


def alone(version: Version = "1400", **values: object) -> BsdPeering:
    peering = BsdPeering(nodes.settings(version, **values), random_bytes=random.Random(1).randbytes)
    peering.tick(0.0)
    peering.outgoing()
    return peering


def test_it_is_a_dialect() -> None:
    dialect: Dialect = alone()
    dialect.request_audit(1.0)
    dialect.offer_repair(PEER, EMPTY4, 1.0)
    dialect.set_keyring(None, 1.0)
    assert dialect.audit_snapshot(np.zeros(0, np.uint64), 1.0) == []
    assert dialect.peers == ()
    assert dialect.counters["badver"] == 0


@pytest.mark.parametrize("pair", [*zip(BSD_VERSIONS, BSD_VERSIONS, strict=True), ("1301", "1500"), ("1400", "1301")])
def test_flows_live_change_and_end_on_both_nodes(pair: tuple[Version, Version]) -> None:
    link = Link(*pair)
    one, two = link.nodes
    link.run(1.0)
    one.happens(link.now, snat())
    link.run(0.9)
    assert two.table == {}, "new states wait for company"
    link.run(0.2)
    assert two.table == {snat().key: snat(timeout=599)}
    one.happens(link.now, *EVERYTHING)
    link.run(1.1)
    for each in EVERYTHING:
        copy = two.table.pop(each.key)
        assert copy._replace(timeout=0) == each._replace(timeout=0)
        assert each.timeout - copy.timeout in (0, 1) or copy.timeout == 432000, "UPD_C: the whole timeout"
    assert two.table == {}

    closing = snat(tcp_state=TcpState.CLOSE_WAIT, timeout=60, tcp_flags_orig=12, op=Op.UPDATE)
    one.happens(link.now, closing)
    link.run(1.1)
    assert two.table[closing.key] == closing._replace(op=Op.INSERT, timeout=60), "UPD_C resets to the whole timeout"

    one.happens(link.now, *(each._replace(op=Op.DELETE) for each in EVERYTHING))
    link.run(1.1)
    assert two.table == {}
    assert len(two.protocol._identities) == len(one.protocol._identities) == 0


@pytest.mark.parametrize("version", BSD_VERSIONS)
def test_a_node_that_starts_gets_everything(version: Version) -> None:
    link = Link(version)
    [old] = link.nodes
    flows = [snat(client_port=port, outer_port=port) for port in range(1, 120)] + EVERYTHING
    link.run(1.0)
    old.happens(link.now, *flows)
    link.run(5.0)
    new = link.node(1, version)
    link.nodes.append(new)
    link.run(4.0)
    assert {each.key for each in new.table.values()} == {each.key for each in flows}
    [done] = new.of(BulkDone)
    assert isinstance(done, BulkDone)
    assert done.count == 2 * len(flows)
    assert done.peer == old.name
    assert all(effect.bulk for effect in new.effects if isinstance(effect, FlowsReceived))
    assert old.protocol.bulk_targets == ()
    assert new.protocol.peers[0].last_bulk_count == 2 * len(flows)


def test_names_are_kept_when_the_other_node_takes_over() -> None:
    link = Link("1400", "1400")
    one, two = link.nodes
    link.run(1.0)
    one.happens(link.now, snat())
    link.run(1.5)
    two.happens(link.now, snat(tcp_state=TcpState.FIN_WAIT, timeout=120, op=Op.UPDATE))
    link.run(1.5)
    assert one.table[snat().key].tcp_state == TcpState.FIN_WAIT
    two.happens(link.now, snat(op=Op.DELETE))
    link.run(1.5)
    assert one.table == {}
    assert actions_in(two).count(Action.INS) == 0
    assert actions_in(two).count(Action.DEL_C) == 1


def test_both_nodes_may_see_a_new_flow() -> None:
    link = Link("1400", "1400")
    one, two = link.nodes
    link.run(1.0)
    one.happens(link.now, snat())
    two.happens(link.now, snat())
    link.run(2.5)
    assert one.table.keys() == two.table.keys() == {snat().key}
    one.happens(link.now, snat(op=Op.DELETE))
    two.happens(link.now, snat(op=Op.DELETE))
    link.run(2.5)
    assert one.table == two.table == {}


def test_a_lost_insert_is_made_good_by_the_next_change() -> None:
    link = Link("1400", "1400")
    one, two = link.nodes
    link.run(1.0)
    link.loses = lambda source, datagram: source == one.name
    one.happens(link.now, snat(), SIX)
    link.run(1.5)
    link.loses = lambda source, datagram: False
    one.happens(link.now, snat(op=Op.UPDATE))
    link.run(1.2)
    assert two.table[snat().key].timeout == 600 - 1
    assert SIX.key not in two.table
    assert Action.UPD_REQ in actions_in(two)


def test_a_copy_that_expired_is_asked_for() -> None:
    link = Link("1400", "1400")
    one, two = link.nodes
    link.run(1.0)
    one.happens(link.now, udp(timeout=30))
    link.run(1.5)
    link.run(40.0)  # packets renewed it in the first kernel, which tells nobody
    del two.table[udp().key]
    two.happens(link.now, udp(op=Op.REQUEST))
    link.run(0.1)
    assert two.table[udp().key].timeout == 30
    one.table.clear()
    link.run(60.0)
    two.happens(link.now, udp(op=Op.REQUEST))
    link.run(2.0)
    assert one.table == {}


def test_a_flush_ends_the_states_of_everybody() -> None:
    link = Link("1400", "1400")
    one, two = link.nodes
    link.run(1.0)
    one.happens(link.now, snat(), SIX)
    two.happens(link.now, udp())
    link.run(1.5)
    assert one.table.keys() == two.table.keys()
    one.protocol.clear(link.now)
    one.table.clear()
    link.run(0.1)
    assert two.table == {}
    assert two.of(Cleared) == []


def test_clear_never_touches_other_creators() -> None:
    link = Link("1400", "1400")
    one, two = link.nodes
    link.run(1.0)
    one.happens(link.now, snat())
    two.happens(link.now, udp())
    link.run(1.5)
    for creator, left in ((7, {snat().key, udp().key}), (one.protocol.creator, {udp().key})):
        datagram = wire.build(two.protocol.form, {Action.CLR: [wire.pack_clear(creator)]})
        two.take(two.protocol.receive(datagram, one.name, link.now), link.now)
        assert two.table.keys() == left
    other = wire.build(two.protocol.form, {Action.CLR: [wire.pack_clear(two.protocol.creator, "em0")]})
    two.take(two.protocol.receive(other, one.name, link.now), link.now)
    assert two.table.keys() == {udp().key}, "none of its states is bound to em0"


def test_whoever_holds_a_packet_back_is_told_at_once() -> None:
    link = Link("1400", "1400")
    one, two = link.nodes
    link.run(1.0)
    ticket = one.happens(link.now, snat(), ack_wanted=True)
    link.run(0.01)
    assert one.of(FlowsInjected) == [FlowsInjected(two.name, ticket)]
    assert snat().key in two.table
    assert not two.protocol._identities.find_flow(snat().key).states[0].state.flags & 0x10  # type: ignore[union-attr]


def test_the_other_half_of_a_flow_replaces_what_was_injected() -> None:
    form = FORMS["1400"]
    peering = alone()
    [both] = wire.sections(form, samples.SNAT_1400, peering._counters)
    first, second = ([wire.build(form, {Action.INS: [message]})] for message in both.messages)
    [_, early] = peering.receive(first[0], PEER, 1.0)
    assert isinstance(early, FlowsReceived)
    untranslated = flow(("10.1.0.5", 40001, "203.0.113.9", 443))
    assert list(records.each(early.flows)) == [untranslated]
    [late] = peering.receive(second[0], PEER, 1.5)
    assert isinstance(late, FlowsReceived)
    assert list(records.each(late.flows)) == [untranslated._replace(op=Op.DELETE), snat()]


def test_a_flow_lives_until_both_of_its_states_are_gone() -> None:
    peering = alone()
    peering.receive(samples.SNAT_1400, PEER, 1.0)
    assert peering.receive(samples.DEL_C5, PEER, 2.0) == []
    second = wire.pack_identity((samples.ID + 1, samples.CREATOR))
    [gone] = peering.receive(wire.build(peering.form, {Action.DEL_C: [second]}), PEER, 2.0)
    assert isinstance(gone, FlowsReceived)
    assert list(records.each(gone.flows)) == [snat(op=Op.DELETE)]
    assert peering.receive(samples.DEL_C5, PEER, 2.0) == []
    assert peering.counters["badstate"] == 1


def test_both_states_in_one_datagram_are_one_flow_at_once() -> None:
    up, got = alone().receive(samples.SNAT_1400, PEER, 1.0)
    assert up == PeerUp(PEER, PEER)
    assert isinstance(got, FlowsReceived)
    assert list(records.each(got.flows)) == [snat()]
    assert not got.bulk


def test_another_version_is_refused_and_said_once() -> None:
    peering = alone()
    expected = [PeerRefused(PEER, PEER, "it speaks version 6")]
    assert peering.receive(samples.BULK_REQUEST6, PEER, 1.0) == expected
    assert peering.receive(samples.BULK_REQUEST6, PEER, 2.0) == []
    assert peering.receive(samples.BULK_REQUEST6, PEER, 62.0) == expected
    assert peering.counters["badver"] == 3
    assert peering.peers == ()


def test_our_own_nodes_are_missed_within_seconds_and_bsd_never() -> None:
    link = Link("1400", "1400")
    one, two = link.nodes
    link.run(20.0)
    assert one.of(PeerUp) == [PeerUp(two.name, two.name)]
    link.loses = lambda source, datagram: True
    link.run(5.0)
    assert one.of(PeerDown) == [PeerDown(two.name, two.name)]
    link.loses = lambda source, datagram: False
    one.happens(link.now, udp())
    link.run(8.0)
    assert len(one.of(PeerUp)) == 2
    assert len(two.of(BulkDone)) == 2, "what it missed is fetched"
    bsd = alone()
    bsd.receive(samples.SNAT_1400, PEER, 1.0)
    assert not any(isinstance(effect, PeerDown) for effect in bsd.tick(50.0))
    assert bsd.peers[0].alive


def test_a_lonely_node_gives_up_asking() -> None:
    link = Link("1400")
    [node] = link.nodes
    link.run(59.0)
    assert node.of(BulkFailed) == []
    link.run(3.0)
    assert node.of(BulkFailed) == [BulkFailed("", "no peer is heard", lonely=True)]
    assert actions_in(node).count(Action.UPD_REQ) == 12


def test_after_lost_events_everybody_is_told_everything() -> None:
    link = Link("1400", "1400")
    one, two = link.nodes
    link.run(1.0)
    one.table[snat().key] = snat()  # the kernel could not report it
    one.protocol.lost_events(link.now)
    one.protocol.lost_events(link.now)
    link.run(0.1)
    assert two.table == {snat().key: snat()}
    assert one.of(BulkWanted) == [BulkWanted(two.name), BulkWanted("")]
    assert one.protocol.bulk_targets == ()


def test_timeouts_are_looked_at_as_often_as_audits_are_configured() -> None:
    link = Link("openbsd", audit_s=10.0)
    link.run(35.0)
    assert link.nodes[0].of(AuditWanted) == [AuditWanted()] * 3


def test_an_older_view_is_answered_with_ours() -> None:
    link = Link("1400", "1400")
    one, two = link.nodes
    link.run(1.0)
    one.happens(link.now, snat())
    link.run(1.5)
    link.loses = lambda source, datagram: source == one.name
    one.happens(link.now, snat(tcp_state=TcpState.LAST_ACK, timeout=30, op=Op.UPDATE))
    link.run(1.5)
    link.loses = lambda source, datagram: False
    two.happens(link.now, snat(tcp_state=TcpState.FIN_WAIT, timeout=120, op=Op.UPDATE))
    link.run(1.1)
    assert two.table[snat().key].tcp_state == TcpState.LAST_ACK
    assert one.table[snat().key].tcp_state == TcpState.LAST_ACK
    assert one.protocol.counters["stale"] >= 1


def test_nodes_agree_after_losses_and_a_bulk_update() -> None:
    chance = random.Random(7)
    link = Link("1400", "1500")
    one, two = link.nodes
    link.run(1.0)
    link.loses = lambda source, datagram: chance.random() < 0.3
    flows = [snat(client_port=port, outer_port=port) for port in range(1, 200)]
    for start in range(0, len(flows), 20):
        one.happens(link.now, *flows[start : start + 20])
        link.run(0.5)
    link.loses = lambda source, datagram: False
    two.protocol.request_bulk(link.now)
    link.run(8.0)
    assert one.table.keys() == two.table.keys()


SAMPLES = [value for name, value in vars(samples).items() if isinstance(value, bytes) and name.isupper()]


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(BSD_VERSIONS),
    st.lists(
        st.tuples(st.sampled_from(SAMPLES), st.lists(st.tuples(st.integers(4, 580), st.integers(0, 255)), max_size=6)),
        max_size=6,
    ),
    st.binary(max_size=60),
)
def test_no_datagram_makes_it_raise(
    version: Version, datagrams: list[tuple[bytes, list[tuple[int, int]]]], noise: bytes
) -> None:
    peering = alone(version)
    now = 1.0
    for sample, changes in datagrams:
        raw = bytearray(sample)
        for at, value in changes:
            if at < len(raw):
                raw[at] = value
        now += 0.7
        for effect in peering.receive(bytes(raw), PEER, now):
            if isinstance(effect, FlowsReceived):
                peering.injected(PEER, effect.token, now)
        peering.receive(noise, PEER, now)
        peering.receive(bytes(raw[:4]) + bytes(16) + noise, PEER, now)
        if now >= peering.deadline():
            peering.tick(now)
        for _, datagram in peering.outgoing():
            assert wire.refused(peering.form, datagram) == ""
            assert len(datagram) <= 1500 - 20
