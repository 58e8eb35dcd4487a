"""Rules become conditions, one alternative or one of each family."""

from __future__ import annotations

from typing import Any

import pytest

from appliance_firewall.config import RuleTable
from appliance_firewall.expand import alternatives, families_of_types, protocol_numbers
from appliance_firewall.matching import conditions_text
from appliance_firewall.sides import Reader
from tests.unit.plugins.firewall.paper import rule, world

ALIASES = {
    "mail": {"type": "hosts", "entries": ["192.168.2.10", "2001:db8:2::10"]},
    "old": {"type": "networks", "entries": ["10.0.0.0/8"]},
    "nobody": {"type": "hosts"},
    "web": {"type": "ports", "entries": [80, 443]},
    "none": {"type": "ports"},
}


def written(**values: Any) -> list[str]:
    of = world(alias=ALIASES, schedule={"office": {"times": ["08:00-17:00"]}})
    made = RuleTable.model_validate(rule(**values))
    return [conditions_text(each, lambda *_: "pooled") for each in alternatives(made, Reader(of).sides(made))]


def test_a_rule_without_addresses_is_one_for_both_families() -> None:
    assert written() == [""]
    assert written(protocol="tcp", destination_port=443) == ["meta l4proto 6 th dport 443"]
    assert written(protocol="icmp") == ["meta l4proto { 1, 58 }"]
    assert written(protocol="tcp/udp", destination_port=53) == ["meta l4proto { 6, 17 } th dport 53"]


def test_a_rule_for_one_family_says_so() -> None:
    assert written(family="ipv4") == ["meta nfproto ipv4"]
    assert written(family="ipv6", protocol="icmp") == ["meta nfproto ipv6 meta l4proto 58"]
    assert written(protocol="icmpv6") == ["meta nfproto ipv6 meta l4proto 58"]


def test_addresses_make_an_alternative_for_each_family_that_both_sides_have() -> None:
    assert written(source="net:lan") == [
        "ip saddr { 192.168.1.0/24, 192.168.9.0/24 }",
        "ip6 saddr 2001:db8:1::/64",
    ]
    assert written(source="net:lan", destination="10.0.0.1") == [
        "ip saddr { 192.168.1.0/24, 192.168.9.0/24 } ip daddr 10.0.0.1"
    ]
    assert written(source="net:lan", family="ipv6") == ["ip6 saddr 2001:db8:1::/64"]


def test_an_alias_is_looked_up_and_mixed_lists_share_a_set() -> None:
    assert written(source="mail") == ["ip saddr @alias_mail_v4", "ip6 saddr @alias_mail_v6"]
    assert written(source=["old", "192.0.2.1"]) == ["ip saddr @pooled"]
    assert written(source=["mail", "old"]) == ["ip saddr @pooled", "ip6 saddr @alias_mail_v6"]


def test_an_inverted_list_is_none_of_its_parts() -> None:
    assert written(source=["!mail", "!192.0.2.1"], family="ipv4") == [
        "ip saddr != @alias_mail_v4 ip saddr != 192.0.2.1"
    ]
    assert written(destination="!192.0.2.1") == ["ip daddr != 192.0.2.1"]


def test_everything_but_a_name_is_everything_in_the_family_that_the_name_has_not() -> None:
    assert written(source="!old") == ["ip saddr != @alias_old_v4", "meta nfproto ipv6"]


def test_ports_may_be_lists_aliases_and_inverted() -> None:
    assert written(protocol="udp", source_port=[53, "1000-2000"]) == ["meta l4proto 17 th sport { 53, 1000-2000 }"]
    assert written(protocol="tcp", destination_port="web") == ["meta l4proto 6 th dport @alias_web_port"]
    assert written(protocol="tcp", destination_port="!web") == ["meta l4proto 6 th dport != @alias_web_port"]


def test_icmp_types_are_those_that_the_family_has() -> None:
    assert written(protocol="icmp", icmp_types=["echo-request", "packet-too-big"]) == [
        "meta nfproto ipv4 meta l4proto 1 icmp type echo-request",
        "meta nfproto ipv6 meta l4proto 58 icmpv6 type { echo-request, packet-too-big }",
    ]
    assert written(protocol="icmp", icmp_types=["nd-redirect"]) == [
        "meta nfproto ipv6 meta l4proto 58 icmpv6 type nd-redirect"
    ]
    assert families_of_types(["timestamp-request"]) == {4}


def test_a_schedule_is_a_set_that_has_to_hold_every_packet() -> None:
    assert written(schedule="office") == ["meta nfproto @fw_schedule_office"]


def test_what_is_empty_matches_nothing_and_everything_but_that_matches_all() -> None:
    assert written(source="nobody") == []
    assert written(source="!nobody") == ["meta nfproto ipv4", "meta nfproto ipv6"]
    assert written(protocol="tcp", destination_port="none") == []
    assert written(protocol="tcp", destination_port="!none") == ["meta l4proto 6"]


@pytest.mark.parametrize(
    ("protocol", "numbers"),
    [("any", ()), ("tcp", (6,)), ("tcp/udp", (6, 17)), ("icmp", (1, 58)), ("carp", (112,)), (47, (47,)), ("47", (47,)),
     ("tpc", None), (256, None), (-1, None), ("4 7", None), ("9" * 5000, None)],
)  # fmt: skip
def test_protocols_have_names_and_numbers(protocol: str | int, numbers: tuple[int, ...] | None) -> None:
    assert protocol_numbers(protocol) == numbers
