"""Attributes of ctnetlink, one by one."""

from __future__ import annotations

import pytest

from appliance.net.conntrack import attributes as a
from appliance.net.conntrack.entry import Malformed


def test_an_attribute_is_padded_but_its_length_is_not() -> None:
    assert a.be16(2, 0x1234).hex() == "0600020012340000"


def test_numbers_are_in_network_order() -> None:
    assert a.be32(7, 258)[4:] == b"\0\0\1\2"


def test_nested_attributes_are_marked_and_found_again() -> None:
    whole = a.nested(4, a.nested(1, a.u8(1, 3), a.be16(2, 9)))
    [(kind, inner)] = a.walk(whole)
    [(inner_kind, leaves)] = a.walk(inner)
    assert whole[2:4] == (4 | 0x8000).to_bytes(2, "little")
    assert (kind, inner_kind) == (4, 1)
    assert list(a.walk(leaves)) == [(1, b"\3"), (2, b"\0\x09")]


def test_nothing_is_walked_in_nothing() -> None:
    assert list(a.walk(b"")) == []


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\4\0", id="a part of a header"),
        pytest.param(b"\3\0\1\0", id="shorter than its header"),
        pytest.param(b"\x09\0\1\0\0\0\0\0", id="longer than what is there"),
        pytest.param(b"\4\0\1\0\0", id="a byte too many"),
    ],
)
def test_lengths_that_cannot_be_are_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        list(a.walk(data))


def test_a_number_of_another_size_is_refused() -> None:
    assert a.number(b"\1\0", 2) == 256
    with pytest.raises(Malformed, match="3 bytes instead of 4"):
        a.number(b"\0\0\0", 4)


def test_a_request_asks_for_no_acknowledgement() -> None:
    message = a.message(a.CT_NEW, a.NLM_F_CREATE, 2, a.be32(a.MARK, 1), 7)
    length, kind, flags, sequence, port = a.HEADER.unpack_from(message)
    assert (length, kind, sequence, port) == (len(message), 0x100, 7, 0)
    assert flags == a.NLM_F_REQUEST | a.NLM_F_CREATE
