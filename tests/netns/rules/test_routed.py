"""Redundancy without NAT: a public network is routed to the WAN's virtual host, split in two, and never translated."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.lab import Lab, NodeSettings, Topology, netns
from appliance.lab.config import Vip, node_toml
from appliance.lab.lab import unique_name
from appliance.lab.topology import DMZ, LAN, WAN
from tests.netns.pfsync.natrules import SERVER4
from tests.netns.rules.conftest import Scene
from tests.netns.rules.takeovers import NODES, TAKEOVERS, Takeover, change, replicated
from tests.netns.rules.talk import Call, call, held, is_reached, pings, seen_as

pytestmark = [pytest.mark.netns, pytest.mark.slow]

PUBLIC = "203.0.113.0/24"
WEB_GATEWAY, WEB = "203.0.113.1", "203.0.113.10"
DB_GATEWAY, DB = "203.0.113.129", "203.0.113.138"
WEB_NODES = ("203.0.113.2", "203.0.113.3")
DB_NODES = ("203.0.113.130", "203.0.113.131")
HTTP, SQL = 80, 5432
RULES = f"""
[firewall]

[firewall.alias.web_servers]
type = "hosts"
entries = ["{WEB}"]

[[firewall.rule]]
interface = "wan"
action = "pass"
protocol = "tcp"
destination = "web_servers"
destination_port = {HTTP}

[[firewall.rule]]
interface = "wan"
action = "pass"
protocol = "icmp"
destination = "net:lan"
icmp_types = ["echo-request"]

[[firewall.rule]]
interface = "lan"
action = "pass"
protocol = "tcp"
source = "web_servers"
destination = "net:dmz"
destination_port = {SQL}

[[firewall.rule]]
interface = "dmz"
action = "block"
destination = ["net:lan", "net:dmz"]
log = true

[[firewall.rule]]
interface = "lan"
action = "pass"
source = "net:lan"

[[firewall.rule]]
interface = "dmz"
action = "pass"
source = "net:dmz"
"""
DISABLED = """
[outbound_nat]
mode = "disabled"
"""


def text(lab_topology: Topology, node: str, nat: str = "") -> str:
    """A node's file: the halves of the public network in place of the example's private ones."""
    number = NODES.index(node)
    vips = (
        Vip(name="wan", interface="wan", vhid=200, addresses=WAN.vips[0][2][:1]),
        Vip(name="lan", interface="lan", vhid=1, addresses=(f"{WEB_GATEWAY}/25",)),
        Vip(name="dmz", interface="dmz", vhid=2, addresses=(f"{DB_GATEWAY}/25",)),
    )
    settings = NodeSettings(profile="fast", pfsync={}, vips=vips, extra=RULES + nat)
    made = node_toml(lab_topology, node, settings)
    for network, addresses in ((LAN, WEB_NODES), (DMZ, DB_NODES)):
        old = network.node4(number + 1)
        assert old in made
        made = made.replace(old, f"{addresses[number]}/25")
    return made


@pytest.fixture(scope="module")
def firewalls() -> Iterator[Lab]:
    """Two servers behind the firewalls, which know no NAT."""
    topology = Topology(name=unique_name("r"), dmz=True, ipv6=False)
    settings = {node: NodeSettings(text=text(topology, node)) for node in NODES}
    with Lab(topology, settings=settings) as lab:
        for role, device, address, gateway in (
            ("client", LAN.host_device, WEB, WEB_GATEWAY),
            ("dmzhost", DMZ.host_device, DB, DB_GATEWAY),
        ):
            lines = [
                f"addr flush dev {device}",
                f"addr add {address}/25 dev {device}",
                f"route add default via {gateway}",
            ]
            netns.batch("ip", topology.namespace(role), lines)
        upstream = WAN.vips[0][2][0].partition("/")[0]
        netns.batch("ip", topology.namespace("server"), [f"route add {PUBLIC} via {upstream}"])
        yield lab


@pytest.fixture
def cluster(firewalls: Lab, scene: Scene) -> Iterator[Lab]:
    """It, settled."""
    with scene(firewalls) as lab:
        yield lab


def connections(lab: Lab) -> Iterator[tuple[str, Call]]:
    yield "to the web server", call(lab, "server", WEB, target="client", port=HTTP)
    yield "from the web server", call(lab, "client", SERVER4, target="server")
    yield "from the web server to the database", call(lab, "client", DB, target="dmzhost", port=SQL)
    yield "from the database", call(lab, "dmzhost", SERVER4, target="server")


ENDS = {
    "to the web server": (SERVER4, WEB),
    "from the web server": (WEB, SERVER4),
    "from the web server to the database": (WEB, DB),
    "from the database": (DB, SERVER4),
}


def test_addresses_are_seen_unchanged_at_both_ends(cluster: Lab) -> None:
    with held(connections(cluster)) as calls:
        assert {name: (each.seen.address, each.reached.address) for name, each in calls.made.items()} == ENDS
    assert pings(cluster, "server", WEB)


def test_only_what_is_public_is_reached_from_outside(cluster: Lab) -> None:
    assert is_reached(cluster, "server", WEB, target="client", port=HTTP)
    assert not is_reached(cluster, "server", WEB, target="client", port=22)
    assert not is_reached(cluster, "server", DB, target="dmzhost", port=SQL)
    assert not is_reached(cluster, "dmzhost", WEB, target="client", port=HTTP)
    assert not pings(cluster, "server", DB, wait_s=1)


@pytest.mark.parametrize("takeover", TAKEOVERS)
def test_connections_survive_there_and_back(cluster: Lab, takeover: Takeover) -> None:
    with held(connections(cluster)) as calls:
        replicated(cluster, calls)
        takeover.there(cluster)
        assert calls.dead == [], "on fw2"
        assert seen_as(cluster, "client", SERVER4, target="server") == WEB
        takeover.back(cluster)
        assert calls.dead == [], "back on fw1"


def test_a_table_that_disables_translation_is_the_same_as_none(cluster: Lab) -> None:
    with held(connections(cluster)) as calls:
        change(cluster, {node: text(cluster.topology, node, DISABLED) for node in NODES})
        assert calls.dead == []
    with held(connections(cluster)) as calls:
        assert {name: (each.seen.address, each.reached.address) for name, each in calls.made.items()} == ENDS
