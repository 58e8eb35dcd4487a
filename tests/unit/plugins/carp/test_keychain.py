"""Keys of hellos: a former one is in use until everybody has spoken under the new one."""

from __future__ import annotations

from appliance_carp.hello import HelloKey
from appliance_carp.keychain import FORMER_MAX, KeyChain

OLD, NEW, NEXT = HelloKey("old"), HelloKey("new"), HelloKey(b"next" * 8)


def test_the_first_key_is_spoken_and_all_are_understood() -> None:
    keys = KeyChain([NEW, OLD])
    assert (keys.spoken, keys.accepted) == ((NEW,), (NEW, OLD))


def test_a_former_key_is_spoken_too_until_every_node_has_spoken_under_the_new_one() -> None:
    keys = KeyChain([OLD])
    keys.take([NEW], keep=True)
    assert keys.spoken == (NEW, OLD)
    assert not keys.forget(["fw2", "fw3"], {"fw2": True, "fw3": False}.__getitem__)
    assert keys.forget(["fw2", "fw3"], {"fw2": True, "fw3": True}.__getitem__)
    assert (keys.spoken, keys.forget([], bool)) == ((NEW,), False)


def test_where_nobody_is_a_former_key_is_given_up_at_once() -> None:
    keys = KeyChain([OLD])
    keys.take([NEW], keep=False)
    assert keys.accepted == (NEW,)


def test_keys_that_are_withdrawn_stay_in_use_when_nothing_takes_their_place() -> None:
    keys = KeyChain([OLD])
    keys.take([], keep=False)
    assert (keys.spoken, keys.forget([], bool)) == ((OLD,), False)


def test_a_rotation_understands_both_and_speaks_under_the_sending_one() -> None:
    keys = KeyChain([OLD])
    keys.take([OLD, NEW], keep=True)
    assert keys.spoken == (OLD,)
    keys.take([NEW, OLD], keep=True)
    assert (keys.spoken, keys.accepted) == ((NEW,), (NEW, OLD))


def test_former_keys_are_bounded() -> None:
    keys = KeyChain([OLD])
    for number in range(FORMER_MAX + 3):
        keys.take([HelloKey(str(number))], keep=True)
    assert len(keys.accepted) == 1 + FORMER_MAX


def test_a_key_survives_as_text() -> None:
    assert HelloKey.restored(NEXT.text) == NEXT != OLD
    assert len({NEXT, HelloKey.restored(NEXT.text)}) == 1
