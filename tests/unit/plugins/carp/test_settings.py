"""What follows from the settings alone."""

from __future__ import annotations

import pickle
from ipaddress import ip_interface, ip_network

import pytest

from appliance_carp.settings import VipSettings, place

LAN4, LAN6 = ip_network("192.168.1.0/24"), ip_network("2001:db8:1::/64")


def vip(*, own: bool = True) -> VipSettings:
    return VipSettings(
        name="lan",
        interface="lan",
        vhid=7,
        addresses=(ip_interface("192.168.1.1/24"), ip_interface("2001:db8:1::1/64")),
        aliases=(ip_interface("10.20.0.1/16"),),
        password="secret",
        advbase=1,
        advskew=0,
        own_networks=(LAN4, LAN6) if own else (),
    )


@pytest.mark.parametrize(
    ("address", "placed"),
    [
        ("192.168.1.1/24", "192.168.1.1/32"),
        ("2001:db8:1::1/64", "2001:db8:1::1/128"),
        ("10.20.0.1/16", "10.20.0.1/16"),
        ("192.0.2.7/32", "192.0.2.7/32"),
        ("2001:db8:9::1/56", "2001:db8:9::1/56"),
        ("fe80::1:1/64", "fe80::1:1/64"),
    ],
)
def test_an_address_brings_a_route_only_to_a_network_that_is_reached_in_no_other_way(address: str, placed: str) -> None:
    assert str(place(ip_interface(address), (LAN4, LAN6))) == placed


def test_the_addresses_of_an_interface_without_its_own_bring_their_network_along() -> None:
    assert [str(each) for each in vip(own=False).placed] == ["192.168.1.1/24", "2001:db8:1::1/64", "10.20.0.1/16"]
    assert [str(each) for each in vip().placed] == ["192.168.1.1/32", "2001:db8:1::1/128", "10.20.0.1/16"]


def test_settings_reach_the_service_process_unchanged() -> None:
    assert pickle.loads(pickle.dumps(vip())) == vip()
    assert vip() != vip(own=False)


def test_mac_families_and_fingerprint_follow_from_vhid_and_addresses() -> None:
    assert vip().mac == "00:00:5e:00:01:07"
    assert vip().families == {4, 6}
    assert vip().fingerprint == vip(own=False).fingerprint
    assert "secret" not in repr(vip())
