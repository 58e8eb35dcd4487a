"""Echo requests and replies, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net.frames import internet_checksum
from appliance_gateways.icmp import Echo, parse_reply, request

COOKIE = b"8 bytes!"
IP_HEADER = bytes((0x45,)) + bytes(19)


def reply(version: int, identifier: int = 7, sequence: int = 9) -> bytes:
    """What comes back for a request, as a raw socket delivers it."""
    message = bytearray(request(version, identifier, sequence, COOKIE))
    message[0] = 0 if version == 4 else 129
    if version == 6:
        return bytes(message)
    message[2:4] = b"\0\0"
    message[2:4] = internet_checksum(bytes(message)).to_bytes(2, "big")
    return IP_HEADER + bytes(message)


def test_a_request_of_ipv4_carries_its_checksum() -> None:
    assert request(4, 0x1234, 1, b"") == bytes.fromhex("0800e5ca12340001")
    assert internet_checksum(request(4, 7, 9, COOKIE)) == 0


def test_that_of_ipv6_is_left_to_the_kernel() -> None:
    assert request(6, 0x1234, 1, b"x") == bytes.fromhex("800000001234000178")


@pytest.mark.parametrize("version", [4, 6])
def test_an_answer_is_read(version: int) -> None:
    assert parse_reply(version, reply(version)) == Echo(7, 9, COOKIE)


def test_options_of_the_ip_header_are_skipped() -> None:
    assert parse_reply(4, bytes((0x46,)) + bytes(23) + reply(4)[20:]) == Echo(7, 9, COOKIE)


@pytest.mark.parametrize(
    ("version", "data"),
    [
        (4, b""),
        (4, IP_HEADER),
        (4, bytes((0x41,)) + bytes(30)),
        (4, IP_HEADER + request(4, 7, 9, COOKIE)),
        (4, reply(4)[:-1] + b"?"),
        (6, b"\x81\0\0"),
        (6, request(6, 7, 9, COOKIE)),
        (6, b"\x81\x01" + reply(6)[2:]),
    ],
)
def test_anything_else_is_nothing(version: int, data: bytes) -> None:
    assert parse_reply(version, data) is None


@given(st.sampled_from([4, 6]), st.binary(max_size=100))
def test_no_bytes_upset_it(version: int, data: bytes) -> None:
    found = parse_reply(version, data)
    assert found is None or len(found.payload) <= len(data)
