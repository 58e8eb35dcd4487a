"""Which source address adverts carry."""

from __future__ import annotations

from ipaddress import ip_address, ip_interface

import pytest

from appliance.net.fastpath import AddressInfo
from appliance_carp.port import Port, choose_sources
from appliance_carp.settings import PortSettings


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ([], {}),
        (["192.168.1.2", "10.0.0.2"], {4: "192.168.1.2"}),
        (["2001:db8::2", "fe80::1"], {6: "fe80::1"}),
        (["fe80::1", "fe80::2", "2001:db8::2"], {6: "fe80::1"}),
        (["2001:db8::2"], {6: "2001:db8::2"}),
        (["192.168.1.2", "fe80::1"], {4: "192.168.1.2", 6: "fe80::1"}),
    ],
)
def test_the_first_address_is_the_source_and_for_ipv6_the_link_local_one(
    addresses: list[str], expected: dict[int, str]
) -> None:
    assert choose_sources(map(ip_address, addresses)) == expected


def port_with(*addresses: str) -> Port:
    port = Port(PortSettings(interface="lan", device="lan0", addresses=(ip_interface("192.168.1.2/24"),)))
    port.learn_addresses(
        AddressInfo(2, 2 if "." in text else 10, ip_address(text), 24, 0, ip_address(text)) for text in addresses
    )
    return port


def test_an_interface_without_addresses_sends_from_the_unspecified_one() -> None:
    assert [port_with().source(family) for family in (4, 6)] == ["0.0.0.0", "::"]


def test_a_peer_beyond_the_link_is_addressed_from_a_routable_source() -> None:
    port = port_with("fe80::1", "2001:db8::2")
    assert port.unicast_source(ip_address("2001:db8:9::9")) == "2001:db8::2"
    assert port.unicast_source(ip_address("fe80::9")) == "fe80::1"


def test_a_port_without_a_device_sends_nothing_and_says_so() -> None:
    port = port_with("192.168.1.2")
    assert not port.send_advert(b"x" * 36, 4, "00:00:5e:00:01:01")
    assert not port.send_unicast(b"x" * 36, ip_address("192.168.1.3"))
