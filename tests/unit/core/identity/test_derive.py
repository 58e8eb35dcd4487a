"""Derived keys: the same for ever, and each for one thing only."""

from __future__ import annotations

import hashlib
import hmac
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.identity.derive import CONTEXT_MAX, Purpose, carp_password, key_for, secret_id

SECRET = bytes(range(32))
PURPOSES: tuple[Purpose, ...] = ("carp-password", "carp-hello", "pfsync")


def by_hand(info: bytes) -> bytes:
    """HKDF-SHA256 for one block, written down again from RFC 5869."""
    extracted = hmac.digest(b"ha-appliance identity 1", SECRET, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


@pytest.mark.parametrize(
    ("purpose", "context", "key"),
    [
        ("carp-password", b"wan 1", "b35742f1ba7b66a227c95060137a24cdbcdb6edb24e70353f201e989a3ae573f"),
        ("carp-hello", b"", "4d296b4aa66c18030284d533150f88368ca843984ce6a74c1e3e9108b29369f1"),
        ("pfsync", b"", "eb12b83f7a7a3ad7ddae2d77b6a49322100d4de39826f5d00e49705019ac699f"),
    ],
)
def test_the_keys_are_those_of_all_versions(purpose: Purpose, context: bytes, key: str) -> None:
    assert key_for(SECRET, purpose, context).hex() == key
    assert key_for(SECRET, purpose, context) == by_hand(purpose.encode() + b"\0" + context)


def test_the_password_is_that_of_all_versions() -> None:
    assert carp_password(SECRET, b"wan 1") == "7zv42rgrjpae7jnahhj"


def test_the_id_is_that_of_all_versions() -> None:
    assert secret_id(SECRET) == "6977bbfa931395b7"
    assert secret_id(SECRET) == by_hand(b"id\0")[:8].hex()


def test_purposes_and_contexts_have_keys_of_their_own() -> None:
    contexts = (b"", b"\0", b"a", b"a\0", b"pfsync")
    keys = {key_for(SECRET, purpose, context) for purpose in PURPOSES for context in contexts}
    assert len(keys) == len(PURPOSES) * len(contexts)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=40))
def test_a_password_fits_into_freebsd_and_has_at_least_90_bits(secret: bytes, context: bytes) -> None:
    password = carp_password(secret, context)
    letters = "abcdefghijklmnopqrstuvwxyz234567"
    assert set(password) <= set(letters)
    assert len(password.encode()) == 19
    assert len(password) * math.log2(len(letters)) >= 90


def test_all_letters_of_a_password_are_used_alike() -> None:
    text = "".join(carp_password(SECRET, number.to_bytes(2, "big")) for number in range(500))
    counts = [text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz234567"]
    assert min(counts) > 200  # 297 are expected, and the numbers are always the same
    assert max(counts) < 400


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_secret_of_another_size_is_a_mistake(size: int) -> None:
    with pytest.raises(ValueError, match=f"a pairing secret has 32 bytes, not {size}"):
        key_for(bytes(size), "pfsync", b"")
    with pytest.raises(ValueError, match="a pairing secret has 32 bytes"):
        secret_id(bytes(size))


def test_an_unknown_purpose_and_a_long_context_are_mistakes() -> None:
    with pytest.raises(ValueError, match="there is no purpose 'dhcp'"):
        key_for(SECRET, "dhcp", b"")  # type: ignore[arg-type]
    assert len(key_for(SECRET, "pfsync", bytes(CONTEXT_MAX))) == 32
    with pytest.raises(ValueError, match="a context has at most 1024 bytes, not 1025"):
        key_for(SECRET, "pfsync", bytes(CONTEXT_MAX + 1))


def test_the_id_says_nothing_about_the_secret() -> None:
    assert hashlib.sha256(SECRET).hexdigest()[:16] != secret_id(SECRET)
    assert SECRET.hex()[:16] not in secret_id(SECRET)
