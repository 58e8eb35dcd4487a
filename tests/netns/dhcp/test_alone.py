"""A node without another one: static mappings, unknown clients, and a pool that is full."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.lab import Lab, NodeSettings, Topology
from appliance.lab.lab import unique_name
from tests.netns.dhcp import clients

pytestmark = [pytest.mark.netns]

STATIC = """
[[dhcp_failover.interface.lan.static]]
client_id = "00:c1:00:01"
address = "192.168.1.50"
hostname = "printer"
"""


@pytest.fixture(scope="module")
def alone() -> Iterator[Lab]:
    """One node with two addresses for anybody and one for a printer."""
    settings = NodeSettings(dhcp={"range": ["192.168.1.100-192.168.1.101"], "lease_time": 60}, extra=STATIC)
    with Lab(Topology(name=unique_name("da"), nodes=1, ipv6=False), settings=settings) as lab:
        lab.wait_settled("fw1", deadline_s=40)
        clients.wait_state(lab, "fw1", "serving")
        yield lab


def reload(lab: Lab, old: str, new: str) -> None:
    path = lab.config_path("fw1")
    path.write_text(path.read_text().replace(old, new))
    lab.request("fw1", "config", "reload")


def test_a_static_client_gets_its_address_and_name(alone: Lab) -> None:
    got = clients.udhcpc(alone, number=1)
    assert got is not None
    assert (got["address"], got["hostname"]) == ("192.168.1.50", "printer")
    lease = clients.leases(alone, "fw1")["192.168.1.50"]
    assert (lease["static"], lease["granted_by"]) == (True, "fw1")


def test_a_full_pool_is_an_alarm_and_its_clients_keep_their_addresses(alone: Lab) -> None:
    held = [clients.udhcpc(alone, number=number) for number in (2, 3)]
    assert {got["address"] for got in held if got} == {"192.168.1.100", "192.168.1.101"}
    assert clients.udhcpc(alone, number=4, tries=2) is None
    clients.wait_until(
        lambda: "dhcp/lan/exhausted" in str(alone.request("fw1", "show", "alarms")), "the alarm is active", 10
    )
    assert clients.udhcpc(alone, number=2) == held[0]
    assert clients.pool(alone, "fw1")["free"] == 0
    # More addresses: taken live, and nobody lost one.
    reload(alone, "192.168.1.101", "192.168.1.109")
    assert clients.udhcpc(alone, number=5) is not None
    assert clients.udhcpc(alone, number=3) == held[1]


def test_unknown_clients_can_be_denied(alone: Lab) -> None:
    reload(alone, "lease_time = 60", "lease_time = 60\ndeny_unknown = true")
    clients.wait_until(lambda: clients.udhcpc(alone, number=6, tries=1) is None, "strangers get nothing", 10)
    got = clients.udhcpc(alone, number=1)
    assert got is not None
    assert got["address"] == "192.168.1.50"
