"""What `appliance doctor` finds of aggregations, provoked; following its remedy ends it."""

from __future__ import annotations

import pytest
import trio

from appliance.testing import Netlab
from appliance.testing.node import RunningNode
from tests.guest.lagg.scene import SOON_S, far_bond, two_cables, with_service

pytestmark = pytest.mark.netns

BOTH = ["eth0", "eth1"]


async def finds(node: RunningNode, check: str, what: str) -> None:
    """Wait until a check says this."""
    seen = ""
    with trio.move_on_after(SOON_S):
        while seen != what:
            seen = (await node.check(check)).what
            await trio.sleep(0.1)
    assert seen == what


def test_a_partner_that_does_not_speak_lacp_is_found_until_it_does(netlab: Netlab) -> None:
    fw, far = two_cables(netlab)

    async def body(node: RunningNode) -> None:
        await trio.to_thread.run_sync(far_bond, far, "failover")
        await finds(node, "lagg-partner", "nobody answers LACP at lagg0")
        await trio.to_thread.run_sync(far_bond, far, "lacp")
        await finds(node, "lagg-partner", "every partner answers, and no port is out of step")

    with_service(fw, {"members": BOTH, "protocol": "lacp", "rate": "fast"}, body)


def test_members_of_unequal_speed_are_found_until_equal_ports_are_used(netlab: Netlab) -> None:
    fw, _far = two_cables(netlab)
    fw.run("modprobe", "tun")
    fw.run("ip", "tuntap", "add", "slow0", "mode", "tap")  # the kernel says 10 Mbit/s of it, and 10,000 of a cable

    async def body(node: RunningNode) -> None:
        await finds(node, "lagg-speed", "members of lagg0 differ: eth0 10000 Mbit/s, slow0 10 Mbit/s")
        await node.reload({"lagg0": {"members": BOTH, "protocol": "failover"}})
        await finds(node, "lagg-speed", "the members of each aggregation are equally fast")

    with_service(fw, {"members": ["eth0", "slow0"], "protocol": "failover"}, body)
