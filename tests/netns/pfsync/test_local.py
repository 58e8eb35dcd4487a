"""The node's own addresses, as the kernel has them at this moment."""

from __future__ import annotations

from ipaddress import ip_address

import numpy as np
import pytest

from appliance.testing import LabNode, Netlab
from appliance_pfsync.local import local_addresses

pytestmark = pytest.mark.netns


def own(node: LabNode, *addresses: str) -> list[bool]:
    """Which of these are the node's."""
    known = node.inside(local_addresses)
    answers = []
    for address in map(ip_address, addresses):
        value = np.array([int(address)], ">u4") if address.version == 4 else np.frombuffer(address.packed, "V16")
        answers += known.contain(value).tolist()
    return answers


def test_every_address_is_known_while_it_is_there(netlab: Netlab) -> None:
    node, other = netlab.node("fw1"), netlab.node("fw2")
    netlab.connect(node, other, "lan0", ["192.168.1.2/24", "2001:db8:1::2/64"])
    addresses = ("127.0.0.1", "::1", "192.168.1.2", "2001:db8:1::2", "192.168.1.3")
    assert own(node, *addresses) == [True, True, True, True, False]
    assert own(other, *addresses) == [True, True, False, False, False]


def test_virtual_addresses_come_and_go_with_the_role(netlab: Netlab) -> None:
    node, other = netlab.node("fw1"), netlab.node("fw2")
    netlab.connect(node, other, "lan0", ["192.168.1.2/24"])
    node.run("ip", "link", "add", "vip0", "link", "lan0", "type", "macvlan", "mode", "bridge")
    node.run("ip", "addr", "add", "192.168.1.1/32", "dev", "vip0")
    assert own(node, "192.168.1.1") == [True], "also before the device is up"
    node.run("ip", "addr", "del", "192.168.1.1/32", "dev", "vip0")
    assert own(node, "192.168.1.1") == [False]
