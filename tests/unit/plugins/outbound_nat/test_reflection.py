"""Clients inside that use an address outside."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from appliance_outbound_nat.parts import Part, Reflected
from appliance_outbound_nat.reflection import reflection_part
from tests.unit.plugins.outbound_nat.fakes import MULTI_WAN, scene


def made(*ends: tuple[str, str], **cluster: Any) -> Part:
    reflected = [
        Reflected(external=ip_network(external), target=ip_network(target), origin=("outbound_nat",))
        for external, target in ends
    ]
    return reflection_part(reflected, scene(**cluster))


def test_nothing_reflected_adds_nothing() -> None:
    assert made() == Part()


def test_the_machine_sees_the_virtual_host_of_its_own_network() -> None:
    part = made(("203.0.113.11", "192.168.2.10"), **MULTI_WAN)
    assert [rule.text for rule in part.outward] == [
        'oifname "dmz0" ct status dnat ct original ip daddr @nat_set_reflected_v4_0 ip daddr 192.168.2.0/24 '
        "ip saddr @nat_set_inside_v4 snat ip to 192.168.2.1"
    ]
    sets = {each.name: each.elements for each in part.sets}
    assert sets["nat_set_inside"] == ('"lan0"', '"lan0.v4"', '"dmz0"', '"dmz0.v5"')
    assert sets["nat_set_inside_v4"] == ("192.168.1.0/24", "192.168.2.0/24")
    assert sets["nat_set_reflected_v4_0"] == ("203.0.113.11",)


def test_each_network_with_a_target_has_a_rule_of_its_own() -> None:
    part = made(("198.51.100.200", "192.168.1.10"), ("2001:db8:ffff::200", "2001:db8:1::10"))
    assert [rule.text.rpartition("snat ")[2] for rule in part.outward] == ["ip to 192.168.1.1", "ip6 to 2001:db8:1::1"]


def test_overlapping_destinations_are_one_element() -> None:
    part = made(("198.51.100.0/28", "192.168.1.16/28"), ("198.51.100.7", "192.168.1.10"))
    assert part.sets[-1].elements == ("198.51.100.0/28",)


def test_a_machine_behind_a_router_gets_no_source_translation() -> None:
    part = made(("198.51.100.200", "10.77.0.1"))
    assert part.outward == ()


def test_where_the_cluster_has_no_address_there_is_nothing_to_translate_to() -> None:
    bare = scene(interfaces={"lan": ["fe80::2/64"], "wan": ["198.51.100.201/24"]}, vips={}, routers={})
    reflected = [Reflected(external=ip_network("198.51.100.200"), target=ip_network("192.168.1.10"), origin=())]
    assert reflection_part(reflected, bare).outward == ()
