"""Keyrings: one order everywhere, never without a secret for sending, and read back or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import RefusedError
from appliance.identity.keyring import (
    CREATED_MAX,
    TEXT_MAX,
    Keyring,
    PairingSecret,
    decode_age,
    decode_keyring,
    decode_secret,
    encode_age,
    encode_keyring,
    encode_secret,
    is_id,
    keyring_of,
    merge,
    new_secret,
)


def secret(number: int, created: int | None = None) -> PairingSecret:
    return PairingSecret(created=number if created is None else created, secret=bytes([number]) * 32)


def ring(*numbers: int, sending: int | None = None) -> Keyring:
    return keyring_of(map(secret, numbers), sending=secret(numbers[0] if sending is None else sending).id)


def test_the_id_follows_from_the_secret_and_the_secret_is_not_shown() -> None:
    assert secret(1).id == secret(1, created=9).id != secret(2).id
    assert is_id(secret(1).id)
    assert (b"\x01" * 32).hex() not in repr(secret(1))
    assert "x01" not in repr(ring(1))


def test_the_order_is_newest_first_and_then_by_id() -> None:
    assert [held.created for held in ring(1, 3, 2).secrets] == [3, 2, 1]
    same_time = [secret(number, created=5) for number in range(1, 5)]
    made = keyring_of(same_time, sending=same_time[0].id)
    assert [held.id for held in made.secrets] == sorted((held.id for held in same_time), reverse=True)
    assert made == keyring_of(reversed(same_time), sending=same_time[0].id)


def test_the_newest_need_not_be_the_one_for_sending() -> None:
    made = ring(1, 2, sending=1)
    assert (made.newest, made.current) == (secret(2), secret(1))
    assert made.find(secret(2).id) == secret(2)
    assert made.find("0" * 16) is None


@pytest.mark.parametrize(
    ("secrets", "sending", "what"),
    [
        ([], 1, "has 1 to 4 secrets, not 0"),
        ([5, 4, 3, 2, 1], 1, "has 1 to 4 secrets, not 5"),
        ([1, 2], 1, "not in order"),
        ([1, 1], 1, "there twice"),
        ([1], 2, "does not hold the secret it sends with"),
    ],
)
def test_a_keyring_that_cannot_be_is_a_mistake(secrets: list[int], sending: int, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        Keyring(tuple(map(secret, secrets)), secret(sending).id)


def test_a_new_secret_is_newer_than_all_others_even_if_the_clock_is_behind() -> None:
    assert new_secret(100).created == 100
    assert new_secret(100, newer_than=[(50, "x")]).created == 100
    assert new_secret(100, newer_than=[(50, "x"), (200, "y")]).created == 201
    assert new_secret(0, newer_than=[(CREATED_MAX, "x")]).age > (CREATED_MAX, "x")
    assert new_secret(1).secret != new_secret(1).secret


def test_a_secret_that_is_newer_than_one_of_the_last_second_can_be_read_back() -> None:
    made = new_secret(0, newer_than=[(CREATED_MAX, "x")])
    assert decode_keyring(encode_keyring(keyring_of([made], sending=made.id))).newest == made


def test_a_node_without_secrets_takes_those_of_the_other_and_sends_as_that_does() -> None:
    assert merge(None, ring(1, 2, sending=1)) == ring(1, 2, sending=1)


def test_nodes_that_share_a_secret_put_theirs_together_and_go_on_sending_as_before() -> None:
    assert merge(ring(1, 2, sending=2), ring(1, 3, sending=3)) == ring(1, 2, 3, sending=2)
    assert merge(ring(1, 3, sending=3), ring(1, 2, sending=2)) == ring(1, 2, 3, sending=3)


def test_nodes_of_different_clusters_are_told_so() -> None:
    with pytest.raises(RefusedError, match="belong to different clusters") as refused:
        merge(ring(1), ring(2))
    assert "appliance pair reset" in refused.value.hint


def test_too_many_secrets_together_are_refused() -> None:
    with pytest.raises(RefusedError, match="would hold 5 pairing secrets, more than 4") as refused:
        merge(ring(1, 2, 3), ring(1, 4, 5))
    assert "appliance pair rotate" in refused.value.hint


@given(st.sets(st.integers(min_value=1, max_value=255), min_size=1, max_size=4), st.data())
def test_a_keyring_comes_back_from_its_text(numbers: set[int], data: st.DataObject) -> None:
    made = ring(*numbers, sending=data.draw(st.sampled_from(sorted(numbers))))
    text = encode_keyring(made)
    assert decode_keyring(text) == made
    assert len(text) <= TEXT_MAX


def test_the_largest_keyring_fits_into_its_limit() -> None:
    largest = [secret(number, created=CREATED_MAX) for number in range(1, 5)]
    assert len(encode_keyring(keyring_of(largest, sending=largest[0].id))) < TEXT_MAX


GOOD: dict[str, Any] = json.loads(encode_keyring(ring(1)))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"version": 2}, "is of version 2; this node knows 1"),
        ({"more": 1}, "other entries than version, sending and secrets"),
        ({"secrets": {}}, "of the wrong kind"),
        ({"sending": 5}, "of the wrong kind"),
        ({"sending": "0" * 16}, "does not hold the secret it sends with"),
        ({"secrets": []}, "has 1 to 4 secrets, not 0"),
        ({"secrets": [1]}, "other entries than id, created and secret"),
        ({"secrets": [{**GOOD["secrets"][0], "secret": "11"}]}, "has 32 bytes, not 1"),
        ({"secrets": [{**GOOD["secrets"][0], "secret": "zz" * 32}]}, "a secret is not one"),
        ({"secrets": [{**GOOD["secrets"][0], "secret": 5}]}, "of the wrong kind"),
        ({"secrets": [{**GOOD["secrets"][0], "created": 5}]}, "of the wrong kind"),
        ({"secrets": [{**GOOD["secrets"][0], "created": "-5"}]}, "of the wrong kind"),
        ({"secrets": [{**GOOD["secrets"][0], "created": str(2 * CREATED_MAX)}]}, "of the wrong kind"),
        ({"secrets": [{**GOOD["secrets"][0], "created": "9" * 50}]}, "of the wrong kind"),
        ({"secrets": [{**GOOD["secrets"][0], "id": "0" * 16}]}, "does not have the id that is written beside it"),
        ({"secrets": GOOD["secrets"] * 2}, "there twice"),
        ({"secrets": GOOD["secrets"] * 5}, "has 1 to 4 secrets, not 5"),
    ],
)
def test_a_damaged_text_is_refused_with_what_is_wrong(change: dict[str, object], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        decode_keyring(json.dumps({**GOOD, **change}))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * TEXT_MAX, "is not JSON"),
        ("[]", "other entries"),
        (" " * (TEXT_MAX + 1), "has more than 2048 characters"),
    ],
)
def test_other_texts_are_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        decode_keyring(text)


def test_secrets_and_ages_travel_as_text() -> None:
    far = secret(1, created=2**33)
    assert set(map(type, encode_secret(far).values())) == {str}
    assert decode_secret(encode_secret(far)) == far
    assert encode_age(far.age) == [str(2**33), far.id]
    assert decode_age(encode_age(far.age)) == far.age


@pytest.mark.parametrize("value", [None, [], ["1"], [1, "0" * 16], ["x", "0" * 16], ["1", "0" * 15], ["1", "G" * 16]])
def test_a_malformed_age_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="the age of a secret is malformed"):
        decode_age(value)


def test_a_secret_from_before_the_epoch_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="cannot be made at -1"):
        secret(1, created=-1)
