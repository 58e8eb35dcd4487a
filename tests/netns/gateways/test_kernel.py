"""Rules, routes and connections in a real kernel."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
import trio

from appliance.testing import LabNode, Netlab
from appliance_gateways import kernel
from appliance_gateways.routing import DefaultRoute, Item, PolicyRule

pytestmark = pytest.mark.netns

GATEWAY = ip_address("198.51.100.1")
GATEWAY6 = ip_address("2001:db8:ffff::1")


@pytest.fixture
def node(netlab: Netlab) -> LabNode:
    made = netlab.node("fw")
    netlab.connect(made, netlab.node("r1"), "wan")
    return made


def index(node: LabNode) -> int:
    return int(node.run("cat", "/sys/class/net/wan/ifindex"))


def test_what_is_made_is_read_back_and_removed(node: LabNode) -> None:
    place = node.inside(lambda: Path("/proc/thread-self/net/dev").read_text())
    assert "wan" in place

    def body() -> None:
        with kernel.Router() as router:
            indexes = router.indexes(["wan", "gone"])
            assert list(indexes) == ["wan"]
            wanted: set[Item] = {
                PolicyRule(4, 90, 254, suppress_default=True),
                PolicyRule(6, 100, 1007, mark=7),
                PolicyRule(4, 100, 1008, mark=8),
                DefaultRoute(4, 254, GATEWAY, indexes["wan"], 0),
                DefaultRoute(4, 1008, GATEWAY, indexes["wan"], 0),
                DefaultRoute(6, 1007, GATEWAY6, indexes["wan"], 1),
            }
            assert router.make(wanted) == []
            assert router.read() == wanted
            assert router.make(wanted) == []
            other = DefaultRoute(4, 254, ip_address("198.51.100.9"), indexes["wan"], 0)
            assert router.make({other}) == []
            assert router.read() == {other}
            assert router.make(()) == []
            assert router.read() == set()

    node.inside(body)
    assert "198.51.100" not in node.run("ip", "route", "show", "table", "all")


def test_what_others_made_is_left_alone(node: LabNode) -> None:
    node.run("ip", "route", "add", "default", "dev", "wan", "metric", "50")
    node.run("ip", "rule", "add", "pref", "100", "fwmark", "9", "lookup", "1009")

    def body() -> None:
        with kernel.Router() as router:
            assert router.read() == set()
            assert router.make(()) == []

    node.inside(body)
    assert "metric 50" in node.run("ip", "route", "show", "default")
    assert "fwmark 0x9" in node.run("ip", "rule", "show")


def test_what_the_kernel_refuses_is_said(node: LabNode) -> None:
    def body() -> list[str]:
        with kernel.Router() as router:
            return router.make({DefaultRoute(4, 1007, GATEWAY, 9999, 0)})

    (refused,) = node.inside(body)
    assert refused == "default via 198.51.100.1 dev #9999 table 1007 metric 0: refused: No such device"


def test_it_is_noticed_when_somebody_removes_ours_and_not_when_they_remove_theirs(node: LabNode) -> None:
    async def body() -> None:
        with kernel.Router() as router, kernel.Watch() as watch:
            route = DefaultRoute(4, 1007, GATEWAY, router.indexes(["wan"])["wan"], 0)
            assert router.make({PolicyRule(4, 90, 254, suppress_default=True), route}) == []
            node.run("ip", "route", "add", "default", "dev", "wan", "metric", "50")
            node.run("ip", "route", "delete", "default", "dev", "wan", "metric", "50")
            with trio.move_on_after(0.2) as scope:
                await watch.removed()
            assert scope.cancelled_caught
            for mine in (["rule", "delete", "pref", "90"], ["route", "delete", "default", "table", "1007"]):
                node.run("ip", *mine)
                with trio.fail_after(5):
                    await watch.removed()

    node.inside(lambda: trio.run(body))


def test_a_wan_accepts_what_comes_by_another_way_than_answers_would_leave(node: LabNode) -> None:
    node.run("sysctl", "-qw", "net.ipv4.conf.wan.rp_filter=1")
    assert node.inside(lambda: kernel.accept_asymmetry("wan")) == ""
    assert node.run("sysctl", "-n", "net.ipv4.conf.wan.rp_filter").strip() == "2"
    assert node.inside(lambda: kernel.accept_asymmetry("gone")) == "", "it is set up when it appears"


def test_only_connections_of_the_gateway_are_ended(node: LabNode) -> None:
    for port, mark in ((1, 7), (2, 8), (3, 0x107), (4, 0)):
        entry = f"-p udp -s 192.0.2.1 -d 192.0.2.2 --sport {port} --dport 9 -t 60 -m {mark}"
        node.run("conntrack", "-I", *entry.split())
    node.inside(lambda: kernel.end_connections(7))
    left = node.run("conntrack", "-L")
    assert {port for port in range(1, 5) if f"sport={port} dport=9" in left} == {2, 4}


@pytest.mark.parametrize("number", [0, 256])
def test_without_a_number_nothing_is_ended(number: int) -> None:
    with pytest.raises(ValueError, match="every connection would be ended"):
        kernel.end_connections(number)
