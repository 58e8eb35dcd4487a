"""From the table to what the service is told."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network
from typing import Any

import pytest
from pydantic import ValidationError

from appliance_dhcp_failover.config import DhcpFailoverConfig, settings_of
from appliance_dhcp_failover.settings import ChannelSettings, Option, StaticLease
from tests.unit.plugins.dhcp_failover.samples import EXAMPLE, Network, config_of, lan, pool_of

VIP = IPv4Address("192.168.1.1")


def test_a_pool_is_served_at_the_virtual_address_on_its_device() -> None:
    pool = pool_of()
    assert (pool.interface, pool.device, pool.address, pool.vhid) == ("lan", "lan0.v1", VIP, 1)
    assert (str(pool.subnet), str(pool.peer)) == ("192.168.1.0/24", "192.168.1.3")
    assert pool.options == (Option(code=3, data=VIP.packed), Option(code=6, data=VIP.packed))


def test_without_a_virtual_address_the_node_serves_by_itself() -> None:
    values = {"interface": {"guest": {"range": ["192.168.9.10-192.168.9.20"]}}}
    pool = pool_of(values)
    assert (pool.device, str(pool.address), pool.vhid, pool.peer) == ("guest0", "192.168.9.2", None, None)
    assert settings_of(config_of(values)).channel is None


def test_everything_that_clients_are_told_is_an_option() -> None:
    pool = pool_of(
        lan(
            gateway="192.168.1.9",
            dns=["auto", "9.9.9.9"],
            domain="lab.example",
            ntp=["192.168.1.8"],
            tftp_server="192.168.1.7",
            boot_file="pxe.0",
            options=[{"code": 150, "type": "address", "value": "192.168.1.7"}],
        )
    )
    assert {each.code: each.data for each in pool.options} == {
        3: IPv4Address("192.168.1.9").packed,
        6: VIP.packed + IPv4Address("9.9.9.9").packed,
        15: b"lab.example",
        42: IPv4Address("192.168.1.8").packed,
        66: b"192.168.1.7",
        67: b"pxe.0",
        150: IPv4Address("192.168.1.7").packed,
    }
    assert (str(pool.next_server), pool.boot_file) == ("192.168.1.7", "pxe.0")
    assert pool_of(lan(gateway="none", dns=[])).options == ()
    assert pool_of(lan(tftp_server="boot.example")).next_server is None


def test_static_mappings_and_times_are_taken_over() -> None:
    pool = pool_of(
        lan(
            static=[
                {"address": "192.168.1.20", "mac": "02:00:00:00:00:01", "hostname": "printer"},
                {"address": "192.168.1.21", "client_id": "01:02"},
            ],
            lease_time=600,
            max_lease_time=1200,
            deny_unknown=True,
        )
    )
    assert pool.static == (
        StaticLease(address=IPv4Address("192.168.1.20"), mac="02:00:00:00:00:01", hostname="printer"),
        StaticLease(address=IPv4Address("192.168.1.21"), client_id="01:02"),
    )
    assert (pool.lease_s, pool.max_lease_s, pool.deny_unknown) == (600, 1200, True)


def test_the_subnet_is_that_of_the_ranges() -> None:
    network = Network(addresses={"lan": ["10.0.0.2/24", "192.168.1.2/24"], "sync": ["172.16.1.2/24"]}, virtual={})
    pool = pool_of(lan(failover_peer=None), network)
    assert (pool.subnet, str(pool.address)) == (ip_network("192.168.1.0/24"), "192.168.1.2")


def test_leases_travel_over_the_sync_interface_between_paired_nodes_only() -> None:
    channel = ChannelSettings(device="sync0", addresses=("172.16.1.2",), port=8445)
    assert settings_of(config_of()).channel == channel
    assert settings_of(config_of(network=Network(paired=False))).channel is None
    assert settings_of(config_of(lan(failover_peer=None))).channel is None


def test_it_says_what_it_has_to_receive() -> None:
    table = DhcpFailoverConfig.model_validate(EXAMPLE)
    clients, leases = table.own_traffic(Network().logical_interfaces())
    assert (clients.interface, clients.protocol, clients.port) == ("lan", "udp", 67)
    assert (leases.interface, leases.protocol, leases.port) == ("sync", "tcp", 8445)
    assert leases.sources == (ip_network("172.16.1.0/24"),), "only the neighbours there"
    link = table.cluster_link()
    assert link is not None
    assert link.interface == "sync"
    alone = DhcpFailoverConfig.model_validate({"interface": {"lan": {}}})
    assert alone.cluster_link() is None
    assert [each.name for each in alone.own_traffic({})] == ["dhcp"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"range": ["192.168.1.100"], "lease_time": 5}, "greater than or equal to 60"),
        ({"range": ["192.168.1.200-192.168.1.100"]}, "ends before it begins"),
        ({"range": ["192.168.1.0/24"]}, "a range is two addresses"),
        ({"static": [{"address": "192.168.1.9"}]}, "one of them"),
        ({"static": [{"address": "192.168.1.9", "mac": "02-00-00-00-00-01"}]}, "pattern"),
        ({"options": [{"code": 53, "value": "x"}]}, "belongs to the protocol itself"),
        ({"options": [{"code": 150, "type": "address", "value": "x"}]}, "IPv4 addresses are needed"),
        ({"gateway": "lan"}, "auto"),
    ],
)
def test_what_no_pool_can_be_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        config_of({"interface": {"lan": values}})
