"""Getting to know each other: fresh tokens make sessions, recordings and strangers do not."""

from __future__ import annotations

import random

import pytest

from appliance_pfsync.native.greeting import STRANGERS_MAX, Greeter, Known, News, RefusedError
from appliance_pfsync.native.header import Malformed
from appliance_pfsync.native.keys import Key, Keyring

KEYS = Keyring((Key("k", bytes(32)),))


def greeter(node: str, *, seed: int = 0, versions: tuple[int, int] = (1, 1), keyring: Keyring | None = KEYS) -> Greeter:
    draw = random.Random(f"{node}{seed}")
    return Greeter(node=node, versions=versions, keyring=keyring, random_bytes=draw.randbytes)


def hear(listener: Greeter, speaker: Greeter, now: float = 1.0) -> tuple[Known, News]:
    return listener.hear(speaker.hello(5), speaker.node, now)


def joined(a: Greeter, b: Greeter) -> tuple[Known, Known]:
    """Let both speak in turns until there is a session."""
    sides: dict[str, Known] = {}
    for _ in range(3):
        for listener, speaker in ((a, b), (b, a)):
            known, news = hear(listener, speaker)
            if news is News.BEGIN:
                sides[listener.node] = known
    return sides["a"], sides["b"]


def test_three_hellos_make_a_session_of_the_same_two_tokens() -> None:
    a, b = greeter("a"), greeter("b")
    assert hear(b, a)[1] is News.ANSWER
    assert hear(a, b)[1] is News.ANSWER
    known_b, news_b = hear(b, a)
    known_a, news_a = hear(a, b)
    assert (news_a, news_b) == (News.BEGIN, News.BEGIN)
    assert (known_a.own, known_a.theirs) == (known_b.theirs, known_b.own)
    assert hear(b, a)[1] is News.NOTHING


def test_a_recorded_hello_is_refused_and_one_of_an_earlier_life_begins_nothing() -> None:
    a, b = greeter("a"), greeter("b")
    recorded = b.hello(0)
    joined(a, b)
    with pytest.raises(Malformed, match="replayed"):
        a.hear(recorded, "x", 2.0)
    later = greeter("a", seed=1)
    full = [b.hello(0) for _ in range(3)]
    assert [later.hear(each, "x", 3.0)[1] for each in full] == [News.ANSWER] * 3


def test_a_peer_that_has_forgotten_gets_a_session_with_new_tokens_of_both() -> None:
    a, b = greeter("a"), greeter("b")
    before = joined(a, b)[0]
    used = {before.own, before.theirs}
    b.forget(a.boot)
    after, _ = joined(a, b)
    assert not used & {after.own, after.theirs}


def test_one_s_own_hello_and_a_forged_one_change_nothing() -> None:
    a, b = greeter("a"), greeter("b")
    with pytest.raises(Malformed, match="own"):
        a.hear(a.hello(0), "x", 1.0)
    forged = bytearray(b.hello(0))
    forged[10] ^= 1
    with pytest.raises(Malformed, match="forged"):
        a.hear(bytes(forged), "x", 1.0)
    assert len(a.hello(0)) == len(greeter("a").hello(0))


def test_a_hello_tells_states_version_and_keys() -> None:
    known, _ = hear(greeter("a", versions=(1, 4)), greeter("b", versions=(2, 3)))
    assert (known.name, known.version, known.states, known.key_ids) == ("b", 3, 5, (KEYS.keys[0].id,))


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (greeter("b", keyring=None), "it has no key file, and this node has secrets"),
        (greeter("b", keyring=Keyring((Key("k", b"x" * 32),))), "it has none of the secrets of this node"),
        (greeter("b", versions=(4, 6)), "it speaks versions 4 to 6 of the protocol, this node 1"),
        (greeter("a", seed=9), "another node has the name of this one"),
    ],
)
def test_who_can_not_be_spoken_to_is_refused_with_a_sentence(other: Greeter, why: str) -> None:
    a = greeter("a")
    with pytest.raises(RefusedError) as caught:
        hear(a, other)
    assert (caught.value.name, caught.value.why) == (other.node, why)


def test_strangers_are_forgotten_before_they_become_too_many_and_peers_never() -> None:
    a, b = greeter("a"), greeter("b")
    known, _ = joined(a, b)
    a.pinned = frozenset({known.boot})
    for number in range(3 * STRANGERS_MAX):
        hear(a, greeter("c", seed=number), 1.0 + number / 100)
    assert len(a._known) <= STRANGERS_MAX + 1
    assert known.boot in a._known
    hear(a, greeter("d"), 1000.0)
    assert len(a._known) == 2
