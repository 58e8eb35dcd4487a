"""Nodes tell each other: three whole nodes on an in-memory LAN, in virtual time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial

import trio

from appliance.events import Role, RoleChanged
from appliance.plugin import ConfigTable, hookimpl
from appliance.testing import LogicalInterfaces
from appliance_hello.events import GreetingHeard
from appliance_hello.plugin import Hello

TOML = """
[node]
name = "$name"

[interfaces]
interfaces = { lan = ["192.168.1.$number/24"] }

[hello]
greeting = "hello from $name"
share_on = "lan"
"""

MASTER = RoleChanged(interface="lan", vhid=1, role=Role.MASTER, reason="test")


class Interfaces:
    """Declares logical interfaces without touching any."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self):
        return ConfigTable(name="interfaces", model=LogicalInterfaces, summary="Names interfaces.")


def plugins(port):
    @asynccontextmanager
    async def in_memory(settings):
        yield port

    return [Interfaces, partial(Hello, in_memory)]


async def test_a_greeting_reaches_every_other_node(cluster, autojump_clock):
    async with cluster(3, TOML, plugins) as nodes:
        nodes["node1"].publish(MASTER)
        await trio.sleep(1)
        heard = [[event.text for event in node.events(GreetingHeard)] for node in nodes.nodes]
    assert heard == [[], ["hello from node1"], ["hello from node1"]]


async def test_a_partition_keeps_it_to_one_side(cluster, autojump_clock):
    async with cluster(3, TOML, plugins) as nodes:
        nodes.lan.partition(["node1", "node2"], ["node3"])
        nodes["node1"].publish(MASTER)
        await trio.sleep(1)
        assert [len(node.events(GreetingHeard)) for node in nodes.nodes] == [0, 1, 0]


async def test_nonsense_on_the_wire_is_counted_and_nothing_else(cluster, autojump_clock):
    async with cluster(2, TOML, plugins) as nodes:
        nodes.lan.port("stranger").send(b"\x00\x01 something else")
        nodes["node1"].publish(MASTER)
        await trio.sleep(1)
        assert [event.node for event in nodes["node2"].events(GreetingHeard)] == ["node1"]
        assert "malformed" in nodes["node2"].metrics.exposition()


async def test_a_node_that_lost_its_power_hears_again_when_it_is_back(cluster, autojump_clock):
    async with cluster(2, TOML, plugins) as nodes:
        await nodes.power_off("node2")
        nodes["node1"].publish(MASTER)
        await trio.sleep(3600)
        back = await nodes.power_on("node2")
        nodes["node1"].publish(MASTER)
        await trio.sleep(1)
        assert len(back.events(GreetingHeard)) == 1


async def test_one_node_from_its_text(run_appliance, autojump_clock):
    text = '[node]\nname = "alone"\n\n[hello]\ngreeting = "hi"\n'
    async with run_appliance(text, [Hello]) as node:
        node.publish(MASTER)
        await node.settled()
        assert (await node.command("show hello"))["greeted"] == [{"interface": "lan", "vhid": 1, "text": "hi"}]
        await node.reload(text.replace("hi", "good evening"))
        node.publish(MASTER)
        await node.settled()
    assert [entry["text"] for entry in node.log("greeting")] == ["hi", "good evening"]
