"""CPace: the vectors of the draft, and what two sides with the same or another code get."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.identity.cpace import ISK_BYTES, generator, session_key, share

# draft-irtf-cfrg-cpace, appendix B.1 (X25519, SHA-512).
CODE = b"Password"
CHANNEL = b"oc\x0bB_responder\x0bA_initiator"
SESSION = bytes.fromhex("7e4b4791d6a8ef019b936c79fb7f2c57")
BASE = bytes.fromhex("64e8099e3ea682cfdc5cb665c057ebb514d06bf23ebc9f743b51b82242327074")
SCALAR_A = bytes.fromhex("21b4f4bd9e64ed355c3eb676a28ebedaf6d8f17bdc365995b319097153044080")
SHARE_A = bytes.fromhex("1b02dad6dbd29a07b6d28c9e04cb2f184f0734350e32bb7e62ff9dbcfdb63d15")
SCALAR_B = bytes.fromhex("848b0779ff415f0af4ea14df9dd1d3c29ac41d836c7808896c4eba19c51ac40a")
SHARE_B = bytes.fromhex("20cda5955f82c4931545bcbf40758ce1010d7db4db2a907013d79c7a8fcf957f")
ISK = bytes.fromhex(
    "a051ee5ee2499d16da3f69f430218b8ea94a18a45b67f9e86495b382c33d14a5"
    "c38cecc0cc834f960e39e0d1bf7d76b9ef5d54eecc5e0f386c97ad12da8c3d5f"
)

SMALL_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
]


def key_of(scalar: bytes, theirs: bytes, session: bytes = SESSION, ad: bytes = b"ADa") -> bytes | None:
    return session_key(scalar, theirs, session=session, initiator=(SHARE_A, ad), responder=(SHARE_B, b"ADb"))


def test_the_base_point_is_that_of_the_draft() -> None:
    assert generator(CODE, CHANNEL, SESSION) == BASE


def test_the_shares_are_those_of_the_draft() -> None:
    assert share(SCALAR_A, BASE) == SHARE_A
    assert share(SCALAR_B, BASE) == SHARE_B


def test_the_key_of_both_sides_is_that_of_the_draft() -> None:
    assert key_of(SCALAR_A, SHARE_B) == ISK
    assert key_of(SCALAR_B, SHARE_A) == ISK
    assert len(ISK) == ISK_BYTES


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:8])
def test_a_share_of_small_order_ends_the_run(point: bytes) -> None:
    assert key_of(SCALAR_A, point) is None


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_share_of_another_size_ends_the_run(size: int) -> None:
    assert key_of(SCALAR_A, b"\x09" * size) is None


def test_the_key_depends_on_all_that_both_sides_saw() -> None:
    assert key_of(SCALAR_A, SHARE_B, ad=b"ADx") != ISK
    assert key_of(SCALAR_A, SHARE_B, session=b"other") != ISK


@settings(max_examples=30)
@given(
    st.binary(max_size=300),
    st.binary(max_size=300),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
)
def test_only_sides_with_the_same_code_agree(one: bytes, other: bytes, scalar_a: bytes, scalar_b: bytes) -> None:
    def run(code_a: bytes, code_b: bytes) -> tuple[bytes | None, bytes | None]:
        share_a = share(scalar_a, generator(code_a, CHANNEL, SESSION))
        share_b = share(scalar_b, generator(code_b, CHANNEL, SESSION))
        sides = {"session": SESSION, "initiator": (share_a, b""), "responder": (share_b, b"")}
        return session_key(scalar_a, share_b, **sides), session_key(scalar_b, share_a, **sides)  # type: ignore[arg-type]

    first, second = run(one, one)
    assert first == second is not None
    first, second = run(one, other)
    assert (first == second) == (one == other)


def test_a_code_cannot_be_moved_into_the_channel() -> None:
    assert generator(b"ab", b"c", b"") != generator(b"a", b"bc", b"")
    assert generator(b"a" * 200, b"c", b"") != generator(b"a" * 199, b"ac", b"")
