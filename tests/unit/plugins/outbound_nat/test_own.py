"""The node's own packets, heartbeats and states."""

from __future__ import annotations

from appliance_outbound_nat.own import own_rules
from tests.unit.plugins.outbound_nat.fakes import MULTI_WAN, scene


def texts(**cluster: object) -> list[str]:
    return [rule.text for rule in own_rules(scene(**cluster))]


def test_heartbeats_and_states_come_first_and_everything_else_of_the_node_is_accepted_last() -> None:
    found = texts()
    assert found[0] == "meta l4proto { 112, 240 } accept"
    assert found[-1] == "fib saddr type local accept"


def test_a_source_of_another_interface_becomes_the_node_s_address_on_the_wan_it_leaves_by() -> None:
    assert texts(**MULTI_WAN)[1:-1] == [
        'oifname "wan0" fib saddr type local ip saddr != { 198.51.100.201, 198.51.100.200 } snat ip to 198.51.100.201',
        'oifname "wan20" fib saddr type local ip saddr != { 203.0.113.12, 203.0.113.10, 203.0.113.11 } '
        "snat ip to 203.0.113.12",
    ]


def test_a_wan_whose_address_only_the_kernel_knows() -> None:
    assert texts(interfaces={"wan": []}, vips={})[1] == (
        'oifname "wan0" meta nfproto ipv4 fib saddr type local fib saddr . oif type != local masquerade'
    )


def test_a_wan_with_nothing_but_a_virtual_host_leaves_sources_as_they_are() -> None:
    assert len(texts(interfaces={"wan": []})) == 2
