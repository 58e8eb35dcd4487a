"""The example pair tells a syslog server on the LAN what happens, and Prometheus there reads both nodes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from appliance.lab import Lab, NodeSettings, Topology
from appliance.lab.lab import unique_name
from appliance.lab.topology import LAN, WAN
from appliance.lab.waiting import wait_until
from tests.netns.pfsync.natrules import CLIENT4
from tests.netns.rules.takeovers import NODES, Planned, settled

pytestmark = [pytest.mark.netns, pytest.mark.slow]

SYSLOG_PORT, METRICS_PORT = 5514, 9640
INSIDE = {node: LAN.node4(number).partition("/")[0] for number, node in enumerate(NODES, 1)}
OUTSIDE = {node: WAN.node4(number).partition("/")[0] for number, node in enumerate(NODES, 1)}
VIP = LAN.vips[0][2][0].partition("/")[0]
EXTRA = f"""
[notify.syslog.central]
server = "{CLIENT4}"
port = {SYSLOG_PORT}
severity = "info"
per_minute = 60

[notify.webhook.nobody]
url = "http://{CLIENT4}:1/"

[metrics]
listen = ["lan"]
port = {METRICS_PORT}
"""
LISTENER = f"""
import socket
made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
made.bind(("{CLIENT4}", {SYSLOG_PORT}))
while True:
    line, (source, _) = made.recvfrom(4096)
    print(source, line.decode(), flush=True)
"""
READER = """
import sys, urllib.request
print(urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode())
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    settings = NodeSettings(profile="fast", pfsync={}, firewall=True, extra=EXTRA)
    with Lab(Topology(name=unique_name("t")), settings=settings) as made:
        settled(made)
        yield made


def read(lab: Lab, host: str, address: str, patience_s: float = 5.0) -> str:
    """The page as a program on that machine gets it; empty when it gets none."""
    url = f"http://{address}:{METRICS_PORT}/metrics"
    return lab.exec(host, sys.executable, "-c", READER, url, str(patience_s), check=False).stdout


def values(body: str) -> dict[tuple[str, ...], float]:
    return {
        (each.name, *(text for _, text in sorted(each.labels.items()))): each.value
        for family in text_string_to_metric_families(body)
        for each in family.samples
    }


def test_both_nodes_tell_a_switchover_from_their_own_addresses(lab: Lab, tmp_path: Path) -> None:
    told = tmp_path / "told"
    lab.spawn("client", [sys.executable, "-c", LISTENER], log=told)

    def lines(node: str, what: str) -> list[str]:
        return [line for line in told.read_text().splitlines() if f" {node} appliance " in line and what in line]

    for node in NODES:
        wait_until(lambda node=node: "delivered" in send_test(lab, node), f"{node} sends a test", 20.0)
        wait_until(lambda node=node: lines(node, "this is a test"), f"the test of {node} arrives", 20.0)
    Planned.there(lab)
    wait_until(lambda: lines("fw2", "MASTER for VHID"), "fw2 tells that it is MASTER", 30.0)
    wait_until(lambda: lines("fw1", "BACKUP for VHID"), "fw1 tells that it is BACKUP", 30.0)
    Planned.back(lab)
    wait_until(lambda: lines("fw1", "MASTER for VHID"), "fw1 tells that it is MASTER", 30.0)
    sources = {line.split()[0] for line in told.read_text().splitlines() if line.startswith("192.")}
    assert sources == set(INSIDE.values())


def send_test(lab: Lab, node: str) -> str:
    return lab.exec(node, "appliance", "notify", "test", "central", check=False).stdout


def test_a_target_that_is_not_there_disturbs_nobody_and_is_said(lab: Lab) -> None:
    done = lab.exec("fw1", "appliance", "notify", "test", check=False)
    assert done.returncode == 1
    assert "central: delivered to udp" in done.stdout
    assert "nobody: NOT delivered: cannot connect" in done.stdout
    assert lab.request("fw1", "show", "carp")["demotion"] == 0


def test_prometheus_on_the_lan_reads_both_nodes_through_their_firewalls(lab: Lab) -> None:
    found = {node: values(read(lab, "client", INSIDE[node])) for node in NODES}
    for node, role in (("fw1", "MASTER"), ("fw2", "BACKUP")):
        mine = found[node]
        assert mine["appliance_ha_role", "lan", role, "1"] == 1
        assert mine["appliance_ha_peer_healthy", "fw2" if node == "fw1" else "fw1"] == 1
        assert mine["appliance_carp_events_total", "received", "lan", "1"] > 0
        assert mine["appliance_pfsync_states",] >= 0
        assert mine["appliance_pfsync_peer_alive", "fw2" if node == "fw1" else "fw1"] == 1
        assert mine["appliance_gateways_up", "wan_gw"] == 1
        assert [key for key in mine if key[0] == "appliance_ruleset_packets_total" and "metrics" in key[1]]
    assert found["fw1"]["appliance_carp_events_total", "sent", "lan", "1"] > 0


def test_nobody_else_reads_them_and_the_virtual_address_has_none(lab: Lab) -> None:
    assert read(lab, "client", VIP, 2.0) == ""
    assert read(lab, "server", OUTSIDE["fw1"], 2.0) == ""
    assert read(lab, "server", INSIDE["fw1"], 2.0) == ""
