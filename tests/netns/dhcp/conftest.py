"""A paired cluster that serves DHCP on the LAN and in the DMZ: one per module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.lab import Lab, NodeSettings, Topology
from appliance.lab.lab import unique_name
from appliance.lab.pairing import pair_all
from tests.netns.dhcp.clients import wait_synchronized

SETTLE_S = 40.0
DHCP: dict[str, object] = {
    "domain": "lab.example",
    "lease_time": 3600,
    "tftp_server": "192.168.1.9",
}
DMZ = """
[dhcp_failover.interface.dmz]
range = ["192.168.2.110-192.168.2.119"]
failover_peer = "{peer}"
"""
PEERS = {"fw1": "192.168.2.3", "fw2": "192.168.2.2"}


@pytest.fixture(scope="module")
def paired() -> Iterator[Lab]:
    """fw1 MASTER of everything, fw2 with the same configuration."""
    settings = {
        node: NodeSettings(xmlrpc_sync=True, dhcp=DHCP, extra=DMZ.format(peer=peer)) for node, peer in PEERS.items()
    }
    with Lab(Topology(name=unique_name("dh"), ipv6=False, dmz=True), settings=settings) as lab:
        lab.wait_settled("fw1", deadline_s=SETTLE_S)
        pair_all(lab)
        yield lab


@pytest.fixture
def cluster(paired: Lab) -> Iterator[Lab]:
    """The module's cluster: fw1 serves and fw2 has all leases, before the test; without faults after it."""
    paired.wait_settled("fw1", deadline_s=SETTLE_S)
    wait_synchronized(paired, SETTLE_S)
    yield paired
    paired.undo_all()
