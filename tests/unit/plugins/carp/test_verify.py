"""The handbook's rules about virtual addresses: each has its own message and names the offending key."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_interface
from typing import Any

import pytest

from appliance.config import Config, LogicalInterface, Model
from appliance.config.model import NodeTable
from appliance.errors import Problem
from appliance_carp.config import CarpConfig
from appliance_carp.verify import verify

INTERFACES = {
    "lan": ("lan0", ["192.168.1.2/24", "2001:db8:1::2/64"]),
    "wan": ("wan0", ["198.51.100.201/24"]),
    "sync": ("sync0", ["172.16.1.2/24"]),
    "bare": ("bare0", []),
}


class Interfaces(Model):
    """Stands for whatever plugin declares interfaces: carp knows only the protocol."""

    def logical_interfaces(self) -> Mapping[str, LogicalInterface]:
        return {
            name: LogicalInterface(name=name, device=device, addresses=tuple(map(ip_interface, addresses)))
            for name, (device, addresses) in INTERFACES.items()
        }


def vip(**changes: Any) -> dict[str, Any]:
    return {"name": "lan", "interface": "lan", "vhid": 1, "addresses": ["192.168.1.1/24"]} | changes


def problems(*vips: dict[str, Any], with_interfaces: bool = True, **table: Any) -> list[Problem]:
    carp = CarpConfig.model_validate({"password": "secret", "vip": list(vips)} | table)
    tables: dict[str, Model] = {"carp": carp}
    if with_interfaces:
        tables["interfaces"] = Interfaces()
    return verify(Config(tables, node=NodeTable(name="fw1")))


def only(found: list[Problem]) -> tuple[tuple[str | int, ...], str]:
    assert len(found) == 1, found
    return found[0].path, found[0].message


def test_the_example_cluster_has_no_problems() -> None:
    wan = vip(name="wan", interface="wan", vhid=200, addresses=["198.51.100.200/24"])
    assert problems(vip(), wan, sync_interface="sync") == []


def test_a_vhid_is_unique_on_its_broadcast_domain() -> None:
    found = problems(vip(), vip(name="two", addresses=["192.168.1.9/24"]))
    path, message = only(found)
    assert path == ("carp", "vip", 1, "vhid")
    assert "unique on its broadcast domain" in message
    assert found[0].also == (("carp", "vip", 0, "vhid"),)


def test_the_same_vhid_on_another_interface_is_fine() -> None:
    assert problems(vip(), vip(name="wan", interface="wan", addresses=["198.51.100.200/24"])) == []


@pytest.mark.parametrize("address", ["192.168.1.1/32", "192.168.1.1/25"])
def test_a_vip_has_the_prefix_length_of_its_interface(address: str) -> None:
    path, message = only(problems(vip(addresses=[address])))
    assert path == ("carp", "vip", 0, "addresses", 0)
    assert "24" in message


def test_a_vip_needs_an_address_of_its_network_on_the_interface_first() -> None:
    _, message = only(problems(vip(addresses=["10.9.9.1/24"])))
    assert "in no network of lan" in message


def test_a_vip_may_be_the_only_address_of_an_interface() -> None:
    assert problems(vip(interface="bare", addresses=["10.9.9.1/24"])) == []


def test_an_alias_may_be_of_another_network() -> None:
    assert problems(vip(aliases=["10.9.9.1/24"])) == []


def test_a_vip_is_not_the_nodes_own_address() -> None:
    _, message = only(problems(vip(addresses=["192.168.1.2/24"])))
    assert "own address" in message


@pytest.mark.parametrize(("address", "which"), [("192.168.1.0/24", "network"), ("192.168.1.255/24", "broadcast")])
def test_network_and_broadcast_addresses_are_no_vips(address: str, which: str) -> None:
    _, message = only(problems(vip(addresses=[address])))
    assert f"the {which} address" in message


@pytest.mark.parametrize("address", ["127.0.0.1/8", "224.0.0.1/24", "0.0.0.0/24"])
def test_addresses_no_host_can_have_are_no_vips(address: str) -> None:
    _, message = only(problems(vip(addresses=[address])))
    assert "cannot be a virtual address" in message


def test_one_address_belongs_to_one_vip() -> None:
    path, message = only(problems(vip(), vip(name="two", vhid=2)))
    assert path == ("carp", "vip", 1, "addresses", 0)
    assert "already a virtual address" in message


def test_names_of_vips_are_unique() -> None:
    path, _ = only(problems(vip(), vip(vhid=2, addresses=["192.168.1.9/24"])))
    assert path == ("carp", "vip", 1, "name")


def test_a_link_local_vip_has_a_64_bit_prefix() -> None:
    _, message = only(problems(vip(addresses=["fe80::1:1/128"])))
    assert "prefix length 64" in message


def test_every_vip_has_a_password() -> None:
    carp = CarpConfig.model_validate({"vip": [vip()]})
    found = verify(Config({"carp": carp, "interfaces": Interfaces()}, node=NodeTable(name="fw1")))
    _, message = only(found)
    assert "no password" in message


@pytest.mark.parametrize("password", ["", "x" * 20, "ä" * 10, "a\0b"])
def test_a_password_fits_every_peer(password: str) -> None:
    with pytest.raises(ValueError, match="password"):
        CarpConfig.model_validate({"password": password})


def test_an_unknown_interface_is_named_with_the_known_ones() -> None:
    path, message = only(problems(vip(interface="lam")))
    assert path == ("carp", "vip", 0, "interface")
    assert "bare, lan, sync, wan" in message


def test_an_unknown_sync_interface_is_refused() -> None:
    path, _ = only(problems(vip(), sync_interface="sink"))
    assert path == ("carp", "sync_interface")


def test_a_sync_interface_with_vips_is_only_a_warning() -> None:
    found = problems(vip(), sync_interface="lan")
    assert [each.severity for each in found] == ["warning"]


def test_sub_second_heartbeats_need_the_custom_profile() -> None:
    path, _ = only(problems(vip(advbase=0, advskew=13)))
    assert path == ("carp", "vip", 0, "advbase")
    assert problems(vip(advbase=0, advskew=13), profile="custom") == []


def test_sub_second_heartbeats_have_a_shortest_interval() -> None:
    path, _ = only(problems(vip(advbase=0, advskew=2), profile="custom"))
    assert path == ("carp", "vip", 0, "advskew")


def test_another_dead_ratio_needs_the_custom_profile() -> None:
    path, _ = only(problems(vip(dead_ratio=5)))
    assert path == ("carp", "vip", 0, "dead_ratio")


@pytest.mark.parametrize(
    ("peers", "message"),
    [
        (["224.0.0.18"], "multicast"),
        (["192.168.1.2"], "this node itself"),
    ],
)
def test_unicast_peers_are_other_nodes(peers: list[str], message: str) -> None:
    assert message in only(problems(vip(peers=peers)))[1]


def test_unicast_needs_a_peer_of_each_family() -> None:
    path, message = only(problems(vip(addresses=["192.168.1.1/24", "2001:db8:1::1/64"], peers=["192.168.1.3"])))
    assert path == ("carp", "vip", 0, "peers")
    assert "IPv6" in message


def test_carp_without_interfaces_says_what_is_missing() -> None:
    _, message = only(problems(vip(), with_interfaces=False))
    assert "[interfaces]" in message
