"""Port forwards in nftables: maps, rules where order or source matters, and what the filter passes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance_outbound_nat.config import OutboundNatConfig
from appliance_outbound_nat.forwardrules import _split, forwards_part
from appliance_outbound_nat.forwards import Forward, forwards
from appliance_outbound_nat.parts import Part
from appliance_outbound_nat.scene import scene_of
from tests.unit.plugins.outbound_nat.fakes import config


def forward(id_: str, **values: Any) -> str:
    table = {"interface": "wan", "destination": "vip:wan", "port": 8080, "target": "192.168.1.10", "id": id_} | values
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for key, value in table.items()
    ]
    return "\n".join(["[[port_forward]]", *lines, ""])


def found(toml: str) -> tuple[Forward, ...]:
    made = config(toml)
    return forwards(made[OutboundNatConfig], scene_of(made))


def part(toml: str) -> Part:
    return forwards_part(found(toml))


def test_forwards_of_one_port_share_a_map_and_a_set_of_what_passes() -> None:
    made = part(forward("a", target_port=80) + forward("b", port=8443, protocol="tcp/udp"))
    assert [rule.text for rule in made.inward] == [
        "iifname @if_wan meta l4proto { tcp, udp } "
        "counter name meta l4proto . ip daddr . th dport map @nat_map_hits_port_wan_v4 "
        "dnat ip to meta l4proto . ip daddr . th dport map @nat_map_port_wan_v4"
    ]
    sets = {each.name: each.elements for each in made.sets}
    assert sets == {
        "nat_map_port_wan_v4": (
            "tcp . 198.51.100.200 . 8080 : 192.168.1.10 . 80",
            "tcp . 198.51.100.200 . 8443 : 192.168.1.10 . 8443",
            "udp . 198.51.100.200 . 8443 : 192.168.1.10 . 8443",
        ),
        "nat_map_hits_port_wan_v4": (
            'tcp . 198.51.100.200 . 8080 : "nat_port_a"',
            'tcp . 198.51.100.200 . 8443 : "nat_port_b"',
            'udp . 198.51.100.200 . 8443 : "nat_port_b"',
        ),
        "nat_set_pass_wan_tcp_v4": (
            "198.51.100.200 . 8080 . 192.168.1.10 . 80",
            "198.51.100.200 . 8443 . 192.168.1.10 . 8443",
        ),
        "nat_set_pass_wan_udp_v4": ("198.51.100.200 . 8443 . 192.168.1.10 . 8443",),
    }
    assert made.passing[0].text == (
        "iifname @if_wan ct status dnat meta l4proto tcp "
        "ct original ip daddr . ct original proto-dst . ip daddr . th dport @nat_set_pass_wan_tcp_v4 accept"
    )
    assert made.counters == ("nat_port_a", "nat_port_b")


def test_without_a_filter_rule_nothing_is_passed() -> None:
    assert part(forward("a", filter="none")).passing == ()
    assert part(forward("a", filter="none", port="1000-2000")).passing == ()


def test_a_range_of_ports_is_a_rule() -> None:
    made = part(forward("a", port="1000-2000"))
    assert [rule.text for rule in made.inward] == [
        "iifname @if_wan meta l4proto tcp ip daddr 198.51.100.200 th dport 1000-2000 "
        'counter name "nat_port_a" dnat ip to 192.168.1.10'
    ]
    assert [rule.text for rule in made.passing] == [
        "iifname @if_wan ct status dnat meta l4proto tcp ct original ip daddr 198.51.100.200 "
        "ct original proto-dst 1000-2000 ip daddr 192.168.1.10 th dport 1000-2000 accept"
    ]


def test_a_range_that_leads_to_other_ports_is_a_map() -> None:
    made = part(forward("a", port="1000-1002", target_port=2000))
    assert made.sets[0].elements[2] == "tcp . 198.51.100.200 . 1002 : 192.168.1.10 . 2002"


def test_a_forward_for_some_sources_is_a_rule_and_its_filter_rule_says_so_too() -> None:
    made = part(forward("a", source="!192.0.2.0/24", target_port=80))
    assert made.inward[0].text == (
        "iifname @if_wan meta l4proto tcp ip saddr != 192.0.2.0/24 ip daddr 198.51.100.200 th dport 8080 "
        'counter name "nat_port_a" dnat ip to 192.168.1.10:80'
    )
    assert made.passing[0].text == (
        "iifname @if_wan ct status dnat meta l4proto tcp ip saddr != 192.0.2.0/24 ct original ip daddr 198.51.100.200 "
        "ct original proto-dst 8080 ip daddr 192.168.1.10 th dport 80 accept"
    )


def test_ipv6_targets_with_a_port_are_bracketed() -> None:
    made = part(forward("a", target="2001:db8:1::10", source="2001:db8::/32", target_port=80))
    assert made.inward[0].text.endswith("dnat ip6 to [2001:db8:1::10]:80")


def test_an_address_that_only_the_kernel_knows_is_any_address_of_the_node() -> None:
    made = config(forward("a", destination="address"), interfaces={"wan": []}, vips={})
    found = forwards_part(forwards(made[OutboundNatConfig], scene_of(made)))
    assert "meta nfproto ipv4 fib daddr type local th dport 8080" in found.inward[0].text
    assert "ct original ip daddr" not in found.passing[0].text


def test_with_reflection_clients_inside_are_led_there_too_and_passed_by_their_own_rules() -> None:
    made = part(forward("a", reflection=True) + forward("b", reflection=True, port="1000-2000"))
    inside = [rule.text for rule in made.inward if "iifname @nat_set_inside" in rule.text]
    assert [("map @nat_map_port_inside_v4" in text, "th dport 1000-2000" in text) for text in inside] == [
        (True, False),
        (False, True),
    ]
    assert not any("nat_set_inside" in rule.text for rule in made.passing)


def test_the_first_in_the_file_counts_though_maps_are_asked_before_rules() -> None:
    first = forward("range", port="1000-2000", source="192.0.2.0/24")
    mapped, linear = _split(found(first + forward("one", port=1500)))
    assert ([each.counter for each in mapped], [each.counter for each in linear]) == (
        [],
        ["nat_port_range", "nat_port_one"],
    )
    mapped, linear = _split(found(forward("one", port=1500) + first))
    assert ([each.counter for each in mapped], [each.counter for each in linear]) == (
        ["nat_port_one"],
        ["nat_port_range"],
    )


def test_a_shifted_range_behind_a_rule_becomes_a_rule_for_each_port() -> None:
    made = found(forward("a", source="192.0.2.1") + forward("b", port="8079-8081", target_port=80))
    assert [(each.first, each.shift) for each in _split(made)[1]] == [
        (8080, 0),
        *[(p, -7999) for p in (8079, 8080, 8081)],
    ]


PORTS = st.integers(1, 12)
ENTRY = st.tuples(PORTS, st.integers(0, 4), st.sampled_from([None, 20]), st.sampled_from(["any", "192.0.2.0/24"]))


@settings(max_examples=150, deadline=None)
@given(st.lists(ENTRY, max_size=8), PORTS, st.booleans())
def test_maps_and_rules_choose_what_the_first_match_in_the_file_would(
    entries: list[tuple[int, int, int | None, str]], port: int, special: bool
) -> None:
    toml = "".join(
        forward(
            f"f{place}", port=f"{first}-{first + length}", source=source, **({} if to is None else {"target_port": to})
        )
        for place, (first, length, to, source) in enumerate(entries)
    )
    every = found(toml)
    mapped, linear = _split(every)

    def takes(each: Forward) -> bool:
        return each.first <= port <= each.last and (each.source.everything or special)

    def outcome(listed: list[Forward]) -> tuple[str, int] | None:
        return next(((each.counter, each.shift) for each in listed if takes(each)), None)

    assert outcome([*mapped, *linear]) == outcome(list(every))


@pytest.mark.parametrize("kind", ["inward", "passing"])
def test_each_rule_knows_its_line(kind: str) -> None:
    made = part(forward("a") + forward("b", port="1000-2000"))
    assert [rule.origin for rule in getattr(made, kind)] == [
        ("outbound_nat", "port_forward", place) for place in (0, 1)
    ]
