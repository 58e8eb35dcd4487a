"""Rules and routes: what should be there, in which order it changes, and its bytes."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.net import rtmessages as m
from appliance_gateways import routing as r
from appliance_gateways.config import settings_of
from appliance_gateways.numbers import numbers
from appliance_gateways.routing import DefaultRoute, PolicyRule
from tests.unit.plugins.gateways.samples import BALANCED, EXAMPLE, TWO, config_of

SETTINGS = settings_of(config_of())
NUMBER = numbers(EXAMPLE["gateway"])
GW4, GW2, GW6 = (ip_address(text) for text in ("198.51.100.1", "203.0.113.1", "2001:db8:ffff::1"))
WAN, WAN2 = 5, 6


def test_each_gateway_has_a_table_and_a_rule_and_local_networks_go_first() -> None:
    found = r.wanted(SETTINGS, {"wan0": WAN, "wan20": WAN2}, {4: "wan2_gw", 6: "six"})
    wan, wan2, six = (NUMBER[name] for name in ("wan_gw", "wan2_gw", "six"))
    assert found == {
        PolicyRule(4, 90, 254, suppress_default=True),
        PolicyRule(6, 90, 254, suppress_default=True),
        PolicyRule(4, 100, 1000 + wan, mark=wan),
        PolicyRule(4, 100, 1000 + wan2, mark=wan2),
        PolicyRule(6, 100, 1000 + six, mark=six),
        DefaultRoute(4, 1000 + wan, GW4, WAN, 0),
        DefaultRoute(4, 1000 + wan2, GW2, WAN2, 0),
        DefaultRoute(6, 1000 + six, GW6, WAN, 1),
        DefaultRoute(4, 254, GW2, WAN2, 0),
        DefaultRoute(6, 254, GW6, WAN, 1),
    }


def test_a_device_that_is_not_there_has_rules_but_no_routes() -> None:
    found = r.wanted(SETTINGS, {}, {4: "wan_gw"})
    assert all(isinstance(each, PolicyRule) for each in found)
    assert len(found) == 5


def test_without_gateways_nothing_is_wanted() -> None:
    assert r.wanted(settings_of(config_of({})), {}, {}) == set()


def test_routes_come_before_rules_and_a_replaced_route_is_not_removed_as_well() -> None:
    rule = PolicyRule(4, 100, 1007, mark=7)
    old, new = DefaultRoute(4, 254, GW4, WAN, 0), DefaultRoute(4, 254, GW2, WAN2, 0)
    left = DefaultRoute(4, 1009, GW4, WAN, 0)
    assert r.changes({rule, new}, {old, left}) == ([new, rule], [left])
    assert r.changes({new}, {new}) == ([], [])


def test_the_default_is_the_best_member_and_stays_when_none_is_left() -> None:
    assert r.choose_default(SETTINGS, 4, "wan2_gw", "wan_gw") == "wan2_gw"
    assert r.choose_default(SETTINGS, 4, None, "wan2_gw") == "wan2_gw"
    assert r.choose_default(SETTINGS, 4, None, "gone") == "wan_gw"
    assert r.choose_default(SETTINGS, 6, None, None) == "six", "a single gateway, dead or alive"
    plain = settings_of(config_of({"gateway": TWO, "group": {"balanced": BALANCED}}))
    assert r.choose_default(plain, 4, None, None) is None


def test_they_are_named_as_ip_would() -> None:
    assert r.describe(DefaultRoute(4, 254, GW4, 5, 0)) == "default via 198.51.100.1 dev #5 table 254 metric 0"
    assert r.describe(PolicyRule(6, 90, 254, suppress_default=True)) == (
        "IPv6 rule 90: lookup 254 suppress_prefixlength 0"
    )
    assert r.describe(PolicyRule(4, 100, 1007, mark=7)) == "IPv4 rule 100: fwmark 0x7/0xff lookup 1007"


ITEMS = st.one_of(
    st.builds(
        PolicyRule,
        st.sampled_from([4, 6]),
        st.integers(1, 32765),
        st.integers(1, 2000),
        mark=st.integers(0, 255),
        suppress_default=st.booleans(),
    ),
    st.builds(DefaultRoute, st.just(4), st.integers(1, 2000), st.just(GW4), st.integers(1, 9999), st.integers(0, 99)),
    st.builds(DefaultRoute, st.just(6), st.integers(1, 2000), st.just(GW6), st.integers(1, 9999), st.integers(1, 99)),
)


@given(ITEMS)
def test_what_is_written_is_read_back(item: r.Item) -> None:
    for message in (r.addition(item), r.removal(item)):
        length, kind, *_rest = m.HEADER.unpack_from(message)
        assert length == len(message)
        body = message[m.HEADER.size :]
        listed = m.RTM_NEWROUTE if isinstance(item, DefaultRoute) else r.RTM_NEWRULE
        assert r.parse(listed, body) == item
        assert r.is_ours(kind, body) == (kind in (m.RTM_DELROUTE, r.RTM_DELRULE))


def test_link_local_gateways_are_not_on_link_and_others_are() -> None:
    def flags(route: DefaultRoute) -> int:
        return int(struct.unpack_from("=I", r.addition(route), m.HEADER.size + 8)[0])

    assert flags(DefaultRoute(4, 1, GW4, 1, 0)) == 4
    assert flags(DefaultRoute(6, 1, ip_address("fe80::1"), 1, 1)) == 0


def test_what_others_made_is_not_ours() -> None:
    route = bytearray(r.addition(DefaultRoute(4, 254, GW4, 5, 0))[m.HEADER.size :])
    route[5] = 73
    assert r.parse(m.RTM_NEWROUTE, bytes(route)) is None
    assert not r.is_ours(m.RTM_DELROUTE, bytes(route))
    rule = r.addition(PolicyRule(4, 100, 1007, mark=7))[m.HEADER.size :]
    other = rule.replace(b"\x05\x00\x15\x00\x4a", b"\x05\x00\x15\x00\x02")
    assert other != rule
    assert r.parse(r.RTM_NEWRULE, other) is None
    assert r.parse(m.RTM_NEWLINK, rule) is None


@given(st.sampled_from([m.RTM_NEWROUTE, r.RTM_NEWRULE, m.RTM_DELROUTE, r.RTM_DELRULE]), st.binary(max_size=80))
def test_no_bytes_upset_it(kind: int, body: bytes) -> None:
    assert r.parse(kind, body) is None or body
    assert r.is_ours(kind, body) in (True, False)


@pytest.mark.parametrize("version", [4, 6])
def test_lists_are_asked_for_by_family(version: int) -> None:
    family = {4: 2, 6: 10}[version]
    assert r.dump_routes(version)[m.HEADER.size] == r.dump_rules(version)[m.HEADER.size] == family
