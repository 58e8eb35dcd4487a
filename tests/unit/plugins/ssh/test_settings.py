"""Who may connect at a place."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from appliance_ssh.settings import Place

SOURCES = (ip_network("192.168.1.0/24"), ip_network("fe80::/10"))


@pytest.mark.parametrize(
    ("source", "expected"), [("192.168.1.9", True), ("192.168.2.9", False), ("fe80::9%lan0", True), ("::1", False)]
)
def test_a_client_is_known_by_its_network(source: str, expected: bool) -> None:
    place = Place(interface="lan", device="lan0", address="192.168.1.2", sources=SOURCES)
    assert place.admits(source) is expected
