"""Who may read at a place."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from appliance_metrics.settings import Place

PLACE = Place(
    interface="lan",
    device="lan0",
    address="192.168.1.2",
    readers=(ip_network("192.168.1.0/24"), ip_network("fe80::/10")),
)


@pytest.mark.parametrize(
    ("source", "expected"),
    [("192.168.1.254", True), ("192.168.2.1", False), ("fe80::5%lan0", True), ("2001:db8::1", False)],
)
def test_a_client_is_known_by_its_network(source: str, expected: bool) -> None:
    assert PLACE.admits(source) is expected
