"""The words of a rule stand for what the other tables declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from appliance_firewall.aliases import range_text
from appliance_firewall.config import FirewallConfig
from appliance_firewall.resolve import World, lockout_interface, read_addresses, read_ports, unknown, world_of
from tests.unit.plugins.firewall.paper import Cluster, config_of, world

ALIASES: Mapping[str, Any] = {
    "mail": {"type": "hosts", "entries": ["192.168.2.10", "2001:db8:2::10"]},
    "old": {"type": "networks", "entries": ["10.0.0.0/8"]},
    "nobody": {"type": "hosts"},
    "wrong": {"type": "hosts", "entries": ["x y"]},
    "web": {"type": "ports", "entries": [80, 443]},
    "none": {"type": "ports"},
}


def numbers(*words: str) -> list[str]:
    side, mistakes = read_addresses(words, world(alias=ALIASES))
    assert mistakes == []
    return [range_text(version, each) for version in (4, 6) for each in side.ranges[version]]


def families(*words: str) -> set[int]:
    return set(read_addresses(words, world(alias=ALIASES))[0].families())


def test_the_network_of_an_interface_includes_those_of_its_virtual_hosts_but_no_link_local_one() -> None:
    assert numbers("net:lan") == ["192.168.1.0/24", "192.168.9.0/24", "2001:db8:1::/64"]


def test_the_address_of_an_interface_is_this_nodes_own() -> None:
    assert numbers("address:dmz", "address:wan") == ["192.168.2.2", "198.51.100.201", "2001:db8:ffff::201"]


def test_a_virtual_host_has_its_addresses_and_their_aliases() -> None:
    assert numbers("vip:lan") == ["192.168.1.1", "192.168.9.1", "2001:db8:1::1"]


def test_self_is_every_address_of_the_node_virtual_ones_included() -> None:
    found = numbers("self")
    assert {"172.16.1.2", "192.168.1.1-192.168.1.2", "192.168.9.1", "198.51.100.200/31"} <= set(found)


def test_addresses_networks_and_ranges_are_themselves() -> None:
    assert numbers("10.0.0.1", "10.1.0.0/16", "10.0.0.2-10.0.0.9") == ["10.0.0.1-10.0.0.9", "10.1.0.0/16"]


def test_an_alias_is_the_set_of_each_family_that_it_has() -> None:
    of = world(alias=ALIASES)
    assert read_addresses(["mail"], of)[0].sets == {4: ("alias_mail_v4",), 6: ("alias_mail_v6",)}
    assert read_addresses(["mail", "old"], of)[0].sets[4] == ("alias_mail_v4", "alias_old_v4")
    assert read_addresses(["old"], of)[0].sets == {4: ("alias_old_v4",)}


def test_families_follow_from_what_is_named() -> None:
    assert families("any") == {4, 6}
    assert families("10.0.0.1") == {4}
    assert families("10.0.0.1", "::1") == {4, 6}
    assert families("old") == families("net:dmz") == {4}
    assert families("nobody") == set()


def test_everything_but_an_address_is_of_its_family_and_everything_but_a_name_of_both() -> None:
    assert families("!10.0.0.1") == {4}
    assert families("!old") == families("!net:dmz") == families("!nobody") == {4, 6}


@pytest.mark.parametrize(
    ("words", "place", "said"),
    [
        (["mial"], 0, "there is no alias 'mial'; did you mean 'mail'?"),
        (["10.0.0.1", "web"], 1, "web is an alias of ports"),
        (["net:nowhere"], 0, "there is no interface 'nowhere'; there are dmz, lan, sync, wan"),
        (["address:lam"], 0, "did you mean 'lan'?"),
        (["vip:mail"], 0, "there is no virtual host 'mail'; there are lan, wan"),
        (["host:lan"], 0, "neither an address"),
        (["10.0.0.1", "any"], 1, "any includes everything else"),
        (["!any"], 0, "!any matches nothing"),
        (["mail", "!old"], 1, "a list is inverted as a whole"),
        (["10.0.0.5-10.0.0.1"], 0, "is reversed"),
    ],
)
def test_wrong_addresses_are_said_at_their_place(words: list[str], place: int, said: str) -> None:
    _, mistakes = read_addresses(words, world(alias=ALIASES))
    assert [each.place for each in mistakes] == [place]
    assert said in mistakes[0].message


def test_a_wrong_alias_is_reported_where_it_is_declared_and_not_at_each_rule() -> None:
    assert read_addresses(["wrong"], world(alias=ALIASES))[1] == []
    assert read_ports(["wrong"], world(alias=ALIASES))[1] == []


def test_ports_are_ranges_and_sets_of_aliases() -> None:
    side, mistakes = read_ports(["22", "1000-2000", "web"], world(alias=ALIASES))
    assert mistakes == []
    assert (side.ranges, side.sets) == (((22, 22), (1000, 2000)), ("alias_web_port",))
    assert read_ports(["any"], world())[0].is_any
    assert read_ports(["!22"], world())[0].inverted
    assert read_ports(["none"], world(alias=ALIASES))[0].sets == ()


@pytest.mark.parametrize(
    ("words", "place", "said"),
    [
        (["htpp"], 0, "there is no port alias 'htpp'; there are none, web; a port is a number, such as 443"),
        (["wbe"], 0, "there is no port alias 'wbe'; did you mean 'web'?"),
        (["22", "mail"], 1, "mail is an alias of hosts; an alias of ports is needed"),
        (["2000-1000"], 0, "reversed"),
        (["0"], 0, "ports are 1 to 65535"),
        (["!any"], 0, "!any matches nothing"),
        (["22", "any"], 1, "any includes everything else"),
        (["!22", "23"], 1, "inverted as a whole"),
    ],
)
def test_wrong_ports_are_said_at_their_place(words: list[str], place: int, said: str) -> None:
    _, mistakes = read_ports(words, world(alias=ALIASES))
    assert [each.place for each in mistakes] == [place]
    assert said in mistakes[0].message


def test_packets_to_a_virtual_mac_come_in_at_a_device_of_their_own() -> None:
    assert world().devices("wan") == ("wan0", "wan0.v200")
    assert world().devices("sync") == ("sync0",)


def test_gateways_make_an_interface_a_wan() -> None:
    assert world_of(config_of(has_gateways=False)).wans == {"wan"}
    assert world_of(config_of(has_gateways=False)).policies is None
    assert set(world().policies or ()) == {"wan_gw", "balance"}


def lockout(*names: str, anti_lockout: str | None = None, sync: str = "sync") -> str:
    config = config_of(cluster=Cluster(names=names, sync=sync), has_gateways=False, anti_lockout=anti_lockout)
    of: World = world_of(config)
    return lockout_interface(config[FirewallConfig], of)


def test_the_operator_comes_in_by_lan_or_else_by_the_first_inner_interface() -> None:
    assert lockout("wan", "dmz", "lan", "sync") == "lan"
    assert lockout("wan", "sync", "dmz") == "dmz"
    assert lockout("wan", "sync") == ""


def test_the_operator_may_choose_where_or_nowhere() -> None:
    assert lockout("wan", "lan", anti_lockout="wan") == "wan"
    assert lockout("wan", "lan", anti_lockout="") == ""
    assert lockout("wan", "lan", anti_lockout="dmz") == ""


def test_a_name_that_nothing_has_is_shown_with_those_that_exist() -> None:
    assert unknown("alias", "x", []) == "there is no alias 'x', and no other"
    assert unknown("alias", "x", [f"name{n:02}" for n in range(20)]).endswith("name11 and 8 more")
