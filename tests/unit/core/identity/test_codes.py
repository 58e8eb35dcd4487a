"""Codes for pairing: 40 bits that survive being read aloud."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.errors import UsageError
from appliance.identity.codes import make_code, normal_code, shown


@given(st.binary(min_size=5, max_size=5))
def test_a_code_has_40_bits_and_comes_back_however_it_is_typed(raw: bytes) -> None:
    code = make_code(lambda size: raw[:size])
    assert len(code) == 8
    assert sum("0123456789ABCDEFGHJKMNPQRSTVWXYZ".index(letter) << 5 * at for at, letter in enumerate(code)) == (
        int.from_bytes(raw, "big")
    )
    typed = shown(code)
    for text in (code, typed, typed.lower(), f" {code[:2]} {code[2:]} "):
        assert normal_code(text) == code


def test_letters_that_look_like_digits_are_read_as_these() -> None:
    assert normal_code("ilo0-OLI1") == "11000111"
    assert shown("11000111") == "1100-0111"


@pytest.mark.parametrize("text", ["", "-", "ABCD-EFG", "ABCD-EFGHJ", "ABCD-EFGU", "ABCD_EFGH", "ÄBCD-EFGH", "A" * 9999])
def test_what_is_no_code_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(UsageError, match="is not a code for pairing") as refused:
        normal_code(text)
    assert "XXXX-XXXX" in refused.value.hint
    assert len(refused.value.message) < 100
