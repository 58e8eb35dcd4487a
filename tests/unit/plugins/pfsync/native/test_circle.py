"""Who is a peer: sessions from hellos, silence and return, former lives, and the known refused."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

from appliance_pfsync.native.circle import ANSWER_S, REFUSALS_MAX, REFUSED_S, Circle
from appliance_pfsync.native.effects import Effect, PeerRefused, PeerUp
from appliance_pfsync.native.greeting import Greeter, Known
from appliance_pfsync.native.keys import Keyring
from appliance_pfsync.native.peer import Peer
from appliance_pfsync.native.session import Session


def make(known: Known, session: Session, former: Peer | None) -> Peer:
    return Peer(
        name=known.name,
        boot=known.boot,
        address=known.address,
        session=session,
        serial=1,
        window=300,
        timeout_s=60.0,
        counters=former.counters if former else Counter(),
    )


def circle(name: str, *, seed: int = 0, keyring: Keyring | None = None) -> Circle:
    draw = random.Random(f"{name}{seed}")
    greeter = Greeter(node=name, versions=(1, 1), keyring=keyring, random_bytes=draw.randbytes)
    return Circle(greeter, hello_s=1.0, dead_s=3.5, make=make)


def meet(a: Circle, b: Circle, now: float, *, address: str = "b") -> list[Effect]:
    """Both speak in turns; what that means at a."""
    effects: list[Effect] = []
    for _ in range(3):
        b.hear(a.say(0, now), "a", now)
        effects += a.hear(b.say(0, now), address, now)
    return effects


def test_two_nodes_that_hear_each_other_become_peers_once() -> None:
    a, b = circle("a"), circle("b")
    assert meet(a, b, 1.0) == [PeerUp("b", "b")]
    assert meet(a, b, 2.0) == []
    assert set(a.by_session.values()) == set(a.peers.values())


def test_silence_is_noticed_once_and_a_hello_ends_it() -> None:
    a, b = circle("a"), circle("b")
    meet(a, b, 1.0)
    assert a.silent(4.4) == []
    assert [peer.name for peer in a.silent(4.5)] == ["b"]
    assert a.silent(5.0) == []
    assert a.hear(b.say(0, 6.0), "b", 6.0) == [PeerUp("b", "b")]
    assert a.alive


def test_answers_are_not_more_frequent_than_they_may_be() -> None:
    a = circle("a")
    a.say(0, 10.0)
    a.say_soon(10.0)
    a.say_soon(10.01)
    assert a.hello_at == 10.0 + ANSWER_S


def test_a_restarted_node_replaces_its_former_life_at_once() -> None:
    a, b, again = circle("a"), circle("b"), circle("b", seed=1)
    meet(a, b, 1.0)
    before = a.peers["b"]
    assert meet(a, again, 1.5) == [PeerUp("b", "b")]
    assert a.peers["b"] is not before
    assert before not in a.by_session.values()


def test_at_another_address_it_waits_until_the_former_one_is_silent() -> None:
    a, b, other = circle("a"), circle("b"), circle("b", seed=1)
    meet(a, b, 1.0)
    assert meet(a, other, 1.5, address="x") == []
    assert meet(a, other, 4.0, address="x") == [PeerUp("b", "x")]


def test_while_the_former_one_lives_the_other_is_refused() -> None:
    a, b, other = circle("a"), circle("b"), circle("b", seed=1)
    meet(a, b, 1.0)
    meet(a, other, 1.5, address="x")
    a.hear(b.say(0, 2.0), "b", 2.0)
    assert meet(a, other, 2.5, address="x") == [PeerRefused("b", "x", "there are two nodes of this name")]
    assert a.peers["b"].address == "b"


def test_refusals_are_said_again_after_a_while_and_remembered_in_bounds() -> None:
    a: Any = circle("a")
    assert a._refuse("b", "x", "why", 0.0) == [PeerRefused("b", "x", "why")]
    assert a._refuse("b", "x", "why", REFUSED_S - 1) == []
    assert a._refuse("b", "x", "other", 1.0) == [PeerRefused("b", "x", "other")]
    assert a._refuse("b", "x", "why", REFUSED_S) == [PeerRefused("b", "x", "why")]
    for number in range(1000):
        a._refuse(str(number), "x", "why", 1000.0)
    assert len(a._refusals) == REFUSALS_MAX
