"""The rules of replication: the kernel tracks connections with them, and own traffic is left out."""

from __future__ import annotations

import sys

import pytest

from appliance.net import conntrack
from appliance.net.nftset import NetfilterSocket
from appliance.testing import LabNode, Netlab
from appliance_pfsync import ruleset

pytestmark = pytest.mark.netns

RAW_PACKETS = """
import socket
for protocol in (112, 240, 47):
    socket.socket(socket.AF_INET, socket.SOCK_RAW, protocol).sendto(bytes(20), ("127.0.0.1", 0))
"""


@pytest.fixture
def node(netlab: Netlab) -> LabNode:
    """A machine without any rule."""
    made = netlab.node("node")
    made.run("ip", "link", "set", "lo", "up")
    return made


def load(node: LabNode) -> None:
    # A process of its own: trio starts nft from a thread that is not in the namespace.
    node.run(sys.executable, "-c", "import trio; from appliance_pfsync import ruleset; trio.run(ruleset.load)")


def test_loading_twice_leaves_one_of_each_and_what_others_added(node: LabNode) -> None:
    load(node)
    once = node.run("nft", "list", "ruleset")
    node.run("nft", "add chain inet appliance_pfsync of_another")
    load(node)
    assert "chain of_another" in node.run("nft", "list", "ruleset")
    node.run("nft", "delete chain inet appliance_pfsync of_another")
    assert node.run("nft", "list", "ruleset") == once


def test_it_is_noticed_when_somebody_flushes_the_ruleset(node: LabNode) -> None:
    filters = node.inside(NetfilterSocket)
    try:
        assert not ruleset.is_loaded(filters)
        load(node)
        assert ruleset.is_loaded(filters)
        node.run("nft", "flush", "ruleset")
        assert not ruleset.is_loaded(filters)
    finally:
        filters.close()


def test_connections_are_tracked_and_own_protocols_are_not(node: LabNode) -> None:
    node.run("python3", "-c", RAW_PACKETS)
    assert node.inside(conntrack.count) == 0, "nobody has asked for states yet"
    load(node)
    node.run("python3", "-c", RAW_PACKETS)
    listed = node.run("conntrack", "-L")
    assert node.inside(conntrack.count) == 1, listed
    assert " 47 " in listed
