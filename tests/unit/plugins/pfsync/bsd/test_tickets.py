"""Which packets that are held back may go."""

from __future__ import annotations

from appliance_pfsync.bsd.tickets import HELD_S, TICKETS_MAX, Tickets
from appliance_pfsync.native.effects import FlowsInjected

A, B = "192.0.2.1", "192.0.2.2"
ONE, TWO, THREE = (1, 9), (2, 9), (3, 9)


def test_a_ticket_is_done_when_a_peer_has_all_its_states() -> None:
    tickets = Tickets()
    tickets.add(7, [ONE, TWO], 1.0)
    assert tickets.acknowledged(A, [ONE], 1.0) == []
    assert tickets.acknowledged(B, [TWO], 1.0) == [], "each peer by itself"
    assert tickets.acknowledged(A, [TWO], 1.0) == [FlowsInjected(A, 7)]
    assert tickets.acknowledged(A, [TWO], 1.0) == []


def test_a_ticket_waits_for_the_ones_before_it() -> None:
    tickets = Tickets()
    tickets.add(1, [ONE], 1.0)
    tickets.add(2, [TWO], 1.0)
    tickets.add(3, [THREE], 1.5)
    assert tickets.acknowledged(A, [TWO], 1.5) == []
    assert tickets.acknowledged(A, [ONE], 1.5) == [FlowsInjected(A, 2)]
    tickets.add(4, [ONE], 1.6)
    assert tickets.acknowledged(A, [ONE], 1.5 + HELD_S) == [FlowsInjected(A, 4)], "the third one is too old"


def test_foreign_states_and_too_many_tickets_do_no_harm() -> None:
    tickets = Tickets()
    assert tickets.acknowledged(A, [ONE], 1.0) == []
    for number in range(TICKETS_MAX + 5):
        tickets.add(number, [(number, 9)], 1.0)
    assert tickets.acknowledged(A, [(0, 9)], 1.0) == []
    assert tickets.acknowledged(A, [(5, 9)], 1.0) == [FlowsInjected(A, 5)]
