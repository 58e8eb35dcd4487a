"""This node's flows become states."""

from __future__ import annotations

import random
from collections import Counter

from appliance_pfsync.bsd import records, state, wire
from appliance_pfsync.bsd.actions import FORMS, Action
from appliance_pfsync.bsd.announcer import REMIND_S, Announcer
from appliance_pfsync.bsd.identities import Identities
from appliance_pfsync.bsd.queue import Outbox
from appliance_pfsync.bsd.records import Record
from appliance_pfsync.flow import Op, TcpState
from tests.unit.plugins.pfsync.bsd.flows import snat, udp
from tests.unit.plugins.pfsync.bsd.test_queue import told

FORM = FORMS["1400"]


class Desk:
    """An announcer with everything around it."""

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self.database = Identities(random.Random(5).randbytes)
        self.out = Outbox(FORM, 1500, 128, self.counters)
        self.announcer = Announcer(self.database, self.out, self.counters)

    def offer(self, now: float, *flows: Record) -> list[list[tuple[Action, int]]]:
        self.announcer.offer(records.array(flows, 4), now, ack_wanted=False)
        self.out.flush(now)
        return told(self.out)


def test_a_flow_is_born_changes_and_ends_as_two_states() -> None:
    desk = Desk()
    assert desk.offer(1.0, snat()) == [[(Action.INS, 2)]]
    assert desk.offer(2.0, snat(op=Op.UPDATE)) == [[(Action.UPD_C, 2)]]
    assert desk.offer(3.0, snat(op=Op.INSERT)) == [[(Action.UPD_C, 2)]]
    assert desk.offer(4.0, snat(op=Op.DELETE)) == [[(Action.DEL_C, 2)]]
    assert desk.offer(5.0, snat(op=Op.DELETE)) == []
    assert len(desk.database) == 0


def test_what_pf_cannot_carry_is_counted() -> None:
    desk = Desk()
    assert desk.offer(1.0, snat(zone=1), snat(proto=132)) == []
    assert desk.counters["unsupported"] == 2


def test_a_deletion_goes_before_a_new_state_with_the_same_key() -> None:
    desk = Desk()
    desk.offer(1.0, snat())
    assert desk.offer(2.0, snat(outer_port=6000)) == [[(Action.DEL_C, 2)], [(Action.INS, 2)]]


def test_a_window_scale_that_is_known_later_is_told() -> None:
    desk = Desk()
    desk.offer(1.0, snat(tcp_state=TcpState.SYN_SENT))
    desk.offer(2.0, snat(op=Op.UPDATE, tcp_flags_orig=9, tcp_flags_reply=9, wscale=0x7A))
    [pair] = desk.database.pairs()
    assert [state.side_wscale(pair.states[0].state.src), state.side_wscale(pair.states[0].state.dst)] == [0x87, 0x8A]


def test_an_expired_copy_is_asked_for_and_not_deleted() -> None:
    desk = Desk()
    desk.offer(1.0, udp())
    assert desk.offer(2.0, udp(op=Op.REQUEST)) == [[(Action.UPD_REQ, 2)]]
    assert len(desk.database) == 2


def test_a_bulk_update_does_not_overtake_what_is_queued() -> None:
    desk = Desk()
    desk.offer(1.0, snat())
    desk.announcer.offer(records.array([snat(op=Op.UPDATE, tcp_state=TcpState.FIN_WAIT)], 4), 2.0, ack_wanted=False)
    [packed] = desk.announcer.whole(records.array([snat()], 4), 2.0)
    assert state.side_state(state.unpack(FORM, Action.UPD, packed[0], 2.0).src) == 7
    desk.out.flush(2.0)
    [packed] = desk.announcer.whole(records.array([snat(timeout=77), udp()], 4), 3.0)[:1]
    assert state.unpack(FORM, Action.UPD, packed[0], 3.0).expire == 77


def test_a_flush_keeps_off_the_connections_of_other_hosts() -> None:
    desk = Desk()
    desk.offer(1.0, snat())
    foreign = state.State((5, 6), 1, 17, 4, 4, bytes(36), bytes(36), state.side(1), state.side(1), 7)
    desk.database.adopt(foreign, 1.0)
    desk.announcer.clear(2.0)
    desk.out.flush(2.0)
    [(_, datagram)] = desk.out.take()
    deleted, cleared = wire.sections(FORM, datagram, Counter())
    assert deleted == (Action.DEL_C, [wire.pack_identity((5, 6))])
    assert cleared == (Action.CLR, [wire.pack_clear(desk.database.creator)])


def test_long_connections_are_told_again_before_pf_drops_them() -> None:
    desk = Desk()
    desk.offer(0.0, snat(), udp())
    seen = []
    for minute in range(2 * int(REMIND_S) // 60 + 5):
        desk.announcer.remind(minute * 60.0)
        desk.announcer.remind(minute * 60.0 + 1)
        desk.out.flush(minute * 60.0 + 2)
        seen += told(desk.out)
    assert seen == [[(Action.UPD_C, 2)]] * 2
    [pair, _] = desk.database.pairs()
    pair.told_at = float("inf")  # its packets pass elsewhere now
    desk.announcer.remind(9e6)
    desk.announcer.remind(9e6)
    assert desk.out.flush_at == float("inf")
