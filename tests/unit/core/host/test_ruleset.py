"""What the node's ruleset is made of. How it is loaded is tested on a kernel, in netns/host."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface

from appliance.config import Config, LogicalInterface, Model, VirtualHost
from appliance.config.model import NodeTable
from appliance.host.ruleset import common_sets, service
from appliance.plugin import CrashPolicy, Fragment


class Interfaces(Model):
    """wan and lan."""

    def logical_interfaces(self) -> Mapping[str, LogicalInterface]:
        addresses = {"wan": ("198.51.100.201/24", "2001:db8:ffff::201/64"), "lan": ("192.168.1.2/24",)}
        return {
            name: LogicalInterface(name=name, device=f"{name}0", addresses=tuple(map(ip_interface, each)))
            for name, each in addresses.items()
        }


class Hosts(Model):
    """A virtual host on wan, with an alias in a network of its own, and one on an interface that is not there."""

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        wan = VirtualHost(
            name="wan",
            interface="wan",
            vhid=200,
            addresses=(ip_interface("198.51.100.200/24"),),
            aliases=(ip_interface("203.0.113.1/25"), ip_interface("203.0.113.129/25")),
        )
        lost = VirtualHost(name="lost", interface="dmz", vhid=3, addresses=(ip_interface("192.168.2.1/24"),))
        return {"wan": wan, "lost": lost}


def config(**tables: Model) -> Config:
    return Config(tables, node=NodeTable(name="fw1"))


def test_every_interface_has_a_set_of_the_devices_at_which_its_packets_come_in() -> None:
    sets = {each.name: each.elements for each in common_sets(config(interfaces=Interfaces(), carp=Hosts())).sets}
    assert sets["if_wan"] == ('"wan0"', '"wan0.v200"')
    assert sets["if_lan"] == ('"lan0"',)


def test_all_networks_of_the_node_are_local_those_of_virtual_addresses_too() -> None:
    sets = {each.name: each.elements for each in common_sets(config(interfaces=Interfaces(), carp=Hosts())).sets}
    assert sets["local_v4"] == ("192.168.1.0/24", "192.168.2.0/24", "198.51.100.0/24", "203.0.113.0/24")
    assert sets["local_v6"] == ("2001:db8:ffff::/64",)


def test_without_interfaces_the_sets_are_there_and_empty() -> None:
    assert {each.name: each.elements for each in common_sets(config()).sets} == {"local_v4": (), "local_v6": ()}


def test_a_node_whose_plugins_contribute_nothing_has_no_ruleset() -> None:
    assert service(config(), [("a", Fragment())], {}) is None


def test_a_node_without_its_ruleset_is_a_worse_candidate() -> None:
    made = service(config(), [("a", Fragment(counters=("a_hits",)))], {})
    assert made is not None
    assert made.on_crash is CrashPolicy.DEMOTE
    assert made.provides == {"ruleset"}


def test_the_service_is_disturbed_only_by_other_rules() -> None:
    fragment = Fragment(counters=("a_hits",))
    one, two = (service(each, [("a", fragment)], {}) for each in (config(), Config({}, node=NodeTable(name="fw1"))))
    other = service(config(interfaces=Interfaces()), [("a", fragment)], {})
    assert one is not None
    assert two is not None
    assert other is not None
    assert one.config == two.config
    assert one.config != other.config


def test_a_closed_node_forwards_nothing_and_takes_nothing_new_from_a_wan() -> None:
    class Wan(Model):
        def logical_interfaces(self) -> Mapping[str, LogicalInterface]:
            lan = LogicalInterface(name="lan", device="lan0")
            wan = LogicalInterface(name="wan", device="wan0", gateways=(ip_address("198.51.100.1"),))
            return {"lan": lan, "wan": wan}

    made = service(config(interfaces=Wan()), [], {}, closed="the file is wrong")
    assert made is not None
    text = made.config.ruleset.text  # type: ignore[attr-defined]
    assert "chain hook_forward" in text
    assert "        counter name closed drop" in text
    assert "iifname @if_wan ct state new meta l4proto { tcp, udp } counter name closed drop" in text
    assert "@if_lan" not in text
