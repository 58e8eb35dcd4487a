"""LLDP of switches, heard on members that are active and on members that wait."""

from __future__ import annotations

import socket

import pytest
import trio

from appliance.testing import LabNode, Netlab
from appliance.testing.node import RunningNode
from tests.guest.lagg.scene import two_switches, with_service
from tests.unit.plugins.lagg.frames import lldp_frame

pytestmark = pytest.mark.netns


POLLS_MAX = 100


def announce(switch: LabNode, chassis: str) -> None:
    """A switch says through port0, to the firewall, who it is."""
    with switch.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind(("port0", 0))
        sock.send(lldp_frame(chassis=chassis, port="port0"))


def test_a_single_switch_for_both_members_is_found(netlab: Netlab) -> None:
    fw = netlab.node("fw")
    first, second = two_switches(netlab, fw)

    async def heard(node: RunningNode) -> list[str | None]:
        (lagg,) = (await node.command("show lagg"))["laggs"]
        return [each["neighbour"] and each["neighbour"]["chassis"] for each in lagg["members"]]

    async def until(node: RunningNode, chassis: list[str | None]) -> None:
        for _ in range(POLLS_MAX):
            if await heard(node) == chassis:
                return
            await trio.sleep(0.1)
        assert await heard(node) == chassis

    async def body(node: RunningNode) -> None:
        assert (await node.check("lagg-switches")).what.startswith("not known for lagg0")
        announce(first, "02:00:00:00:00:aa")
        announce(second, "02:00:00:00:00:bb")
        await until(node, ["02:00:00:00:00:aa", "02:00:00:00:00:bb"])
        assert (await node.check("lagg-switches")).what == "members lead to different switches"
        announce(second, "02:00:00:00:00:aa")
        await until(node, ["02:00:00:00:00:aa", "02:00:00:00:00:aa"])
        found = await node.check("lagg-switches")
        assert found.what == "all members of lagg0 go to one switch, 02:00:00:00:00:aa"

    with_service(fw, {"members": ["eth0", "eth1"], "protocol": "failover"}, body)
