"""The modes of outbound NAT, one by one: as whom the server sees a client, and that `nat convert` changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.lab import Lab, NodeSettings, Topology
from appliance.lab.config import Vip, node_toml
from appliance.lab.lab import unique_name
from tests.netns.pfsync.natrules import CLIENT4, SERVER4, VIP4
from tests.netns.rules.conftest import Scene
from tests.netns.rules.takeovers import NODES, Planned, change
from tests.netns.rules.talk import End, call, datagram_seen_as, seen_as

pytestmark = [pytest.mark.netns, pytest.mark.slow]

MAIL, WEB, PLAIN = 8025, 8081, 8082
OTHER4 = "198.51.100.210"
OWN4 = {"fw1": "198.51.100.201", "fw2": "198.51.100.202"}
FILTER = """
[firewall]

[[firewall.rule]]
interface = "lan"
action = "pass"
source = "net:lan"
"""
RULES = f"""
[[outbound_nat.rule]]
interface = "wan"
source = "{CLIENT4}"
protocol = "tcp"
destination_port = {MAIL}
translation = "vip:other"
description = "Mail leaves by its own address"

[[outbound_nat.rule]]
interface = "wan"
source = "net:lan"
protocol = "tcp"
destination_port = {PLAIN}
translation = "none"

[[outbound_nat.rule]]
interface = "wan"
source = "net:lan"
protocol = "tcp"
destination_port = {WEB}
translation = "interface"
"""


def settings(nat: str) -> NodeSettings:
    other = Vip(name="other", interface="wan", vhid=210, addresses=(f"{OTHER4}/24",))
    return NodeSettings(profile="fast", extra_vips=(other,), extra=FILTER + nat)


def mode(name: str, rules: str = "") -> str:
    return f'\n[outbound_nat]\nmode = "{name}"\n{rules}'


@pytest.fixture(scope="module")
def firewalls() -> Iterator[Lab]:
    """The example cluster with a second address on the WAN."""
    with Lab(Topology(name=unique_name("r")), settings=settings(mode("automatic"))) as lab:
        yield lab


@pytest.fixture
def cluster(firewalls: Lab, scene: Scene) -> Iterator[Lab]:
    """It, settled."""
    with scene(firewalls) as lab:
        yield lab


def use(lab: Lab, nat: str) -> None:
    change(lab, {node: node_toml(lab.topology, node, settings(nat)) for node in NODES})


def seen(lab: Lab) -> dict[str, str]:
    """As whom the server sees a client, by what the client wants."""
    ports = {"mail": MAIL, "web": WEB, "plain": PLAIN, "else": 8083}
    return {name: seen_as(lab, "client", SERVER4, target="server", port=port) for name, port in ports.items()}


def nodes_are_themselves(lab: Lab) -> None:
    for node in NODES:
        assert seen_as(lab, node, SERVER4, target="server", port=MAIL) == OWN4[node]


def test_automatic_translates_everything_to_the_virtual_host(cluster: Lab) -> None:
    use(cluster, mode("automatic"))
    assert seen(cluster) == dict.fromkeys(("mail", "web", "plain", "else"), VIP4)
    nodes_are_themselves(cluster)


def test_hybrid_asks_manual_rules_first(cluster: Lab) -> None:
    use(cluster, mode("hybrid", RULES))
    assert seen(cluster) == {"mail": OTHER4, "web": OWN4["fw1"], "plain": CLIENT4, "else": VIP4}
    nodes_are_themselves(cluster)


def test_manual_translates_what_its_rules_say_and_nothing_else(cluster: Lab) -> None:
    use(cluster, mode("manual", RULES))
    assert seen(cluster) == {"mail": OTHER4, "web": OWN4["fw1"], "plain": CLIENT4, "else": CLIENT4}
    nodes_are_themselves(cluster)


def test_the_interface_address_is_that_of_the_node_that_serves(cluster: Lab) -> None:
    use(cluster, mode("manual", RULES))
    Planned.there(cluster)
    assert seen(cluster)["web"] == OWN4["fw2"]
    Planned.back(cluster)


def test_disabled_translates_nothing_outwards(cluster: Lab) -> None:
    use(cluster, mode("disabled"))
    assert seen(cluster) == dict.fromkeys(("mail", "web", "plain", "else"), CLIENT4)
    nodes_are_themselves(cluster)


def test_a_connection_keeps_the_translation_it_began_with(cluster: Lab) -> None:
    use(cluster, mode("automatic"))
    made = call(cluster, "client", SERVER4, target="server")
    use(cluster, mode("disabled"))
    assert made.is_alive()
    assert made.seen.address == VIP4
    made.close()
    assert seen(cluster)["else"] == CLIENT4


def test_automatic_rules_converted_to_manual_ones_do_the_same(cluster: Lab) -> None:
    use(cluster, mode("automatic"))
    before = seen(cluster)
    for node in reversed(NODES):
        cluster.exec(node, "appliance", "nat", "convert", "-c", str(cluster.config_path(node)), "--write")
        text = cluster.config_path(node).read_text()
        assert 'mode = "manual"' in text
        assert "Auto created rule - LAN to WAN" in text
        cluster.request(node, "config", "reload")
    assert seen(cluster) == before
    assert datagram_seen_as(cluster, "client", SERVER4, target="server", port=500, sport=500) == End(VIP4, 500)
    nodes_are_themselves(cluster)
