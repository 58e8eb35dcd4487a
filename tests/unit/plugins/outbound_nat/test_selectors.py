"""What the words of a rule select, and every complaint about them."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from appliance_outbound_nat.selectors import (
    BadValueError,
    overlap,
    parse_ports,
    parse_range,
    parse_selector,
    protocol_match,
)
from tests.unit.plugins.outbound_nat.fakes import scene

SCENE = scene(names={"web": ["192.168.1.10"], "six": ["2001:db8:1::10"], "empty": []})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("any", ""),
        ("192.0.2.1", "ip saddr 192.0.2.1"),
        ("192.0.2.1/32", "ip saddr 192.0.2.1"),
        ("10.0.0.0/8", "ip saddr 10.0.0.0/8"),
        ("10.0.0.1-10.0.0.9", "ip saddr 10.0.0.1-10.0.0.9"),
        ("10.0.0.1-10.0.0.1", "ip saddr 10.0.0.1"),
        ("web", "ip saddr @alias_web_v4"),
        ("net:lan", "ip saddr 192.168.1.0/24"),
        ("address:lan", "ip saddr 192.168.1.2"),
        ("vip:wan", "ip saddr 198.51.100.200"),
        # Neighbouring addresses become one network.
        ("self", "ip saddr { 172.16.1.2, 192.168.1.1, 192.168.1.2, 198.51.100.200/31 }"),
        ("!web", "ip saddr != @alias_web_v4"),
        ("! 10.0.0.0/8", "ip saddr != 10.0.0.0/8"),
    ],
)
def test_addresses_as_nftables_says_them(text: str, said: str) -> None:
    assert parse_selector(text, SCENE).match("saddr", 4) == said


def test_the_other_family_and_the_other_end() -> None:
    assert parse_selector("net:lan", SCENE).match("daddr", 6) == "ip6 daddr 2001:db8:1::/64"
    assert parse_selector("six", SCENE).match("daddr", 6) == "ip6 daddr @alias_six_v6"


@pytest.mark.parametrize(
    ("text", "families"),
    [("any", {4, 6}), ("10.0.0.1", {4}), ("2001:db8::1", {6}), ("net:lan", {4, 6}), ("six", {6}), ("empty", {4, 6})],
)
def test_families_in_which_words_can_select_something(text: str, families: set[int]) -> None:
    assert parse_selector(text, SCENE).families == families


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!any", "selects nothing"),
        ("web_ports", "alias 'web_ports' holds ports"),
        ("wbe", "neither an address nor a network, range or alias; aliases: empty, six, web"),
        ("lan", 'write "net:lan" or "address:lan"'),
        ("net:lna", "there is no interface 'lna'; there are: lan, sync, wan"),
        ("address:x", "there is no interface 'x'"),
        ("vip:x", "there is no virtual host 'x'; there are: lan, wan"),
        ("10.0.0.1/24", "write 10.0.0.0/24, or the address without a prefix"),
        ("10.0.0.300", "neither an address"),
        ("10.0.0.9-10.0.0.1", "is reversed: write 10.0.0.1-10.0.0.9"),
        ("10.0.0.9-2001:db8::1", "mixes IPv4 and IPv6"),
        ("10.0.0.9-x", "is not a range of addresses"),
    ],
)
def test_words_that_cannot_be_meant_are_told_what_would_be_right(text: str, said: str) -> None:
    with pytest.raises(BadValueError, match=r"^.+$") as refused:
        parse_selector(text, SCENE)
    assert said in str(refused.value)


def test_a_virtual_host_without_its_kind_is_told_how_to_write_it() -> None:
    with pytest.raises(BadValueError, match='write "vip:office"'):
        parse_range("office", scene(vips={"office": ["lan", "192.168.1.1/24"]}))


def test_an_interface_without_addresses_has_nothing_to_select() -> None:
    bare = scene(interfaces={"wan": []}, vips={})
    for text in ("net:wan", "address:wan"):
        with pytest.raises(BadValueError, match=f"'{text}' selects nothing: wan has no such address"):
            parse_selector(text, bare)
    with pytest.raises(BadValueError, match="this node has no such address"):
        parse_selector("self", bare)


@pytest.mark.parametrize(
    ("text", "network", "covered"),
    [
        ("any", "10.0.0.0/8", True),
        ("10.0.0.0/8", "10.1.0.0/16", True),
        ("10.1.0.0/16", "10.0.0.0/8", False),
        ("10.0.0.0-10.0.1.255", "10.0.1.0/24", True),
        ("!10.0.0.0/8", "10.1.0.0/16", False),
        ("!10.0.0.0/8", "11.0.0.0/16", True),
        ("10.0.0.0/8", "2001:db8::/64", False),
    ],
)
def test_whether_a_whole_network_is_selected(text: str, network: str, covered: bool) -> None:
    assert parse_selector(text, SCENE).covers(ip_network(network)) is covered


def test_ranges_overlap_only_within_a_family() -> None:
    one = parse_range("10.0.0.1-10.0.0.9", SCENE)
    assert overlap(one, ip_network("10.0.0.8/29"))
    assert not overlap(one, ip_network("10.0.0.16/29"))
    assert not overlap(one, ip_network("::/0"))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("any", ""),
        (80, "th dport 80"),
        ("80", "th dport 80"),
        ("1000-2000", "th dport 1000-2000"),
        ("1000 - 2000", "th dport 1000-2000"),
        ("web_ports", "th dport @alias_web_ports_port"),
    ],
)
def test_ports_as_nftables_says_them(value: int | str, said: str) -> None:
    assert parse_ports(value, SCENE).match("dport") == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("web", "alias 'web' holds addresses"),
        ("http", "neither a port nor a range A-B or alias of ports; aliases: web_ports"),
        ("2000-1000", "is reversed: write 1000-2000"),
        ("0-10", "outside of 1 to 65535"),
        ("70000", "outside of 1 to 65535"),
        ("-5", "neither a port"),
    ],
)
def test_ports_that_cannot_be_meant_are_told_what_would_be_right(value: str, said: str) -> None:
    with pytest.raises(BadValueError) as refused:
        parse_ports(value, SCENE)
    assert said in str(refused.value)


def test_protocols_as_nftables_says_them() -> None:
    said = [protocol_match(protocol, 4) for protocol in ("any", "tcp", "tcp/udp", "icmp", 47)]
    assert said == ["", "meta l4proto tcp", "meta l4proto { tcp, udp }", "meta l4proto icmp", "meta l4proto 47"]
    assert protocol_match("icmp", 6) == "meta l4proto ipv6-icmp"
