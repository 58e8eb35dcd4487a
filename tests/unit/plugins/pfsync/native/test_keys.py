"""The key file, and what is derived from a secret."""

from __future__ import annotations

import base64

import pytest

from appliance.errors import ApplianceError
from appliance_pfsync.native.keys import Key, Keyring, hkdf

ONE, TWO = "00" * 32, "11" * 32


def test_hkdf_is_that_of_the_standard() -> None:
    # RFC 5869, appendix A, test cases 1 and 3
    secret = bytes.fromhex("0b" * 22)
    first = hkdf(secret, salt=bytes(range(13)), info=bytes(range(0xF0, 0xFA)), size=42)
    assert first.hex().startswith("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf")
    assert hkdf(secret, salt=b"", info=b"", size=42).hex().endswith("9d201395faa4b61a96c8")


def test_a_file_is_a_secret_a_line_in_order_of_preference() -> None:
    text = f"# secrets\nnew = {ONE}\n\nold = {base64.b64encode(bytes.fromhex(TWO)).decode()}  # until May\n"
    keyring = Keyring.parse(text, "keys")
    assert [(key.name, key.secret) for key in keyring.keys] == [("new", bytes(32)), ("old", b"\x11" * 32)]
    assert keyring.find(keyring.keys[1].id) == keyring.keys[1]
    assert keyring.find(bytes(8)) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no secret"),
        ("new", "line 1 is not 'name = secret'"),
        (f"new = {ONE[:62]}", "has 31 bytes, 32 are needed"),
        ("new = what?", "neither hexadecimal nor base64"),
        (f"a = {ONE}\nb = {ONE}", "line 2: 'b' is there twice"),
        ("".join(f"k{n} = {n:064x}\n" for n in range(5)), "has 5 secrets"),
    ],
)
def test_a_file_that_means_nothing_is_refused_with_its_line(text: str, complaint: str) -> None:
    with pytest.raises(ApplianceError) as caught:
        Keyring.parse(text, "keys")
    assert complaint in caught.value.message
    assert ONE not in str(caught.value)


def test_a_secret_is_neither_printed_nor_named_by_itself() -> None:
    key = Key("new", bytes(range(32)))
    assert bytes(range(32)).hex() not in repr(key)
    assert "secret" not in repr(key)
    assert key.id not in key.secret
    assert key.mac(b"body") != Key("new", bytes(32)).mac(b"body")
