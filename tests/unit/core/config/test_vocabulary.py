"""How tables speak of each other's things."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface, ip_network

from appliance.config import (
    Alias,
    Config,
    LogicalInterface,
    Model,
    ProvidesVirtualHosts,
    VirtualHost,
    neighbours,
)
from appliance.config.model import NodeTable

LAN = LogicalInterface(name="lan", device="lan0", addresses=(ip_interface("192.168.1.2/24"),))
HOST = VirtualHost(
    name="lan",
    interface="lan",
    vhid=1,
    addresses=(ip_interface("192.168.1.1/24"), ip_interface("2001:db8:1::1/64")),
)


class Hosts(Model):
    """A table that declares one virtual host."""

    name: str

    def virtual_hosts(self) -> Mapping[str, VirtualHost]:
        return {self.name: HOST}


def test_every_table_with_a_capability_is_found_in_file_order() -> None:
    one, two = Hosts(name="one"), Hosts(name="two")
    config = Config({"b": one, "a": two}, node=NodeTable(name="fw1"))
    assert config.all_providing(ProvidesVirtualHosts) == (one, two)
    assert config.providing(ProvidesVirtualHosts) == one


def test_a_virtual_host_knows_its_device_and_its_address_of_each_family() -> None:
    assert HOST.device(LAN) == "lan0.v1"
    assert HOST.address(4) == ip_address("192.168.1.1")
    assert HOST.address(6) == ip_address("2001:db8:1::1")
    assert VirtualHost(name="x", interface="lan", vhid=1, addresses=()).address(4) is None


def test_an_alias_names_its_sets() -> None:
    assert Alias(name="mail", kind="address").set_name(6) == "alias_mail_v6"
    assert Alias(name="web", kind="port").set_name() == "alias_web_port"


def test_neighbours_are_the_networks_of_an_interface_and_link_local_ones_with_ipv6() -> None:
    both = LogicalInterface(
        name="lan", device="lan0", addresses=(ip_interface("192.168.1.2/24"), ip_interface("2001:db8::2/64"))
    )
    assert neighbours(LAN) == (ip_network("192.168.1.0/24"),)
    assert neighbours(both) == (ip_network("192.168.1.0/24"), ip_network("2001:db8::/64"), ip_network("fe80::/10"))
    assert neighbours(None) == ()
