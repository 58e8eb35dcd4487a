"""Messages of a pairing: read back, and refused in every part that can be wrong."""

from __future__ import annotations

from typing import Any

import pytest

from appliance.identity.certificates import DER_MAX, create_identity
from appliance.identity.introduction import (
    Hello,
    RefusalError,
    confirm_message,
    keys_of,
    malformed,
    parse_hello,
    proves,
    session_of,
    step_of,
    unseal,
)
from appliance.identity.keyring import CREATED_MAX, PairingSecret, keyring_of

CERTIFICATE = create_identity("fw1").certificate
SHARE, SESSION = bytes(range(32)), bytes(range(16))
HELLO = Hello(certificate=CERTIFICATE, share=SHARE, session=SESSION).message()
INITIATOR, LISTENER = keys_of(bytes(range(64)))
SECRETS = [PairingSecret(created=CREATED_MAX, secret=bytes([number]) * 32) for number in range(4)]
RING = keyring_of(SECRETS, sending=SECRETS[0].id)
CONFIRM = confirm_message(INITIATOR, RING, session=SESSION)


def refusal(work: Any, *args: Any) -> tuple[str, str]:
    with pytest.raises(RefusalError) as raised:
        work(*args)
    assert raised.value.refused.hint
    return raised.value.refused.kind, raised.value.refused.message


def test_a_hello_comes_back_without_its_session() -> None:
    assert parse_hello(HELLO) == Hello(certificate=CERTIFICATE, share=SHARE, session=b"")
    assert (step_of(HELLO), session_of(HELLO)) == ("hello", SESSION)
    assert "session" not in parse_hello(HELLO).message()


def test_what_the_nodes_of_other_versions_know_in_addition_is_ignored() -> None:
    assert parse_hello({**HELLO, "more": [1]}) == parse_hello(HELLO)


def test_the_largest_message_is_small() -> None:
    assert sum(len(part) for part in CONFIRM.values() if isinstance(part, bytes)) < 2200


@pytest.mark.parametrize("value", [None, 5, "hello", [], {}, {"step": 5}, {"step": "bye"}, {"step": ["hello"]}])
def test_what_is_no_message_is_refused(value: object) -> None:
    assert refusal(step_of, value) == ("malformed", "a message of the pairing is malformed: step")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("version", None),
        ("version", "1"),
        ("version", True),
        ("name", None),
        ("name", b"fw1"),
        ("name", "x" * 64),
        ("certificate", None),
        ("certificate", "text"),
        ("certificate", bytes(DER_MAX + 1)),
        ("share", None),
        ("share", "text"),
        ("share", bytes(33)),
    ],
)
def test_a_malformed_hello_is_refused_with_the_part(part: str, value: object) -> None:
    assert refusal(parse_hello, {**HELLO, part: value}) == (
        "malformed",
        f"a message of the pairing is malformed: {part}",
    )


@pytest.mark.parametrize("value", [None, "text", b"", bytes(15), bytes(17)])
def test_a_malformed_session_is_refused(value: object) -> None:
    assert refusal(session_of, {**HELLO, "session": value})[1].endswith("malformed: session")
    assert refusal(session_of, None)[1].endswith("malformed: session")


def test_another_version_is_told_with_both_numbers() -> None:
    kind, message = refusal(parse_hello, {**HELLO, "version": 2})
    assert kind == "version"
    assert message == "the other node pairs with version 2 of the protocol, this one with 1"


def test_a_strange_certificate_is_told() -> None:
    assert refusal(parse_hello, {**HELLO, "certificate": b"x"}) == (
        "certificate",
        "the other node: the certificate is malformed",
    )


def test_the_certificate_of_another_node_is_told() -> None:
    assert refusal(parse_hello, {**HELLO, "name": "fw2"}) == (
        "certificate",
        "the other node calls itself 'fw2' and shows the certificate of fw1",
    )


def test_the_proof_and_the_secrets_are_those_of_the_keys() -> None:
    assert step_of(CONFIRM) == "confirm"
    assert session_of(CONFIRM) == SESSION
    assert proves(INITIATOR, CONFIRM)
    assert unseal(INITIATOR, CONFIRM) == RING
    assert not proves(LISTENER, CONFIRM)
    assert refusal(unseal, LISTENER, CONFIRM)[1].endswith("malformed: sealed")


def test_a_node_without_secrets_seals_nothing() -> None:
    empty = confirm_message(LISTENER, None)
    assert "session" not in empty
    assert proves(LISTENER, empty)
    assert unseal(LISTENER, empty) is None


@pytest.mark.parametrize("part", ["sealed", "proof"])
def test_each_bit_of_a_confirmation_counts(part: str) -> None:
    value = CONFIRM[part]
    assert isinstance(value, bytes)
    for at in range(0, len(value), 7):
        changed = value[:at] + bytes([value[at] ^ 1]) + value[at + 1 :]
        assert not proves(INITIATOR, {**CONFIRM, part: changed})
    assert not proves(INITIATOR, {**CONFIRM, part: b""})


@pytest.mark.parametrize(
    ("part", "value"), [("sealed", None), ("sealed", bytes(2065)), ("proof", "x"), ("proof", bytes(33))]
)
def test_a_malformed_confirmation_is_refused_with_the_part(part: str, value: object) -> None:
    assert refusal(proves, INITIATOR, {**CONFIRM, part: value})[1].endswith(f"malformed: {part}")


def test_the_secrets_are_not_readable_in_a_message() -> None:
    sealed = CONFIRM["sealed"]
    assert isinstance(sealed, bytes)
    assert SECRETS[1].id.encode() not in sealed
    assert SECRETS[1].secret.hex().encode() not in sealed


def test_the_keys_of_a_run_differ_and_are_not_shown() -> None:
    assert len({INITIATOR.proves, INITIATOR.seals, LISTENER.proves, LISTENER.seals}) == 4
    assert repr(INITIATOR) == "Keys()"
    with pytest.raises(ValueError, match="the key of a run has 64 bytes, not 32"):
        keys_of(bytes(32))


def test_a_refusal_becomes_an_error_for_the_operator() -> None:
    error = malformed("share").refused.error()
    assert error.message == "a message of the pairing is malformed: share"
    assert "same version" in error.hint
