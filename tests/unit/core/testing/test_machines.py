"""Whole nodes in one process: they hear each other only over the LAN, lose power, and come back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import ConfigError
from appliance.events import ConfigApplied, Event, NodeStarted, NodeStopping, event
from appliance.plugin import Context, Service, Started, hookimpl
from appliance.testing import Port, cluster, run_appliance

TOML = '[node]\nname = "$name"\n'


@event()
class Heard(Event):
    """A frame arrived."""

    data: bytes


class Beacon:
    """Says its name every second."""

    api = (1, 0)

    def __init__(self, port: Port) -> None:
        self._port = port

    @hookimpl
    def appliance_services(self) -> list[Service]:
        return [Service(key="beacon", run=self._run)]

    async def _run(self, ctx: Context, started: Started) -> None:
        started.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen, ctx)
                while True:
                    self._port.send(ctx.node.name.encode())
                    await trio.sleep(1)
        finally:
            self._port.send(b"bye " + ctx.node.name.encode())

    async def _listen(self, ctx: Context) -> None:
        while True:
            ctx.publish(Heard(data=await self._port.receive()))


def beacons(port: Port) -> list[Any]:
    return [lambda: Beacon(port)]


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_nodes_hear_each_other_in_virtual_time() -> None:
    async def main() -> None:
        async with cluster(3, TOML, beacons) as nodes:
            await trio.sleep(600)
            assert [node.name for node in nodes.nodes] == ["node1", "node2", "node3"]
            heard = {event.data for event in nodes["node1"].events(Heard)}
            assert heard == {b"node2", b"node3"}
            assert 3 * 599 <= len(nodes.lan.capture) <= 3 * 602

    run(main)


def test_a_machine_without_power_says_no_last_word() -> None:
    async def main() -> None:
        async with cluster(2, TOML, beacons) as nodes:
            await nodes.power_off("node2")
            await trio.sleep(10)
            assert b"bye node2" not in {event.data for event in nodes["node1"].events(Heard)}
            assert nodes["node2"].events(NodeStopping) == []
            before = nodes["node2"]
            back = await nodes.power_on("node2")
            assert back is not before
            await trio.sleep(10)
            assert b"node1" in {event.data for event in back.events(Heard)}

    run(main)


def test_an_orderly_end_lets_services_say_their_last_word() -> None:
    async def main() -> None:
        async with cluster(2, TOML, beacons) as nodes:
            pass
        assert b"bye node1" in {frame.data for frame in nodes.lan.capture}
        assert [len(node.events(NodeStopping)) for node in nodes.nodes] == [1, 1]

    run(main)


def test_the_configuration_of_each_node_may_be_computed() -> None:
    async def main() -> None:
        async with cluster(2, lambda number: f'[node]\nname = "fw{number}"\n') as nodes:
            assert [node.name for node in nodes.nodes] == ["fw1", "fw2"]
            assert nodes[0].node.name == "fw1"

    run(main)


def test_one_node_is_complete_without_any_plugin() -> None:
    async def main() -> None:
        async with run_appliance(TOML.replace("$name", "alone")) as node:
            assert [event.node for event in node.events(NodeStarted)] == ["alone"]
            assert len(node.retained(ConfigApplied)) == 1

    run(main)


def test_a_node_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "appliance.toml"
    path.write_text('[node]\nname = "from-file"\n')

    async def main() -> None:
        async with run_appliance(path) as node:
            assert node.name == "from-file"

    run(main)


def test_a_refused_reload_raises_with_the_line_and_changes_nothing() -> None:
    text = '[node]\nname = "alone"\n'

    async def main() -> None:
        async with run_appliance(text) as node:
            with pytest.raises(ConfigError, match=":3:"):
                await node.reload(text + "nme = 5\n")
            assert node.config.node.name == "alone"

    run(main)


def test_a_node_that_cannot_start_says_why() -> None:
    async def main() -> None:
        async with run_appliance("[node]\nname = 5\n"):
            pass

    with pytest.raises(ConfigError, match="name"):
        run(main)
