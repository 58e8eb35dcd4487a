"""The DHCP client of a drill: the same address from whoever serves, and a lease that every node knows."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from appliance.errors import ApplianceError
from appliance.lab import Lab, leases
from appliance.lab.leases import DhcpClient


class Cluster:
    """Two nodes and a client; the address that the next client gets, and who knows which lease."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.topology = SimpleNamespace(node_names=("fw1", "fw2"), cables_of=lambda _: [SimpleNamespace(device="eth0")])
        self.gets = "192.168.1.100"
        self.known = {"fw1": [self.gets], "fw2": [self.gets]}
        self.has_dhcp = True
        self.dead = ""
        self.ran: list[tuple[str, ...]] = []

    def request(self, node: str, *words: str) -> dict[str, Any]:
        if not self.has_dhcp:
            raise ApplianceError("the DHCP service is not running on this node", hint="-")
        return {"leases": [{"address": address} for address in self.known[node]]}

    def has_power(self, node: str) -> bool:
        return node != self.dead

    def exec(self, role: str, *argv: str, check: bool, timeout_s: float) -> SimpleNamespace:
        self.ran.append((role, *argv))
        return SimpleNamespace(stdout=f"{self.gets}\n" if self.gets else "")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(leases, "KNOWN_S", 0.05)
    monkeypatch.setattr(leases, "_program", lambda: ["udhcpc"])
    return Cluster(tmp_path)


def client(cluster: Cluster) -> DhcpClient:
    return DhcpClient(cast(Lab, cluster))


def test_it_gets_the_same_address_again(cluster: Cluster) -> None:
    one = client(cluster)
    assert one.begin() == "a client has 192.168.1.100, and every node knows its lease"
    assert one.again() == "DHCP: the client gets 192.168.1.100 again"
    role, program, *options = cluster.ran[0]
    assert (role, program) == ("client", "udhcpc")
    assert {"-q", "-n"} < set(options), "it leaves nothing running"


def test_another_address_or_none_is_an_error(cluster: Cluster) -> None:
    one = client(cluster)
    one.begin()
    cluster.gets = "192.168.1.101"
    with pytest.raises(ApplianceError, match=r"got 192\.168\.1\.101 instead of 192\.168\.1\.100"):
        one.again()
    cluster.gets = ""
    with pytest.raises(ApplianceError, match="nobody answers"):
        one.again()


def test_a_node_that_does_not_know_the_lease_is_named_unless_it_has_no_power(cluster: Cluster) -> None:
    one = client(cluster)
    one.begin()
    cluster.known["fw2"] = []
    with pytest.raises(ApplianceError, match="fw2 knows the lease"):
        one.again()
    cluster.dead = "fw2"
    assert one.again()


def test_without_dhcp_or_without_a_client_nothing_is_asked(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster.has_dhcp = False
    one = client(cluster)
    assert "not running" in one.begin()
    assert (one.address, one.again()) == ("", "")
    cluster.has_dhcp = True
    monkeypatch.setattr(leases, "_program", lambda: None)
    assert "no DHCP client" in client(cluster).begin()
    assert cluster.ran == []
