"""Sessions: only the peer of this very session is understood, and each datagram once."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance_pfsync.native.header import OUTER, Malformed
from appliance_pfsync.native.keys import Key, Keyring
from appliance_pfsync.native.session import REPLAY_WINDOW, ReplayWindow, Session

OLD, NEW = Key("old", bytes(32)), Key("new", b"n" * 32)
A, B = (1, b"a" * 16), (2, b"b" * 16)
INNER = bytes(range(100))


def pair(mine: Keyring | None, theirs: Keyring | None) -> tuple[Session, Session]:
    return (
        Session(own=A, peer=B, version=1, features=0, keyring=mine),
        Session(own=B, peer=A, version=1, features=0, keyring=theirs),
    )


def opened(session: Session, datagram: bytes) -> bytes:
    _, _, _, _, session_id, counter = OUTER.unpack_from(datagram)
    assert session_id in session.inbound_ids
    return session.open(datagram, session_id, counter)


@pytest.mark.parametrize("keyring", [None, Keyring((OLD,))])
def test_what_one_seals_the_other_opens_once(keyring: Keyring | None) -> None:
    a, b = pair(keyring, keyring)
    first, second = a.seal(INNER), a.seal(INNER)
    assert first != second
    assert opened(b, second) == opened(b, first) == INNER
    for datagram in (first, second):
        with pytest.raises(Malformed, match="replayed"):
            opened(b, datagram)
    assert (INNER in first) == (keyring is None)


@pytest.mark.parametrize("keyring", [None, Keyring((OLD,))])
def test_a_changed_datagram_is_refused_and_does_not_use_up_its_counter(keyring: Keyring | None) -> None:
    a, b = pair(keyring, keyring)
    datagram = a.seal(INNER)
    for place in [2, 3, *range(16, len(datagram))]:
        changed = datagram[:place] + bytes((datagram[place] ^ 1,)) + datagram[place + 1 :]
        with pytest.raises(Malformed, match="badversion" if place == 2 else "forged"):
            opened(b, changed)
    for size in range(16, len(datagram)):
        with pytest.raises(Malformed, match=r"malformed|forged"):
            opened(b, datagram[:size])
    assert opened(b, datagram) == INNER


def test_directions_and_sessions_have_names_of_their_own() -> None:
    a, b = pair(Keyring((OLD,)), Keyring((OLD,)))
    later = Session(own=A, peer=(2, b"c" * 16), version=1, features=0, keyring=Keyring((OLD,)))
    assert not set(a.inbound_ids) & set(b.inbound_ids)
    assert not set(a.inbound_ids) & set(later.inbound_ids)


def test_the_first_common_secret_sends_and_every_one_is_accepted() -> None:
    both, old = Keyring((NEW, OLD)), Keyring((OLD,))
    a, b = pair(both, old)
    a.choose_key(both, [OLD.id])
    assert (a.key_name, opened(b, a.seal(INNER))) == ("old", INNER)
    before = a.seal(INNER)
    b.set_keyring(both, [NEW.id, OLD.id])
    a.choose_key(both, [NEW.id, OLD.id])
    assert a.key_name == "new"
    assert opened(b, a.seal(INNER)) == opened(b, before) == INNER


def test_a_secret_that_changed_under_its_name_is_used() -> None:
    a, b = pair(Keyring((OLD,)), Keyring((NEW,)))
    a.set_keyring(Keyring((Key("old", NEW.secret),)), ())
    assert opened(b, a.seal(INNER)) == INNER


def test_keys_change_the_nonce_never_repeats() -> None:
    a, _ = pair(Keyring((OLD, NEW)), None)
    nonces = []
    for key in (OLD, NEW, OLD, NEW):
        a.choose_key(Keyring((OLD, NEW)), [key.id])
        nonces += [a.seal(INNER)[4:16] for _ in range(3)]
    assert len(set(nonces)) == len(nonces)


@given(st.randoms(use_true_random=False))
def test_the_window_accepts_what_is_new_and_not_too_old(draw: random.Random) -> None:
    window, seen, top = ReplayWindow(), set[int](), 0
    for _ in range(200):
        counter = max(1, top + draw.choice([1, 1, 1, 2, -1, -3, -1022, -1024, 1500]))
        expected = counter not in seen and counter > top - REPLAY_WINDOW
        assert window.is_new(counter) == expected
        if expected:
            window.add(counter)
            seen.add(counter)
            top = max(top, counter)
