"""Outbound rules: order, modes, families, and their text."""

from __future__ import annotations

import re

import pytest

from appliance_outbound_nat.config import OutboundNatConfig
from appliance_outbound_nat.outbound import outbound_part, outbound_rules
from appliance_outbound_nat.scene import scene_of
from tests.unit.plugins.outbound_nat.fakes import config

LAN = '[[rule]]\ninterface = "wan"\nsource = "net:lan"\ntranslation = "vip:wan"\n'


def texts(toml: str, **cluster: object) -> list[str]:
    made = config(toml, **cluster)
    scene = scene_of(made)
    part = outbound_part(outbound_rules(made[OutboundNatConfig], scene), scene)
    return [_without_counter(rule.text) for rule in part.outward]


def _without_counter(text: str) -> str:
    return re.sub(r' counter name "[^"]*"', "", text)


def manual(*lines: str) -> list[str]:
    head = 'mode = "manual"\n[[rule]]\ninterface = "wan"\n'
    return texts(head + "\n".join(line for line in lines))


def test_automatic_translates_internal_networks_to_the_virtual_host() -> None:
    assert texts("") == [
        'oifname "wan0" meta l4proto udp ip saddr 192.168.1.0/24 th sport 500 th dport 500 snat ip to 198.51.100.200',
        'oifname "wan0" ip saddr 192.168.1.0/24 snat ip to 198.51.100.200',
    ]


def test_automatic_translates_to_the_node_where_there_is_no_virtual_host() -> None:
    assert texts("", vips={})[1] == 'oifname "wan0" ip saddr 192.168.1.0/24 snat ip to 198.51.100.201'


def test_automatic_leaves_a_wan_without_ipv4_alone() -> None:
    six = {"wan": ["2001:db8:ffff::201/64"], "lan": ["192.168.1.2/24"]}
    assert texts("", interfaces=six, vips={}) == []


@pytest.mark.parametrize(("mode", "kinds"), [("hybrid", "maa"), ("manual", "m"), ("automatic", "aa"), ("disabled", "")])
def test_which_rules_a_mode_has_and_in_which_order(mode: str, kinds: str) -> None:
    made = config(f'mode = "{mode}"\n{LAN}')
    rules = outbound_rules(made[OutboundNatConfig], scene_of(made))
    assert "".join("a" if each.automatic else "m" for each in rules) == kinds


def test_a_rule_with_everything() -> None:
    assert manual(
        'source = "!net:lan"',
        'source_port = "1024-65535"',
        'destination = "web"',
        'destination_port = "web_ports"',
        'protocol = "tcp/udp"',
        'translation = "vip:wan"',
        'port = "2000-3000"',
    ) == [
        'oifname "wan0" meta l4proto { tcp, udp } ip saddr != 192.168.1.0/24 th sport 1024-65535 '
        "ip daddr @alias_web_v4 th dport @alias_web_ports_port snat ip to 198.51.100.200:2000-3000"
    ]


def test_a_rule_for_everything_holds_for_ipv4_alone() -> None:
    assert manual('translation = "vip:wan"') == ['oifname "wan0" meta nfproto ipv4 snat ip to 198.51.100.200']


def test_a_rule_that_speaks_of_ipv6_translates_ipv6() -> None:
    assert manual('source = "2001:db8:1::/64"', 'translation = "vip:wan"') == [
        'oifname "wan0" ip6 saddr 2001:db8:1::/64 snat ip6 to 2001:db8:ffff::200'
    ]


def test_no_translation_holds_for_both_families() -> None:
    assert manual('source = "net:lan"', 'translation = "none"') == [
        'oifname "wan0" ip saddr 192.168.1.0/24 accept',
        'oifname "wan0" ip6 saddr 2001:db8:1::/64 accept',
    ]


def test_ports_are_kept_unless_asked_otherwise() -> None:
    assert manual('source = "net:lan"', 'translation = "vip:wan"', "static_port = true")[0].endswith(
        "snat ip to 198.51.100.200"
    )
    assert manual('source = "net:lan"', 'translation = "vip:wan"', "randomize_ports = true")[0].endswith("fully-random")


def test_a_disabled_rule_is_listed_and_not_in_force() -> None:
    made = config(f'mode = "manual"\n{LAN}disabled = true')
    scene = scene_of(made)
    rules = outbound_rules(made[OutboundNatConfig], scene)
    assert [each.counter for each in rules] == [""]
    assert outbound_part(rules, scene).outward == ()


def test_each_rule_knows_its_line_and_has_a_counter() -> None:
    made = config(f'mode = "hybrid"\n{LAN}id = "office"\n')
    scene = scene_of(made)
    part = outbound_part(outbound_rules(made[OutboundNatConfig], scene), scene)
    assert [rule.origin for rule in part.outward] == [("outbound_nat", "rule", 0), *[("outbound_nat", "mode")] * 2]
    assert part.counters[0] == "nat_out_office"
    assert all(f'counter name "{name}"' in rule.text for name, rule in zip(part.counters, part.outward, strict=True))


def test_counters_stay_when_rules_change_places_and_when_they_become_manual() -> None:
    def counters(toml: str) -> set[str]:
        made = config(toml)
        return {each.counter for each in outbound_rules(made[OutboundNatConfig], scene_of(made))}

    other = LAN.replace("net:lan", "10.0.0.0/8")
    assert counters(f'mode = "manual"\n{LAN}{other}') == counters(f'mode = "manual"\n{other}{LAN}')
    all_by_hand = LAN.replace("net:lan", "192.168.1.0/24")
    assert counters(f'mode = "manual"\n{all_by_hand}') < counters("")
