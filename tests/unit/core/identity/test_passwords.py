"""Password hashes: verified, and never more expensive than the node can afford."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest

from appliance.errors import ApplianceError
from appliance.identity.passwords import PASSWORD_MAX, hash_password, hash_problem, verify_password

SALT = bytes(range(16))
TEXT = hash_password("correct horse", random=lambda size: SALT[:size])
SALT_TEXT, HASH_TEXT = TEXT.split("$")[4:]


def with_parts(log_n: object = 15, r: object = 8, p: object = 1, salt: str = SALT_TEXT, digest: str = HASH_TEXT) -> str:
    return f"scrypt${log_n}${r}${p}${salt}${digest}"


def b64(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


def test_a_hash_is_scrypt_with_costs_salt_and_hash() -> None:
    digest = hashlib.scrypt(b"correct horse", salt=SALT, n=2**15, r=8, p=1, maxmem=64 << 20, dklen=32)
    assert f"scrypt$15$8$1${base64.b64encode(SALT).decode()}${base64.b64encode(digest).decode()}" == TEXT
    assert hash_problem(TEXT) is None


def test_the_password_is_accepted_and_no_other() -> None:
    assert verify_password("correct horse", TEXT)
    assert not verify_password("correct horsf", TEXT)
    assert not verify_password("", TEXT)


def test_two_hashes_of_a_password_differ() -> None:
    assert hash_password("x") != hash_password("x")


def test_a_letter_may_be_typed_in_two_ways() -> None:
    assert verify_password("cafe\N{COMBINING ACUTE ACCENT}", hash_password("caf\N{LATIN SMALL LETTER E WITH ACUTE}"))


def test_a_user_that_does_not_exist_has_no_password() -> None:
    assert not verify_password("", None)
    assert not verify_password("correct horse", None)


def test_a_hash_with_lower_costs_is_accepted() -> None:
    digest = hashlib.scrypt(b"x", salt=SALT, n=2**14, r=1, p=1, dklen=16)
    assert verify_password("x", with_parts(14, 1, 1, digest=base64.b64encode(digest).decode()))


@pytest.mark.parametrize("parts", [{"log_n": 16}, {"log_n": 14, "r": 32}, {"p": 4}])
def test_the_highest_costs_that_are_accepted_can_be_computed(parts: dict[str, Any]) -> None:
    assert not verify_password("x", with_parts(**parts))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is not of the form scrypt$15$8$1$SALT$HASH"),
        ("secret", "is not of the form"),
        (TEXT + "$", "is not of the form"),
        (TEXT.replace("scrypt", "bcrypt"), "is not of the form"),
        (with_parts(salt=b64(300)), "is not of the form"),
        (with_parts(log_n="1e1"), "has a cost that is not a number"),
        (with_parts(r=" 8"), "has a cost that is not a number"),
        (with_parts(p="+1"), "has a cost that is not a number"),
        (with_parts(p="\N{ARABIC-INDIC DIGIT ONE}"), "has a cost that is not a number"),
        (with_parts(log_n=""), "has a cost that is not a number"),
        (with_parts(log_n=9999), "has a cost that is not a number"),
        (with_parts(log_n=13), "asks for costs 13, 8, 1; accepted are 14 to 17, 1 to 32, 1 to 4"),
        (with_parts(log_n=18, r=1), "asks for costs 18, 1, 1"),
        (with_parts(log_n=999), "asks for costs 999, 8, 1"),
        (with_parts(r=0), "asks for costs 15, 0, 1"),
        (with_parts(r=33), "asks for costs 15, 33, 1"),
        (with_parts(p=5), "asks for costs 15, 8, 5"),
        (with_parts(log_n=17, r=8), "asks for 128 MiB of memory; at most 64 are given"),
        (with_parts(salt="???"), "has no salt of 8 to 64 bytes in base64"),
        (with_parts(salt=b64(7)), "has no salt of 8 to 64 bytes"),
        (with_parts(salt=b64(65)), "has no salt of 8 to 64 bytes"),
        (with_parts(digest="ü"), "has no hash of 16 to 64 bytes in base64"),
        (with_parts(digest=b64(15)), "has no hash of 16 to 64 bytes"),
        (with_parts(digest=""), "has no hash of 16 to 64 bytes"),
    ],
)
def test_a_malformed_hash_is_told_before_anything_is_computed(text: str, what: str) -> None:
    problem = hash_problem(text)
    assert problem is not None
    assert problem.startswith("a password hash ")
    assert what in problem
    with pytest.raises(ApplianceError) as refused:
        verify_password("x", text)
    assert refused.value.message == problem
    assert "appliance user password" in refused.value.hint


def test_passwords_that_cannot_be_hashed_are_refused_and_never_match() -> None:
    for password, what in (
        ("", "the password is empty"),
        ("x" * (PASSWORD_MAX + 1), "the password has more than 1024 bytes"),
        ("\ud800", "the password is not text"),
    ):
        with pytest.raises(ApplianceError, match=what) as refused:
            hash_password(password)
        assert "1 to 1024 bytes" in refused.value.hint
        assert not verify_password(password, TEXT)
    longest = "x" * PASSWORD_MAX
    assert verify_password(longest, hash_password(longest))
