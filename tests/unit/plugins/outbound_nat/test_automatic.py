"""The automatic rules: what the book's automatic mode makes, but by the virtual hosts."""

from __future__ import annotations

from appliance_outbound_nat.automatic import automatic_rules
from tests.unit.plugins.outbound_nat.fakes import MULTI_WAN, scene


def test_each_wan_has_key_exchange_first_and_then_every_internal_network() -> None:
    made = [(rule.interface, rule.description, rule.translation) for rule in automatic_rules(scene(**MULTI_WAN))]
    assert made == [
        ("wan", "Auto created rule for ISAKMP - LAN to WAN", "vip:wan"),
        ("wan", "Auto created rule for ISAKMP - DMZ to WAN", "vip:wan"),
        ("wan", "Auto created rule - LAN to WAN", "vip:wan"),
        ("wan", "Auto created rule - DMZ to WAN", "vip:wan"),
        ("wan2", "Auto created rule for ISAKMP - LAN to WAN2", "vip:wan2"),
        ("wan2", "Auto created rule for ISAKMP - DMZ to WAN2", "vip:wan2"),
        ("wan2", "Auto created rule - LAN to WAN2", "vip:wan2"),
        ("wan2", "Auto created rule - DMZ to WAN2", "vip:wan2"),
    ]


def test_key_exchange_keeps_its_port() -> None:
    rule = automatic_rules(scene())[0]
    assert (rule.protocol, rule.source_port, rule.destination_port, rule.static_port) == ("udp", 500, 500, True)


def test_without_a_virtual_host_of_this_family_the_node_s_own_address_is_used() -> None:
    assert {rule.translation for rule in automatic_rules(scene(vips={"six": ["wan", "2001:db8:ffff::9/64"]}))} == {
        "interface"
    }


def test_neither_ipv6_nor_the_sync_network_is_translated() -> None:
    assert {rule.source for rule in automatic_rules(scene())} == {"192.168.1.0/24"}


def test_without_a_wan_there_are_none() -> None:
    assert automatic_rules(scene(routers={})) == ()
