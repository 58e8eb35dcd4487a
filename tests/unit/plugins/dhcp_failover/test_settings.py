"""What a pool's settings know of addresses."""

from __future__ import annotations

from ipaddress import IPv4Address

from tests.unit.plugins.dhcp_failover.samples import lan, pool_of


def test_a_pool_knows_its_size_and_its_addresses() -> None:
    pool = pool_of(lan(range=["192.168.1.100-192.168.1.109", "192.168.1.200"]))
    assert pool.size == 11
    assert pool.includes(IPv4Address("192.168.1.109"))
    assert pool.includes(IPv4Address("192.168.1.200"))
    assert not pool.includes(IPv4Address("192.168.1.110"))
