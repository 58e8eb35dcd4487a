"""The example cluster with its firewall: who gets out as whom, what gets in, and what a takeover costs (nothing)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from appliance.lab import Lab, NodeSettings, Topology, netns, probes
from appliance.lab.lab import unique_name
from appliance.lab.probe import DOWNLOAD_PORT, ECHO_PORT, UDP_PORT
from appliance.lab.topology import LAN, WAN
from appliance.lab.waiting import wait_until
from tests.netns.pfsync.connections import opened
from tests.netns.pfsync.natrules import CLIENT4, CLIENT6, SERVER4, SERVER6, VIP4, VIP6
from tests.netns.rules.conftest import Scene
from tests.netns.rules.scan import Finding, scan
from tests.netns.rules.takeovers import NODES, TAKEOVERS, Planned, Takeover, replicated
from tests.netns.rules.talk import (
    ANY,
    Call,
    End,
    call,
    datagram_seen_as,
    family_of,
    held,
    is_reached,
    listening,
    pings,
    seen_as,
)

pytestmark = [pytest.mark.netns, pytest.mark.slow]

FORWARDED, TARGET_PORT = 8080, 7010
"""On the virtual host, and at the client."""
RULES = f"""
[firewall]
block_private = ["wan"]
block_bogons = ["wan"]

[[firewall.rule]]
interface = "lan"
action = "pass"
source = "net:lan"
description = "Default allow LAN to any"

[outbound_nat]

[[outbound_nat.port_forward]]
interface = "wan"
destination = "vip:wan"
port = "{ECHO_PORT}-{DOWNLOAD_PORT}"
target = "{CLIENT4}"

[[outbound_nat.port_forward]]
interface = "wan"
destination = "vip:wan"
port = {FORWARDED}
target = "{CLIENT4}"
target_port = {TARGET_PORT}
reflection = true

[[outbound_nat.port_forward]]
interface = "wan"
destination = "vip:wan"
port = "{ECHO_PORT}-{DOWNLOAD_PORT}"
target = "{CLIENT6}"
"""
OWN4 = {node: WAN.node4(number).partition("/")[0] for number, node in enumerate(NODES, 1)}
OWN6 = {node: WAN.node6(number).partition("/")[0] for number, node in enumerate(NODES, 1)}
INSIDE4 = {node: LAN.node4(number).partition("/")[0] for number, node in enumerate(NODES, 1)}
LAN_VIP4 = LAN.vips[0][2][0].partition("/")[0]
NARROW_MTU = 1280
FAR4, FAR6 = "198.18.0.5", "2001:db8:beef::5"
"""Beyond the server, over a link with a small MTU."""
LISTENING = (22, 80, 443)
"""TCP ports at which something listens on the nodes themselves during a scan."""
PORTS = (
    *(7, 20, 21, 23, 25, 53, 67, 69, 88, 110, 111, 123, 135, 137, 139, 143, 161, 179, 389, 445, 500, 514, 519, 520),
    *(546, 547, 631, 636, 647, 847, 853, 990, 993, 995, 1194, 1433, 1701, 1723, 1900, 3306, 3389, 3780, 4500, 5060),
    *(5201, 5353, 5432, 6379, 8000, 8443, 8765, 9100, 51820, 65535),
    *LISTENING,
    *(UDP_PORT, ECHO_PORT, DOWNLOAD_PORT, FORWARDED),
)


@pytest.fixture(scope="module")
def firewalls() -> Iterator[Lab]:
    """The example cluster, with replication."""
    settings = NodeSettings(profile="fast", pfsync={}, extra=RULES)
    with Lab(Topology(name=unique_name("r")), settings=settings) as lab:
        yield lab


@pytest.fixture
def cluster(firewalls: Lab, scene: Scene) -> Iterator[Lab]:
    """It, settled."""
    with scene(firewalls) as lab:
        yield lab


# ------------------------------------------------------------------------------------------------- outbound


def test_a_client_is_seen_as_the_virtual_host(cluster: Lab) -> None:
    assert seen_as(cluster, "client", SERVER4, target="server") == VIP4
    assert datagram_seen_as(cluster, "client", SERVER4, target="server", port=5000, sport=6000) == End(VIP4, 6000)
    assert pings(cluster, "client", SERVER4)


def test_ipv6_is_not_translated(cluster: Lab) -> None:
    assert seen_as(cluster, "client", SERVER6, target="server") == CLIENT6


def test_key_exchange_of_ipsec_keeps_its_port(cluster: Lab) -> None:
    assert datagram_seen_as(cluster, "client", SERVER4, target="server", port=500, sport=500) == End(VIP4, 500)


def reaches_the_internet_as_itself(lab: Lab, node: str) -> None:
    assert seen_as(lab, node, SERVER4, target="server") == OWN4[node]
    assert seen_as(lab, node, SERVER6, target="server") == OWN6[node]
    assert pings(lab, node, SERVER4)
    assert pings(lab, node, SERVER6)
    # What a service of the node sends from an address that nobody outside can answer.
    assert seen_as(lab, node, SERVER4, target="server", bind=INSIDE4[node]) == OWN4[node]


def test_master_and_backup_reach_the_internet_with_their_own_addresses(cluster: Lab) -> None:
    for node in NODES:
        reaches_the_internet_as_itself(cluster, node)
    Planned.there(cluster)
    for node in NODES:
        reaches_the_internet_as_itself(cluster, node)
    Planned.back(cluster)


# ------------------------------------------------------------------------------------------------- takeovers


def forwarded_calls(lab: Lab) -> Iterator[tuple[str, Call]]:
    yield "to the forwarded port", call(lab, "server", VIP4, target="client", port=FORWARDED, target_port=TARGET_PORT)
    yield "from a well-known port", call(lab, "client", SERVER4, target="server", sport=600)
    yield (
        "of the client to its own forward",
        call(lab, "client", VIP4, target="client", port=FORWARDED, target_port=TARGET_PORT),
    )


@pytest.mark.parametrize("takeover", TAKEOVERS)
def test_no_connection_is_lost_there_and_back(cluster: Lab, takeover: Takeover) -> None:
    with held(forwarded_calls(cluster)) as calls, opened(cluster) as connections:
        replicated(cluster, calls)
        takeover.there(cluster)
        assert calls.dead == [], "on fw2"
        takeover.back(cluster)
        assert calls.dead == [], "back on fw1"
        connections.stop()
    assert connections.lost == []


# ------------------------------------------------------------------------------------------------- inbound


def test_a_scan_from_the_wan_finds_only_what_is_passed(cluster: Lab) -> None:
    probes.ensure_server(cluster, "client", "tcp")
    probes.ensure_server(cluster, "client", "udp")
    addresses = (VIP4, VIP6, *OWN4.values(), *OWN6.values(), CLIENT4, CLIENT6, LAN_VIP4)
    with ExitStack() as stack:
        for node in NODES:
            for port in LISTENING:
                stack.enter_context(listening(cluster, node, port, family=6))
        stack.enter_context(listening(cluster, "client", TARGET_PORT))
        for network, via in ((LAN_VIP4, OWN4["fw1"]), (CLIENT4, VIP4)):
            cluster.exec("server", "ip", "route", "replace", network, "via", via)
        found = scan(cluster, "server", addresses, PORTS)
        inside = scan(cluster, "client", [LAN_VIP4, INSIDE4["fw1"]], LISTENING)
    assert found == {
        *(Finding("tcp", VIP4, port, "open") for port in (ECHO_PORT, DOWNLOAD_PORT, FORWARDED)),
        *(Finding("tcp", VIP6, port, "open") for port in (ECHO_PORT, DOWNLOAD_PORT)),
    }
    assert {each for each in inside if each.protocol == "tcp"} == {
        Finding("tcp", address, port, "open") for address in (LAN_VIP4, INSIDE4["fw1"]) for port in LISTENING
    }, "what the rule of the LAN passes is there to be found"
    assert {each.how for each in inside if each.protocol == "udp"} == {"closed"}


def test_nothing_answers_a_ping_from_the_wan(cluster: Lab) -> None:
    with ThreadPoolExecutor() as pool:
        addresses = [VIP4, VIP6, *OWN4.values(), *OWN6.values(), CLIENT6]
        answered = pool.map(lambda address: pings(cluster, "server", address, wait_s=1), addresses)
    assert dict(zip(addresses, answered, strict=True)) == dict.fromkeys(addresses, False)
    assert pings(cluster, "client", VIP4), "from inside it does"


def test_the_log_names_what_a_stranger_tried(cluster: Lab) -> None:
    scan(cluster, "server", [OWN4["fw1"]], [2323])

    def logged() -> bool:
        lines = cluster.exec("fw1", "appliance", "show", "firewall", "log", ":2323").stdout.splitlines()
        wanted = (f"{SERVER4}:", f"-> {OWN4['fw1']}:2323 ", "block", "wan", "default_in")
        return {"tcp", "udp"} == {
            protocol for line in lines for protocol in ("tcp", "udp") if all(w in line for w in (*wanted, protocol))
        }

    wait_until(logged, "both attempts are in the log", 5.0)


def test_the_doctor_finds_nothing_wrong_on_either_node(cluster: Lab) -> None:
    for node in NODES:
        assert "0 warnings, 0 failures" in cluster.exec(node, "appliance", "doctor").stdout


def test_ipv6_passes_outwards_and_is_blocked_inwards(cluster: Lab) -> None:
    assert pings(cluster, "client", SERVER6)
    with held([("outwards", call(cluster, "client", SERVER6, target="server"))]) as calls:
        assert not is_reached(cluster, "server", CLIENT6, target="client", port=5001)
        assert datagram_seen_as(cluster, "server", CLIENT6, target="client", port=5001, wait_s=0.5) is None
        assert calls.dead == []


def test_neighbours_find_each_other_through_the_filter(cluster: Lab) -> None:
    """Neighbour discovery in both directions, of the virtual and of the nodes' own addresses."""
    for role in ("client", "server", *NODES):
        cluster.exec(role, "ip", "-6", "neigh", "flush", "all")
    assert pings(cluster, "client", SERVER6)
    for node in NODES:
        cluster.exec(node, "ip", "-6", "neigh", "flush", "all")
        assert pings(cluster, node, SERVER6)
        assert pings(cluster, node, CLIENT6)
    assert "lladdr" in cluster.exec("server", "ip", "-6", "neigh", "show", VIP6).stdout


# ------------------------------------------------------------------------------------------------- errors


@pytest.fixture
def narrow(cluster: Lab) -> Iterator[Lab]:
    """Beyond the server everything has to fit through a link with a small MTU."""
    server = cluster.topology.namespace("server")
    netns.batch(
        "ip",
        server,
        [
            f"link add narrow mtu {NARROW_MTU} type veth peer name narrow2 mtu {NARROW_MTU}",
            "link set narrow2 up",
            "link set narrow up",
            "addr add 198.18.0.1/24 dev narrow",
            "addr add 2001:db8:beef::1/64 dev narrow nodad",
        ],
    )
    switches = ("net/ipv4/conf/all/forwarding", "net/ipv6/conf/all/forwarding")
    netns.write_sysctls(server, dict.fromkeys(switches, "1"))
    yield cluster
    netns.write_sysctls(server, dict.fromkeys(switches, "0"))
    netns.batch("ip", server, ["link del narrow"])


@pytest.mark.parametrize(
    ("address", "level", "discover", "mtu"),
    [
        # The numbers of IP_MTU_DISCOVER and IP_MTU, and of the same for IPv6; 2 is "never fragment".
        (FAR4, socket.IPPROTO_IP, 10, 14),
        (FAR6, socket.IPPROTO_IPV6, 23, 24),
    ],
)
def test_a_client_learns_the_mtu_of_the_path(narrow: Lab, address: str, level: int, discover: int, mtu: int) -> None:
    """The error comes from a router outside, for IPv4 about a translated packet."""

    def make() -> socket.socket:
        made = socket.socket(family_of(address), socket.SOCK_DGRAM)
        made.bind((ANY[family_of(address)], 0))
        made.setsockopt(level, discover, 2)
        made.connect((address, 5002))
        return made

    with netns.inside(narrow.topology.namespace("client"), make) as channel:
        assert channel.getsockopt(level, mtu) == 1500
        channel.send(bytes(1400))
        wait_until(lambda: channel.getsockopt(level, mtu) == NARROW_MTU, "the client knows the MTU", 5.0)
