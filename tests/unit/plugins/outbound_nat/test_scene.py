"""What the plugin makes of the tables around it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from appliance.config import Config
from appliance.config.model import NodeTable
from appliance_outbound_nat.scene import scene_of
from tests.unit.plugins.outbound_nat.fakes import MULTI_WAN, scene


def test_a_wan_has_a_gateway_and_the_sync_interface_is_not_inside() -> None:
    found = scene(**MULTI_WAN)
    assert found.wans == ("wan", "wan2")
    assert found.inside == ("lan", "dmz")


def test_a_gateway_of_the_gateways_table_makes_a_wan_too() -> None:
    assert scene(routers={}, gateway_interfaces=["lan"]).wans == ("lan",)
    assert scene(routers={}).wans == ()


def test_the_first_virtual_host_with_such_an_address_stands_for_an_interface() -> None:
    found = scene(
        vips={"six": ["wan", "2001:db8:ffff::9/64"], "both": ["wan", "198.51.100.9/24", "2001:db8:ffff::8/64"]}
    )
    hosts = [found.shared_host("wan", version) for version in (4, 6)]
    assert [host.name if host else None for host in hosts] == ["both", "six"]
    assert found.shared_host("lan", 4) is None


def test_without_a_virtual_host_the_node_itself_stands_for_an_interface() -> None:
    found = scene(vips={})
    assert found.shared_address("lan", 4) == ip_address("192.168.1.2")
    assert found.shared_address("sync", 6) is None


def test_near_a_machine_the_address_in_its_network_is_chosen() -> None:
    found = scene(stacked={"lan": ["10.9.0.1/24"]})
    assert found.shared_address("lan", 4, near=ip_address("10.9.0.7")) == ip_address("10.9.0.1")
    assert found.shared_address("lan", 4, near=ip_address("192.168.1.7")) == ip_address("192.168.1.1")
    assert found.shared_address("lan", 4, near=ip_address("172.31.0.7")) == ip_address("192.168.1.1")


def test_link_local_addresses_stand_for_nothing() -> None:
    found = scene(interfaces={"wan": ["fe80::2/64"]}, vips={"v": ["wan", "fe80::1/64"]})
    assert (found.own_address("wan", 6), found.shared_host("wan", 6), found.networks("wan")) == (None, None, ())


def test_networks_of_virtual_hosts_are_behind_an_interface_too_and_single_addresses_are_not() -> None:
    found = scene(
        interfaces={"lan": ["192.168.1.2/24"]}, vips={"v": ["lan", "10.1.0.1/16"]}, stacked={"v": ["10.2.0.1/32"]}
    )
    assert found.networks("lan") == (ip_network("192.168.1.0/24"), ip_network("10.1.0.0/16"))


def test_addresses_of_a_network_of_the_interface_have_to_be_held_and_others_are_routed() -> None:
    found = scene(stacked={"wan": ["198.51.100.202/24"]})

    def is_answered(first: str, last: str) -> bool:
        return found.is_answered("wan", ip_address(first), ip_address(last))

    assert is_answered("198.51.100.200", "198.51.100.202")
    assert not is_answered("198.51.100.200", "198.51.100.203")
    assert not is_answered("198.51.99.0", "198.51.101.255")
    assert is_answered("203.0.113.0", "203.0.113.255")
    assert is_answered("2001:db8:ffff::200", "2001:db8:ffff::201")


def test_a_machine_is_in_the_smallest_network_that_contains_it() -> None:
    found = scene(stacked={"lan": ["10.0.0.1/8"], "wan": ["10.9.0.1/16"]})
    wan, lan = ("wan", ip_network("10.9.0.0/16")), ("lan", ip_network("10.0.0.0/8"))
    assert [found.segment_of(ip_address(each)) for each in ("10.9.0.7", "10.8.0.7", "192.0.2.7")] == [wan, lan, None]
    assert found.segment_of(ip_address("2001:db8:1::7")) == ("lan", ip_network("2001:db8:1::/64"))


def test_packets_come_in_at_the_device_and_at_those_of_the_virtual_hosts() -> None:
    assert scene().devices("wan") == ("wan0", "wan0.v1")


def test_families_of_an_alias_are_those_of_its_addresses() -> None:
    families = scene().alias_families
    assert (families["web"], families["six"], families["empty"]) == ({4}, {6}, {4, 6})


def test_a_virtual_host_on_an_interface_that_is_not_there_is_left_out() -> None:
    assert scene(interfaces={"lan": ["192.168.1.2/24"]}).vips.keys() == {"lan"}


def test_a_configuration_without_any_other_table_has_nothing() -> None:
    found = scene_of(Config({}, node=NodeTable(name="fw1")))
    assert (found.interfaces, found.vips, found.aliases, found.wans, found.inside) == ({}, {}, {}, (), ())
