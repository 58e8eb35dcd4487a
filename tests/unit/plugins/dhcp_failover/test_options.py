"""Values of options as bytes."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from appliance_dhcp_failover.options import DATA_MAX, Kind, addresses, encode


@pytest.mark.parametrize(
    ("kind", "value", "data"),
    [
        ("text", " pxe.0 ", b"pxe.0"),
        ("address", "192.168.1.5, 192.168.1.6", b"\xc0\xa8\x01\x05\xc0\xa8\x01\x06"),
        ("number8", "1,255", b"\x01\xff"),
        ("number16", "258", b"\x01\x02"),
        ("number32", "3600", b"\x00\x00\x0e\x10"),
        ("hex", "0a:1B", b"\x0a\x1b"),
        ("hex", "0a1b", b"\x0a\x1b"),
    ],
)
def test_each_kind_has_its_bytes(kind: Kind, value: str, data: bytes) -> None:
    assert encode(kind, value) == data


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("text", "  ", "the value is empty"),
        ("text", "x" * 256, "has 256 bytes, an option has room for 255"),
        ("address", "192.168.1.5, ::1", "IPv4 addresses are needed"),
        ("number8", "256", "numbers from 0 to 255 are needed"),
        ("number16", "-1", "numbers from 0 to 65535 are needed"),
        ("number32", "1e3", "numbers from 0 to 4294967295 are needed"),
        ("hex", "0a1", "hexadecimal digits in pairs are needed"),
    ],
)
def test_what_is_wrong_is_said(kind: Kind, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode(kind, value)


def test_addresses_follow_each_other() -> None:
    assert addresses([IPv4Address("1.2.3.4"), IPv4Address("5.6.7.8")]) == bytes(range(1, 9))
    assert len(encode("text", "x" * DATA_MAX)) == DATA_MAX
