"""Changes of the rules while traffic flows: nothing is lost, references follow, and what is referenced stays."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event
from typing import Any

import pytest

from appliance.errors import ApplianceError
from appliance.lab import Lab, NodeSettings, Topology, netns
from appliance.lab.config import Vip, node_toml, standard_vips
from appliance.lab.lab import unique_name
from appliance.lab.measure import ProbeKind, ProbeResult
from appliance.lab.waiting import wait_until
from tests.netns.pfsync import flows
from tests.netns.pfsync.natrules import CLIENT4, SERVER4, VIP4
from tests.netns.rules.conftest import Scene
from tests.netns.rules.takeovers import NODES, SETTLE_S, change, fw2_serves, settled
from tests.netns.rules.talk import call, datagram_seen_as, is_reached, seen_as

pytestmark = [pytest.mark.netns, pytest.mark.slow]

COMMITS = 40
PACKETS_PER_S = 3000
FLOWS_PER_S = 2000
BURST = 4000
"""New flows at a time."""
TRIES = 3
PASSED = "lan_out"
FORWARDED = 8080
MOVED4 = "198.51.100.205"
OWN4 = "198.51.100.201"
"""Of fw1."""
FILTER = """
[firewall]

[[firewall.rule]]
interface = "lan"
action = "pass"
source = "net:lan"
id = "lan_out"
"""
NAT = f"""
[outbound_nat]
mode = "manual"

[[outbound_nat.rule]]
interface = "wan"
source = "net:lan"
translation = "vip:wan"

[[outbound_nat.port_forward]]
interface = "wan"
destination = "vip:wan"
port = {FORWARDED}
target = "{CLIENT4}"

[[outbound_nat.one_to_one]]
interface = "wan"
external = "vip:spare"
internal = "192.168.1.77"
"""
SPARE = Vip(name="spare", interface="wan", vhid=210, addresses=("198.51.100.210/24",))
NEW_PORTS = f"{flows.FIRST_DPORT}-{flows.FIRST_DPORT + flows.DPORTS - 1}"
WITNESS = f"""
table ip witness {{
  counter flows {{ }}
  counter leaks {{ }}
  chain seen {{
    type filter hook prerouting priority -400;
    iifname "eth0" udp dport {NEW_PORTS} ip saddr {VIP4} counter name flows
    iifname "eth0" udp dport {NEW_PORTS} ip saddr != {VIP4} counter name leaks
  }}
}}
"""


def text(
    topology: Topology, node: str, *, rules: int = 0, vip: str = VIP4, vips: tuple[str, ...] = ("lan", "wan")
) -> str:
    """A node's file with so many more rules than it needs."""
    more = "".join(
        f'\n[[firewall.rule]]\ninterface = "lan"\naction = "block"\ndestination = "192.0.2.{number}"\n'
        for number in range(1, rules + 1)
    )
    chosen = tuple(each for each in (*standard_vips(topology), SPARE) if each.name in {*vips, SPARE.name})
    made = node_toml(topology, node, NodeSettings(profile="fast", vips=chosen, extra=FILTER + more + NAT))
    return made.replace(f'"{VIP4}/24"', f'"{vip}/24"')


@pytest.fixture(scope="module")
def firewalls() -> Iterator[Lab]:
    """The example cluster with manual NAT."""
    topology = Topology(name=unique_name("r"))
    with Lab(topology, settings={node: NodeSettings(text=text(topology, node)) for node in NODES}) as lab:
        yield lab


@pytest.fixture
def cluster(firewalls: Lab, scene: Scene) -> Iterator[Lab]:
    """It, settled."""
    with scene(firewalls) as lab:
        yield lab


@dataclass(frozen=True, slots=True)
class Run:
    """What one run under load came to."""

    sent: int
    seen: dict[str, int]
    """Packets of new flows that the server got: ``flows`` from the virtual host, ``leaks`` from anybody else."""
    hits: int
    """By how much the counter of the rule that passes them grew."""
    steady: ProbeResult

    @property
    def is_whole(self) -> bool:
        """Nothing was lost."""
        return self.seen == {"flows": self.sent, "leaks": 0} and self.steady.lost == 0


def under_load(lab: Lab, first: int) -> Run:
    """All the commits while an established flow and new ones pass; flows are numbered from `first`."""
    netns.nft(lab.topology.namespace("server"), "add table ip witness\ndelete table ip witness\n" + WITNESS)
    before, committed = hits(lab), Event()

    def new_flows() -> int:
        sent = 0
        while not committed.is_set():
            flows.run(lab, "udp", BURST, first=first + sent, rate=FLOWS_PER_S)
            sent += BURST
        return sent

    with lab.probe(ProbeKind.UDP, rate=PACKETS_PER_S) as probe, ThreadPoolExecutor(1) as pool:
        probe.wait_flowing()
        generator = pool.submit(new_flows)
        try:
            reloaded = [commit(lab, number % 5 + 1) for number in range(COMMITS)]
        finally:
            committed.set()
        sent, steady = generator.result(), probe.stop()
    assert all(reloaded)
    listed = lab.exec("server", "nft", "-j", "list", "counters", "table", "ip", "witness").stdout
    rows = [row["counter"] for row in json.loads(listed)["nftables"] if "counter" in row]
    return Run(sent, {row["name"]: row["packets"] for row in rows}, hits(lab) - before, steady)


def hits(lab: Lab) -> int:
    """Connections that the rule of the LAN has passed."""
    rules: Any = lab.request("fw1", "show", "firewall")["rules"]
    return sum(int(rule["packets"]) for rule in rules if rule["id"] == PASSED)


def test_forty_commits_under_load_lose_nothing(cluster: Lab) -> None:
    """What a reload loses it loses each time; what a stalled test machine loses it does not."""
    flows.sink(cluster)
    held = call(cluster, "client", SERVER4, target="server")
    runs: list[Run] = []
    while not (runs and runs[-1].is_whole) and len(runs) < TRIES:
        runs.append(under_load(cluster, first=sum(run.sent for run in runs)))
    assert runs[-1].is_whole, runs
    assert runs[-1].hits >= runs[-1].sent, "counters go on over all reloads"
    assert held.is_alive()
    held.close()


def commit(lab: Lab, rules: int) -> bool:
    """Changes the MASTER's rules; whether that reloaded them."""
    lab.config_path("fw1").write_text(text(lab.topology, "fw1", rules=rules))
    report = lab.request("fw1", "config", "reload")
    return "node/ruleset" in report["services"]["reloaded"]  # type: ignore[index]


def test_a_virtual_host_that_gets_another_address_takes_its_rules_along(cluster: Lab) -> None:
    change(cluster, {node: text(cluster.topology, node, vip=MOVED4) for node in NODES})
    cluster.wait_settled("fw1")
    assert seen_as(cluster, "client", SERVER4, target="server") == MOVED4
    assert is_reached(cluster, "server", MOVED4, target="client", port=FORWARDED)
    assert not is_reached(cluster, "server", VIP4, target="client", port=FORWARDED)
    change(cluster, {node: text(cluster.topology, node) for node in NODES})
    cluster.wait_settled("fw1")
    assert seen_as(cluster, "client", SERVER4, target="server") == VIP4


def test_a_virtual_host_that_rules_name_is_not_deleted_and_the_rules_are_listed(cluster: Lab) -> None:
    before = cluster.exec("fw1", "nft", "list", "chain", "inet", "appliance", "hook_translate_out").stdout
    bad = text(cluster.topology, "fw1", vips=("lan",))
    cluster.config_path("fw1").write_text(bad)
    try:
        with pytest.raises(ApplianceError) as refusal:
            cluster.request("fw1", "config", "reload")
    finally:
        cluster.config_path("fw1").write_text(text(cluster.topology, "fw1"))
    lines = bad.splitlines()
    places = [number for number, line in enumerate(lines, 1) if '"vip:wan"' in line]
    assert len(places) == 2
    named = [int(found) for found in re.findall(r"appliance\.toml:(\d+):\d+: outbound_nat\.", refusal.value.message)]
    assert named == places, refusal.value.message
    assert "there is no virtual host" in refusal.value.message
    assert seen_as(cluster, "client", SERVER4, target="server") == VIP4
    assert cluster.exec("fw1", "nft", "list", "chain", "inet", "appliance", "hook_translate_out").stdout == before


def test_a_node_that_starts_with_a_mistake_in_its_rules_forwards_nothing_and_the_other_serves(cluster: Lab) -> None:
    right = text(cluster.topology, "fw1")
    client = f"{CLIENT4}/32"
    cluster.exec("server", "ip", "route", "replace", client, "via", OWN4)
    cluster.config_path("fw1").write_text(right.replace('interface = "lan"\naction', 'interface = "lam"\naction'))
    cluster.stop("fw1")
    cluster.start("fw1")
    fw2_serves(cluster)
    wait_until(lambda: "rules are missing, so nothing is forwarded" in alarms(cluster), "fw1 says why", SETTLE_S)
    assert datagram_seen_as(cluster, "server", CLIENT4, target="client", port=5003, wait_s=0.5) is None, "by fw1"
    assert "packets 1 " in cluster.exec("fw1", "nft", "list", "counter", "inet", "appliance", "closed").stdout
    assert seen_as(cluster, "client", SERVER4, target="server") == VIP4, "by fw2"
    cluster.config_path("fw1").write_text(right)
    cluster.request("fw1", "config", "reload")
    settled(cluster)
    assert "rules are missing" not in alarms(cluster)
    assert seen_as(cluster, "client", SERVER4, target="server") == VIP4


def alarms(lab: Lab) -> str:
    """What fw1 complains about."""
    return lab.exec("fw1", "appliance", "show", "alarms", check=False).stdout
