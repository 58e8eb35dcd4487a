"""What hellos of the other nodes add up to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from appliance_carp.hello import Hello, Offer, VhidStatus
from appliance_carp.peers import FORGET_S, PEERS_MAX, SILENT_S, PeerBook
from appliance_carp.transaction import Edition, Stance
from appliance_carp.vocabulary import State

LAN = ("lan", 1)


def hello(node: str = "fw2", *, state: State = State.BACKUP, mark: bytes = b"a" * 8, **changes: Any) -> Hello:
    status = VhidStatus(LAN, state, 100, frozenset({4}), mark)
    base: dict[str, Any] = {"incarnation": 1, "sequence": 1, "vhids": (status,), "sources": {"lan": ("192.168.1.3",)}}
    return Hello(node=node, **(base | changes))


def test_a_hello_that_says_nothing_new_is_no_news() -> None:
    book = PeerBook()
    assert book.heard(hello(), 0.0)
    assert not book.heard(hello(sequence=2), 1.0)
    assert book.heard(hello(sequence=3, demotion=240), 2.0)


def test_a_silent_peer_is_not_counted_on_and_comes_back_as_news() -> None:
    book = PeerBook()
    book.heard(hello(), 0.0)
    assert not book.expire(SILENT_S)
    assert book.expire(SILENT_S + 0.1)
    assert [view.alive for view in book.views()] == [False]
    assert book.silent() == ["fw2"]
    assert book.heard(hello(sequence=9), SILENT_S + 1)
    assert book.silent() == []


def test_a_peer_is_forgotten_in_the_end() -> None:
    book = PeerBook()
    book.heard(hello(), 0.0)
    book.expire(FORGET_S + 1)
    assert book.views() == []


def test_only_hosts_in_play_are_served() -> None:
    book = PeerBook()
    book.heard(hello(state=State.INIT), 0.0)
    assert book.views()[0].serves == frozenset()
    book.heard(hello(state=State.MASTER), 1.0)
    assert book.views()[0].serves == {LAN}
    assert book.masters(LAN) == ["fw2"]


def test_adverts_are_attributed_by_source_address() -> None:
    book = PeerBook()
    book.heard(hello(), 0.0)
    assert book.name_of("192.168.1.3") == "fw2"
    assert book.name_of("192.168.1.4") == ""
    assert book.addresses_of("fw2") == {"lan": ("192.168.1.3",)}


def test_a_stance_is_what_a_peer_says_of_a_virtual_host_under_any_of_its_vhids() -> None:
    book = PeerBook()
    new, old = Edition(7, b"n" * 8), Edition(5, b"o" * 8)
    offers = (Offer(LAN, new, staged=True), Offer(LAN, old, staged=False))
    book.heard(hello(offers=offers), 0.0)
    expected = Stance("fw2", True, Edition(1, b"a" * 8), new, frozenset({old}))
    assert book.stances("lan", [1]) == book.stances("lan", [5]) == book.stances("lan", [7]) == [expected]
    assert book.stances("lan", [2]) == book.stances("wan", [1]) == []
    book.died("fw2")
    assert book.stances("lan", [1]) == [replace(expected, alive=False)]


def test_views_are_told_by_our_own_keys() -> None:
    book = PeerBook()
    book.heard(hello(), 0.0)
    (view,) = book.views({LAN: ("lan", 7)})
    assert (view.serves, view.skews) == (frozenset({("lan", 7)}), {("lan", 7): 100})


def test_the_address_set_of_a_source_is_that_of_its_own_node_and_of_nobody_dead() -> None:
    book = PeerBook()
    book.heard(hello(), 0.0)
    book.heard(hello("fw3", mark=b"b" * 8, sources={"lan": ("192.168.1.4",)}), 0.0)
    assert book.fingerprint_at("192.168.1.3", LAN) == b"a" * 8
    assert book.fingerprint_at("192.168.1.4", LAN) == b"b" * 8
    assert book.fingerprint_at("192.168.1.4", ("lan", 2)) is None
    assert book.fingerprint_at("192.168.1.5", LAN) is None
    book.died("fw2")
    assert book.fingerprint_at("192.168.1.3", LAN) is None


def test_a_peer_is_healthy_when_it_could_take_over() -> None:
    book = PeerBook()
    for number, changes in enumerate([{}, {"maintenance": True}, {"enabled": False}, {"demotion": 240}]):
        book.heard(hello(f"n{number}", **changes), 0.0)
    assert {fact.peer: fact.healthy for fact in book.facts(0)} == {"n0": True, "n1": False, "n2": False, "n3": False}


def test_the_number_of_peers_is_bounded() -> None:
    book = PeerBook()
    for number in range(PEERS_MAX + 3):
        book.heard(hello(f"n{number}"), 0.0)
    assert len(book.views()) == PEERS_MAX
