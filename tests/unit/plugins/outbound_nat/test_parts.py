"""The pieces that rules are made of."""

from __future__ import annotations

from ipaddress import ip_network

from appliance_outbound_nat.parts import address_set, comes_in, counted, is_, words


def test_pieces_of_a_rule_as_nftables_says_them() -> None:
    assert words(comes_in("wan"), "", counted("nat_x")) == 'iifname @if_wan counter name "nat_x"'
    assert is_("daddr", 4, ip_network("192.0.2.1")) == "ip daddr 192.0.2.1"
    assert is_("saddr", 6, ip_network("2001:db8::/64")) == "ip6 saddr 2001:db8::/64"


def test_an_address_twice_in_a_set_stands_there_once() -> None:
    made = address_set("x", 4, [ip_network("192.0.2.1"), ip_network("192.0.2.1"), ip_network("10.0.0.0/8")])
    assert (made.key, made.flags, made.elements) == ("ipv4_addr", "interval", ("192.0.2.1", "10.0.0.0/8"))
