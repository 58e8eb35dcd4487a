"""One test per rule about interfaces: what is refused, with which message and where."""

from __future__ import annotations

from typing import Any

import pytest

from appliance_interfaces.config import InterfacesConfig
from appliance_interfaces.verify import verify


def problems(**tables: dict[str, Any]) -> list[tuple[str, str, str]]:
    """``(path, message, severity)`` of everything that is wrong."""
    found = verify(InterfacesConfig.model_validate(tables))
    return [(".".join(str(part) for part in problem.path[1:]), problem.message, problem.severity) for problem in found]


def device(name: str, *addresses: str, **more: Any) -> dict[str, Any]:
    return {"device": name, "addresses": list(addresses), **more}


def test_a_good_configuration_has_no_problems() -> None:
    assert (
        problems(
            wan=device(
                "wan0",
                "198.51.100.201/24",
                "2001:db8:ffff::201/64",
                "fe80::1:1/64",
                routes=[
                    {"to": "default", "via": "198.51.100.1"},
                    {"to": "default", "via": "fe80::1"},
                    {"to": "10.0.0.0/8", "via": "198.51.100.2"},
                ],
            ),
            lan=device("lan0", "192.168.1.2/24", "192.168.1.9/24", "fe80::1:1/64", mtu=9000),
            dmz={"vlan": {"parent": "lan0", "id": 20}, "addresses": ["192.168.2.2/24"], "mtu": 1500},
            guest={"vlan": {"parent": "other0", "id": 20}},
            p2p=device("p0", "10.255.0.0/31"),
            host=device("h0", "10.254.0.0/32"),
            vip_only=device("v0", routes=[{"to": "default", "via": "203.0.113.1", "metric": 5}]),
        )
        == []
    )


def test_a_device_carries_one_interface() -> None:
    ((path, message, _),) = problems(wan=device("eth0"), lan=device("eth0"))
    assert (path, message) == (
        "lan.device",
        "the device eth0 already carries wan; an interface needs a device of its own",
    )


def test_a_network_is_on_one_interface() -> None:
    ((path, message, severity),) = problems(wan=device("a", "10.0.0.1/24"), lan=device("b", "10.0.0.2/24"))
    assert (path, severity) == ("lan.addresses.0", "error")
    assert message == "10.0.0.0/24 already is the network of wan; a network can be on one interface only"


def test_overlapping_networks_are_only_warned_about() -> None:
    ((path, message, severity),) = problems(wan=device("a", "10.0.0.1/8"), lan=device("b", "10.1.0.2/24"))
    assert (path, severity) == ("lan.addresses.0", "warning")
    assert message == "10.1.0.0/24 overlaps with 10.0.0.0/8 of wan: the smaller one wins"


def test_an_address_is_used_once() -> None:
    ((path, message, _),) = problems(wan=device("a", "10.0.0.1/24", "10.0.0.1/25"))
    assert (path, message) == ("wan.addresses.1", "10.0.0.1 already is an address of wan")
    found = problems(wan=device("a", "10.0.0.1/24"), lan=device("b", "10.0.0.1/32"))
    assert ("lan.addresses.0", "10.0.0.1 already is an address of wan", "error") in found


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("10.0.0.0/24", "10.0.0.0 is the network address of 10.0.0.0/24; the first one for a host is 10.0.0.1"),
        ("10.0.0.255/24", "10.0.0.255 is the broadcast address of 10.0.0.0/24; the last one for a host is 10.0.0.254"),
        ("2001:db8::/64", "2001:db8:: is the routers' anycast address of 2001:db8::/64; the first one for a host is"),
        ("224.0.0.1/24", "224.0.0.1 is a multicast address"),
        ("127.0.0.1/8", "127.0.0.1 is a loopback address"),
        ("0.0.0.0/0", "0.0.0.0 is the unspecified address"),
        ("::/64", ":: is the unspecified address"),
    ],
)
def test_addresses_that_no_host_can_have_are_refused(address: str, message: str) -> None:
    ((path, told, _),) = problems(wan=device("a", address))
    assert path == "wan.addresses.0"
    assert told.startswith(message)


def test_a_gateway_is_on_the_link() -> None:
    routes = [{"to": "default", "via": "192.0.2.1"}]
    ((path, message, _),) = problems(wan=device("a", "10.0.0.1/24", "10.1.0.1/24", "fd00::1/64", routes=routes))
    assert path == "wan.routes.0.via"
    assert message == "the gateway 192.0.2.1 is not on this link: its networks are 10.0.0.0/24, 10.1.0.0/24"


def test_a_gateway_is_somebody_else() -> None:
    ((path, message, _),) = problems(wan=device("a", "10.0.0.1/24", routes=[{"to": "default", "via": "10.0.0.1"}]))
    assert (path, message) == ("wan.routes.0.via", "the gateway 10.0.0.1 is this interface's own address")


def test_a_gateway_is_of_the_networks_family() -> None:
    routes = [{"to": "fd00::/8", "via": "10.0.0.9"}]
    ((path, message, _),) = problems(wan=device("a", "10.0.0.1/24", routes=routes))
    assert (path, message) == ("wan.routes.0.via", "an IPv4 gateway cannot lead to the IPv6 network")


def test_two_ways_to_one_place_need_two_metrics() -> None:
    def wans(metric: int | None) -> list[tuple[str, str, str]]:
        more = {} if metric is None else {"metric": metric}
        return problems(
            wan=device("a", "10.0.0.1/24", routes=[{"to": "default", "via": "10.0.0.9"}]),
            wan2=device("b", "10.1.0.1/24", routes=[{"to": "default", "via": "10.1.0.9", **more}]),
        )

    ((path, message, _),) = wans(None)
    assert path == "wan2.routes.0"
    assert message == "wan already has a default route with the same metric; give one of them another metric"
    assert wans(10) == []


def test_a_vlan_is_not_its_own_parent() -> None:
    ((path, message, _),) = problems(dmz={"device": "lan0", "vlan": {"parent": "lan0", "id": 20}})
    assert (path, message) == ("dmz.vlan.parent", "the VLAN and its parent are both called lan0")


def test_a_vlan_exists_once() -> None:
    vlan = {"parent": "lan0", "id": 20}
    ((path, message, _),) = problems(dmz={"vlan": vlan}, guest={"vlan": vlan, "device": "g0"})
    assert (path, message) == ("guest.vlan.id", "VLAN 20 of lan0 already is dmz")


def test_vlans_are_not_nested() -> None:
    ((path, message, _),) = problems(
        dmz={"vlan": {"parent": "lan0", "id": 20}}, inner={"device": "i0", "vlan": {"parent": "lan0.20", "id": 3}}
    )
    assert path == "inner.vlan.parent"
    assert message == "the parent lan0.20 is a VLAN itself; VLANs inside VLANs are not supported"


def test_a_vlan_is_not_wider_than_its_parent() -> None:
    ((path, message, _),) = problems(
        lan=device("lan0", mtu=1500), dmz={"vlan": {"parent": "lan0", "id": 20}, "mtu": 1504}
    )
    assert (path, message) == ("dmz.mtu", "a VLAN cannot have a larger MTU than its parent lan, which has 1500")


def test_a_default_device_name_has_to_fit() -> None:
    ((path, message, _),) = problems(dmz={"vlan": {"parent": "enp129s0f0np0", "id": 2000}})
    assert path == "dmz.vlan"
    assert message.startswith("the device would be called enp129s0f0np0.2000, but a name has at most 15 bytes")


def test_ipv6_needs_its_mtu() -> None:
    ((path, message, _),) = problems(wan=device("a", "fd00::1/64", mtu=1279))
    assert path == "wan.mtu"
    assert message.startswith("IPv6 needs an MTU of at least 1280")
    assert problems(wan=device("a", "10.0.0.1/24", mtu=1279)) == []
