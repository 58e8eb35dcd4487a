"""Texts become values, or an error that says what would be right."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from ipaddress import ip_address, ip_interface

import pytest

from appliance.console.wizard import answers
from appliance.errors import UsageError

LAN = answers.wish("192.168.1.0/24", 4)
WAN = answers.wish("198.51.100.200/24", 4)


def test_a_network_a_virtual_address_and_own_choices_are_understood() -> None:
    assert answers.Wish(interface=ip_interface("192.168.1.0/24")) == LAN
    assert WAN.interface.ip == ip_address("198.51.100.200")
    told = answers.wish("2001:db8:1::1/64, 2001:db8:1::8 2001:db8:1::9", 6)
    assert told.nodes == (ip_address("2001:db8:1::8"), ip_address("2001:db8:1::9"))


@pytest.mark.parametrize(
    ("text", "version", "message"),
    [
        ("", 4, "has no prefix length"),
        ("192.168.1.1", 4, "has no prefix length"),
        ("192.168.1.1/33", 4, "192.168.1.1/33"),
        ("2001:db8::/64", 4, "is not IPv4"),
        ("192.168.1.0/24 192.168.1.2", 4, "one node is without an address"),
        ("192.168.1.0/24 192.168.1.2 192.168.1.2", 4, "used twice"),
        ("192.168.1.1/24 192.168.1.1 192.168.1.2", 4, "used twice"),
        ("192.168.1.1/24 192.168.2.2 192.168.1.3", 4, "192.168.2.2 is not in 192.168.1.0/24"),
        ("192.168.1.0/24 192.168.1.0 192.168.1.3", 4, "address of the network itself"),
        ("192.168.1.255/24", 4, "broadcast"),
        ("224.0.0.0/24", 4, "no network of machines"),
        ("127.0.0.0/24", 4, "no network of machines"),
        ("0.0.0.0/0", 4, "no network of machines"),
        ("fe80::/64", 6, "no network of machines"),
        ("192.168.0.0/16", 4, "192.168.0.0/16 overlaps 192.168.1.0/24"),
    ],
)
def test_addresses_that_cannot_be_are_refused(text: str, version: int, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        answers.wish(text, version, [LAN])
    assert message in refused.value.message


def test_the_example_network_is_free_when_nobody_has_it() -> None:
    assert answers.wish("198.51.100.0/24", 4, [LAN]).interface.version == 4


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (answers.node_name, "fw 1", "not the name of a node"),
        (partial(answers.interface_names, taken=["wan"]), "dmz DMZ", "`DMZ` cannot be the name"),
        (partial(answers.interface_names, taken=["wan"]), "dmz dmz", "name of another network"),
        (partial(answers.interface_names, taken=["wan"]), " ".join(f"n{n}" for n in range(20)), "21 networks"),
        (partial(answers.vhid, heard={}), "0", "`0` is no VHID"),
        (partial(answers.vhid, heard={}), "256", "`256` is no VHID"),
        (partial(answers.vhid, heard={}), "one", "`one` is no VHID"),
        (partial(answers.vhid, heard={7: "192.0.2.9"}), "7", "VHID 7 is used there by 192.0.2.9"),
        (partial(answers.gateway, wished=[WAN], version=4), "router", "not an address"),
        (partial(answers.gateway, wished=[WAN], version=4), "192.0.2.1", "not in 198.51.100.0/24"),
        (partial(answers.gateway, wished=[WAN], version=4), "198.51.100.200", "address of the cluster"),
        (partial(answers.gateway, wished=[WAN], version=4), "198.51.100.255", "broadcast"),
        (answers.password, "x" * 20, "20 bytes"),
        (partial(answers.clients, network=LAN.interface, taken=[]), "all", "not a range"),
        (partial(answers.clients, network=LAN.interface, taken=[]), "192.168.1.9-192.168.1.8", "before it begins"),
        (partial(answers.clients, network=LAN.interface, taken=[]), "192.168.1.9-192.168.2.8", "not in"),
        (
            partial(answers.clients, network=LAN.interface, taken=[ip_address("192.168.1.3")]),
            "192.168.1.1-192.168.1.9",
            "192.168.1.3 is an address of the cluster",
        ),
    ],
)
def test_other_answers_that_cannot_be_are_refused(parse: Callable[[str], object], text: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse(text)
    assert message in refused.value.message
    assert refused.value.hint


def test_a_choice_is_known_by_its_beginning() -> None:
    assert answers.choice("Y", "yes", "no") == "yes"
    assert answers.choice("fw1", "fw1", "fw10") == "fw1"
    for text in ("", "maybe", "fw"):
        with pytest.raises(UsageError, match="no answer"):
            answers.choice(text, "fw1", "fw10")


def test_none_is_an_answer_where_something_may_be_missing() -> None:
    assert answers.interface_names("none", ["wan"]) == ()
    assert answers.clients("none", LAN.interface, []) == ""
    assert answers.clients("192.168.1.9 - 192.168.1.20", LAN.interface, []) == "192.168.1.9-192.168.1.20"
