"""The table `[carp]`: what it refuses by itself, its translation for the service, and that it keeps secrets."""

from __future__ import annotations

import pickle
from ipaddress import ip_address, ip_interface, ip_network
from typing import Any

import pytest
from pydantic import ValidationError

from appliance.config import Config, Scope
from appliance.config.model import NodeTable, scope_of
from appliance.testing import LogicalInterfaces
from appliance_carp.config import PASSWORD_MAX, CarpConfig, VipTable, settings_of
from appliance_carp.settings import CarpSettings, PortSettings

SECRET = "mekmitasdigoat"
INTERFACES = LogicalInterfaces.of(
    lan=["192.168.1.2/24", "2001:db8:1::2/64"], wan="198.51.100.201/24", sync="172.16.1.2/24", spare="10.0.0.2/24"
)
LAN = {"name": "lan", "interface": "lan", "vhid": 1, "addresses": ["192.168.1.1/24", "2001:db8:1::1/64"]}
WAN = {"name": "wan", "interface": "wan", "vhid": 2, "addresses": ["198.51.100.200/24"]}


def table(*vips: dict[str, Any], **values: Any) -> CarpConfig:
    return CarpConfig.model_validate({"password": SECRET, "vip": list(vips)} | values)


def settings(*vips: dict[str, Any], **values: Any) -> CarpSettings:
    tables = {"carp": table(*vips, **values), "interfaces": INTERFACES}
    return settings_of(Config(tables, node=NodeTable(name="fw1")))


# --- what the model refuses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("password", "why"),
    [("", "1 to 19 bytes"), ("x" * (PASSWORD_MAX + 1), "1 to 19 bytes"), ("ä" * 10, "1 to 19 bytes"), ("a\0b", "NUL")],
)
def test_a_password_that_another_node_would_read_differently_is_refused(password: str, why: str) -> None:
    for values in ({"password": password}, {"vip": [LAN | {"password": password}]}):
        with pytest.raises(ValidationError, match=why) as caught:
            CarpConfig.model_validate(values)
        assert not password or repr(password) not in str(caught.value), "not even in the error"


def test_a_password_of_the_greatest_length_is_taken() -> None:
    assert settings(LAN, password="x" * PASSWORD_MAX).vips[0].password == "x" * PASSWORD_MAX


@pytest.mark.parametrize(
    "values",
    [
        {"vhid": 0}, {"vhid": 256}, {"advskew": 255}, {"advbase": 256}, {"dead_ratio": 2}, {"addresses": []},
        {"addresses": ["192.168.1.1"]}, {"peers": ["somebody"]}, {"unknown": 1},
    ],
)  # fmt: skip
def test_values_outside_of_the_protocol_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        table(LAN | values)


@pytest.mark.parametrize("values", [{"preempt_delay": -1}, {"profile": "slow"}, {"hello": "none"}])
def test_values_outside_of_the_table_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        table(LAN, **values)


def test_what_differs_between_the_nodes_is_mirrored_and_the_rest_shared() -> None:
    assert {name for name in VipTable.model_fields if scope_of(VipTable, name) is Scope.MIRRORED} == {
        "advskew",
        "peers",
    }
    assert {scope_of(CarpConfig, name) for name in CarpConfig.model_fields} == {Scope.SHARED}


# --- the translation ---------------------------------------------------------------------------------------


def test_the_defaults_are_the_books() -> None:
    made = settings(LAN)
    assert (made.node, made.preempt, made.preempt_delay_s, made.profile, made.hello, made.realtime, made.sync) == (
        "fw1", True, 0.0, "book", "all", True, None,
    )  # fmt: skip
    (vip,) = made.vips
    assert (vip.advbase, vip.advskew, vip.dead_ratio, vip.fast, vip.peers) == (1, 0, 3, False, ())


def test_every_value_arrives() -> None:
    more = LAN | {"advbase": 2, "advskew": 100, "dead_ratio": 4, "aliases": ["10.9.0.1/24"], "peers": ["192.168.1.3"]}
    made = settings(
        more, preempt=False, preempt_delay=30, profile="custom", hello="sync", realtime=False, sync_interface="sync"
    )
    assert (made.preempt, made.preempt_delay_s, made.profile, made.hello, made.realtime) == (
        False, 30.0, "custom", "sync", False,
    )  # fmt: skip
    vip = made.vip(("lan", 1))
    assert vip is not None
    assert (vip.advbase, vip.advskew, vip.dead_ratio) == (2, 100, 4)
    assert vip.aliases == (ip_interface("10.9.0.1/24"),)
    assert vip.peers == (ip_address("192.168.1.3"),)
    assert made.sync == PortSettings(interface="sync", device="sync", addresses=(ip_interface("172.16.1.2/24"),))


def test_only_interfaces_with_virtual_hosts_are_ports_and_each_once() -> None:
    two = LAN | {"name": "two", "vhid": 3, "addresses": ["192.168.1.9/24"]}
    assert [port.interface for port in settings(LAN, WAN, two).ports] == ["lan", "wan"]


def test_a_virtual_host_knows_the_networks_of_its_interface() -> None:
    assert settings(LAN).vips[0].own_networks == (ip_network("192.168.1.0/24"), ip_network("2001:db8:1::/64"))


def test_the_profile_fast_is_every_hosts() -> None:
    assert [vip.fast for vip in settings(LAN, WAN, profile="fast").vips] == [True, True]


def test_a_hosts_own_password_goes_before_the_tables() -> None:
    made = settings(LAN, WAN | {"password": "other"})
    assert [vip.password for vip in made.vips] == [SECRET, "other"]
    assert made.password == SECRET


def test_without_a_password_of_the_table_both_nodes_choose_the_same_one_for_their_hellos() -> None:
    one, two = LAN | {"password": "bbb"}, WAN | {"password": "aaa"}
    assert settings(one, two, password=None).password == settings(two, one, password=None).password == "aaa"


def test_equal_tables_make_equal_settings_that_cross_to_another_process() -> None:
    one, two = settings(LAN, WAN, sync_interface="sync"), settings(LAN, WAN, sync_interface="sync")
    assert one == two
    assert pickle.loads(pickle.dumps(one)) == one
    assert settings(LAN | {"advskew": 1}) != settings(LAN)


# --- secrets -----------------------------------------------------------------------------------------------


def test_no_password_is_ever_shown() -> None:
    carp = table(LAN | {"password": "othersecret"})
    made = settings(LAN | {"password": "othersecret"})
    for shown in (repr(carp), str(carp), carp.model_dump_json(), repr(made), str(made), f"{made.vips[0]}"):
        assert SECRET not in shown
        assert "othersecret" not in shown
    assert carp.secret_of(carp.vip[0]) == "othersecret"


# --- what other tables learn of it -------------------------------------------------------------------------


def test_other_tables_learn_the_virtual_hosts_by_name() -> None:
    hosts = table(LAN, WAN | {"aliases": ["198.51.100.210/24"]}).virtual_hosts()
    assert (hosts["lan"].interface, hosts["lan"].vhid) == ("lan", 1)
    assert hosts["wan"].address(4) == ip_address("198.51.100.200")
    assert hosts["wan"].aliases == (ip_interface("198.51.100.210/24"),)


def test_the_sync_interface_is_the_link_of_the_cluster() -> None:
    assert table(LAN).cluster_link() is None
    link = table(LAN, sync_interface="sync").cluster_link()
    assert link is not None
    assert link.interface == "sync"


def test_a_firewall_learns_which_heartbeats_to_let_in() -> None:
    lan, sync = table(LAN, sync_interface="sync").own_traffic(INTERFACES.logical_interfaces())
    assert (lan.interface, lan.protocol) == ("lan", "carp")
    assert [str(each) for each in lan.sources] == ["192.168.1.0/24", "2001:db8:1::/64", "fe80::/10"]
    assert [str(each) for each in lan.destinations] == ["224.0.0.18", "ff02::12"]
    assert [str(each) for each in sync.destinations] == ["224.0.0.18"]


def test_unicast_heartbeats_come_from_the_peers() -> None:
    traffic = table(WAN | {"peers": ["203.0.113.7"]}).own_traffic(INTERFACES.logical_interfaces())
    unicast = traffic[-1]
    assert (unicast.sources, unicast.destinations) == ((ip_address("203.0.113.7"),), ())
