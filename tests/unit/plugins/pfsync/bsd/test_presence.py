"""Who counts as a peer, and when one counts as gone."""

from __future__ import annotations

import math

from appliance_pfsync.bsd.presence import DEAD_S, PEERS_MAX, Presence
from appliance_pfsync.native.effects import PeerDown, PeerRefused, PeerUp

A, B = "192.0.2.1", "192.0.2.2"


def test_whoever_is_heard_is_up_once() -> None:
    presence = Presence()
    assert presence.heard(A, 1.0, is_keepalive=False) == [PeerUp(A, A)]
    assert presence.heard(A, 2.0, is_keepalive=False) == []
    assert [seen.address for seen in presence.all] == [A]


def test_silence_of_a_bsd_says_nothing() -> None:
    presence = Presence()
    presence.heard(A, 1.0, is_keepalive=False)
    assert presence.tick(1e6) == []
    assert presence.deadline == math.inf


def test_silence_of_one_of_our_own_nodes_says_that_it_is_gone() -> None:
    presence = Presence()
    presence.heard(A, 1.0, is_keepalive=True)
    presence.heard(A, 2.0, is_keepalive=False)
    assert presence.deadline == 2.0 + DEAD_S
    assert presence.tick(5.0) == []
    assert presence.tick(2.0 + DEAD_S) == [PeerDown(A, A)]
    assert presence.tick(9.0) == []
    assert presence.deadline == math.inf
    assert presence.heard(A, 10.0, is_keepalive=False) == [PeerUp(A, A)]


def test_whoever_does_not_answer_is_gone() -> None:
    presence = Presence()
    presence.heard(A, 1.0, is_keepalive=False)
    presence.heard(B, 5.0, is_keepalive=False)
    assert presence.unanswered(2.0) == [PeerDown(A, A)]
    found = presence.find(B)
    assert found is not None
    assert found.is_alive


def test_the_number_of_peers_is_bounded() -> None:
    presence = Presence()
    for number in range(100):
        presence.heard(f"192.0.2.{number}", float(number), is_keepalive=False)
        presence.refused(f"192.0.2.{number}", "why", float(number))
    assert len(presence.all) == PEERS_MAX
    assert presence.find("192.0.2.99") is not None


def test_a_refusal_is_said_once_a_minute() -> None:
    presence = Presence()
    assert presence.refused(A, "x", 1.0) == [PeerRefused(A, A, "x")]
    assert presence.refused(A, "x", 2.0) == []
    assert presence.refused(A, "y", 2.0) == [PeerRefused(A, A, "y")]
    assert presence.refused(A, "x", 61.0) == [PeerRefused(A, A, "x")]
