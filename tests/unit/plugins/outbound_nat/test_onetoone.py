"""One-to-one NAT: maps for single addresses, rules for the rest, in both directions."""

from __future__ import annotations

from typing import Any

import pytest

from appliance_outbound_nat.config import OutboundNatConfig
from appliance_outbound_nat.onetoone import onetoone_part, pairs, parse_external, parse_network, reflected
from appliance_outbound_nat.parts import Part
from appliance_outbound_nat.scene import scene_of
from appliance_outbound_nat.selectors import BadValueError
from tests.unit.plugins.outbound_nat.fakes import MULTI_WAN, config, scene

MAIL = '[[one_to_one]]\nid = "mail"\ninterface = "wan2"\nexternal = "vip:wan2nat"\ninternal = "192.168.2.10"\n'
WEB = '[[one_to_one]]\nid = "web"\ninterface = "wan2"\nexternal = "203.0.113.50"\ninternal = "192.168.2.11"\n'
NETWORK = '[[one_to_one]]\nid = "net"\ninterface = "wan"\nexternal = "198.51.100.64/28"\ninternal = "192.168.2.64/28"\n'


def part(toml: str, **cluster: Any) -> Part:
    made = config(toml, **(MULTI_WAN | cluster))
    around = scene_of(made)
    return onetoone_part(pairs(made[OutboundNatConfig], around), around)


def test_single_addresses_share_a_map_in_each_direction() -> None:
    made = part(MAIL + WEB)
    assert [rule.text for rule in made.inward] == [
        "iifname @if_wan2 counter name ip daddr map @nat_map_hits_one_in_wan2_v4 "
        "dnat ip to ip daddr map @nat_map_one_in_wan2_v4"
    ]
    assert [rule.text for rule in made.outward] == [
        'oifname "wan20" counter name ip saddr map @nat_map_hits_one_out_wan2_v4 '
        "snat ip to ip saddr map @nat_map_one_out_wan2_v4"
    ]
    maps = {each.name: (each.key, each.value, each.elements) for each in made.sets}
    assert maps == {
        "nat_map_one_in_wan2_v4": (
            "ipv4_addr",
            "ipv4_addr",
            ("203.0.113.11 : 192.168.2.10", "203.0.113.50 : 192.168.2.11"),
        ),
        "nat_map_hits_one_in_wan2_v4": (
            "ipv4_addr",
            "counter",
            ('203.0.113.11 : "nat_one_mail"', '203.0.113.50 : "nat_one_web"'),
        ),
        "nat_map_one_out_wan2_v4": (
            "ipv4_addr",
            "ipv4_addr",
            ("192.168.2.10 : 203.0.113.11", "192.168.2.11 : 203.0.113.50"),
        ),
        "nat_map_hits_one_out_wan2_v4": (
            "ipv4_addr",
            "counter",
            ('192.168.2.10 : "nat_one_mail"', '192.168.2.11 : "nat_one_web"'),
        ),
    }
    assert made.counters == ("nat_one_mail", "nat_one_web")


def test_a_network_keeps_the_last_bits_of_its_addresses() -> None:
    made = part(NETWORK)
    assert [rule.text for rule in made.inward] == [
        'iifname @if_wan ip daddr 198.51.100.64/28 counter name "nat_one_net" dnat ip prefix to 192.168.2.64/28'
    ]
    assert [rule.text for rule in made.outward] == [
        'oifname "wan0" ip saddr 192.168.2.64/28 counter name "nat_one_net" snat ip prefix to 198.51.100.64/28'
    ]


def test_an_entry_for_some_destinations_is_asked_before_the_map() -> None:
    made = part(MAIL + WEB + 'destination = "192.0.2.0/24"\n')
    assert made.inward[0].text == (
        'iifname @if_wan2 ip daddr 203.0.113.50 ip saddr 192.0.2.0/24 counter name "nat_one_web" '
        "dnat ip to 192.168.2.11"
    )
    assert made.outward[0].text == (
        'oifname "wan20" ip saddr 192.168.2.11 ip daddr 192.0.2.0/24 counter name "nat_one_web" snat ip to 203.0.113.50'
    )
    assert "map" in made.inward[1].text


def test_with_reflection_clients_inside_are_led_there_too() -> None:
    made = part(MAIL + "reflection = true\n")
    assert made.inward[-1].text == (
        "iifname @nat_set_inside counter name ip daddr map @nat_map_hits_one_inside_v4 "
        "dnat ip to ip daddr map @nat_map_one_inside_v4"
    )
    restricted = part(WEB + 'destination = "192.0.2.0/24"\nreflection = true\n')
    assert restricted.inward[-1].text == (
        'iifname @nat_set_inside ip daddr 203.0.113.50 counter name "nat_one_web" dnat ip to 192.168.2.11'
    )


@pytest.mark.parametrize(
    ("toml", "expected"),
    [
        (MAIL, False),
        ("reflection = true\n" + MAIL, True),
        ("reflection = true\n" + MAIL + "reflection = false\n", False),
        (MAIL + "reflection = true\n", True),
    ],
)
def test_an_entry_follows_the_table_s_default_for_reflection(toml: str, expected: bool) -> None:
    made = config(toml, **MULTI_WAN)
    assert bool(reflected(pairs(made[OutboundNatConfig], scene_of(made)))) is expected


def test_what_is_disabled_adds_nothing() -> None:
    assert part(MAIL + "disabled = true\n") == Part()


def test_ipv6_has_maps_of_its_own() -> None:
    six = '[[one_to_one]]\ninterface = "wan"\nexternal = "vip:wan"\ninternal = "2001:db8:1::10"\n'
    made = config(six)
    found = onetoone_part(pairs(made[OutboundNatConfig], scene_of(made)), scene_of(made))
    assert found.inward[0].text.endswith("dnat ip6 to ip6 daddr map @nat_map_one_in_wan_v6")
    assert found.sets[0].elements == ("2001:db8:ffff::200 : 2001:db8:1::10",)


def test_each_rule_and_map_knows_its_line() -> None:
    made = part(MAIL + NETWORK)
    assert {rule.origin for rule in (*made.inward, *made.outward)} == {
        ("outbound_nat", "one_to_one", 0),
        ("outbound_nat", "one_to_one", 1),
    }
    assert {each.origin for each in made.sets} == {("outbound_nat", "one_to_one", 0)}


def test_what_cannot_be_an_end_of_it_is_refused() -> None:
    with pytest.raises(BadValueError, match="is a range; write an address or a network"):
        parse_network("10.0.0.1-10.0.0.4", scene())
    with pytest.raises(BadValueError, match="there is no virtual host 'x'"):
        parse_external("vip:x", 4, scene())
    with pytest.raises(BadValueError, match="'wan' has no IPv6 address, and the other end is IPv6"):
        parse_external("vip:wan", 6, scene(**MULTI_WAN))
