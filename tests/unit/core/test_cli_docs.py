"""The JSON shapes that docs/cli.md promises are those that come out."""

import json
import re
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from appliance.console.commands import daemon_commands
from appliance.console.commands.plugin import plugin_list
from appliance.console.commands.run import version
from appliance.console.grammar import Grammar
from appliance.control.context import ControlContext
from appliance.events import Alarm, Demotion, LinkChanged, PeerChanged, Request, Role, RoleChanged, Status, Switchover

DOCUMENT = Path(__file__).parents[3] / "docs" / "cli.md"
SHAPES = {
    words: json.loads(body)
    for words, body in re.findall(r"^```json ([a-z ]+)\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)
}
IN_THE_NODE = (
    "show ha",
    "show services",
    "show plugins",
    "show alarms",
    "show bus",
    "show version",
    "doctor",
    "metrics",
)


def shape(data: Any) -> Any:
    """Names and nesting of some data, without its values."""
    if isinstance(data, dict):
        return {key: shape(value) for key, value in data.items()}
    if isinstance(data, list):
        return [shape(data[0])] if data else []
    return None


async def nothing(_: Request[str]) -> str:
    return ""


async def printed(node: Any, words: str) -> Any:
    """What a command prints on a node where everything that can be shown is there."""
    node.plugins.entries = [node.plugin(name="carp", state="loaded")]
    node.supervisor.running = [node.service(name="carp/carp")]
    for event in (
        RoleChanged(interface="lan", vhid=1, role=Role.MASTER, reason="master timed out"),
        Demotion(reason="link:wan", weight=240),
        PeerChanged(peer="fw2", alive=True, healthy=True, demotion=0, summary=""),
        LinkChanged(interface="wan", device="eth0", present=True, up=False),
        Alarm(key="a", what="b", fix="c"),
        Status(summary="a", fix="b"),
    ):
        node.bus.publish(event, source="carp/carp")
    parsed = Grammar(daemon_commands()).parse(words.split())
    with (
        node.bus.subscribe(LinkChanged, name="carp/carp"),
        node.bus.serve(Switchover, nothing, source="carp/carp"),
    ):
        result = parsed.command.run(ControlContext(node), **parsed.arguments)
        if not hasattr(result, "aclose"):
            return await result
        async with aclosing(result):
            return await anext(result)


def run(make_node: Any, words: str) -> Any:
    async def main() -> Any:
        return await printed(make_node(), words)

    return trio.run(main, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("words", IN_THE_NODE)
def test_the_documented_shape_is_what_the_node_prints(words: str, make_node: Any) -> None:
    assert shape(run(make_node, words)) == shape(SHAPES[words])


def test_the_documented_shape_of_an_event_is_what_the_node_prints(make_node: Any) -> None:
    assert shape(run(make_node, "events --type RoleChanged")) == shape(SHAPES["events"])


def test_the_documented_shapes_of_local_commands_are_what_they_print() -> None:
    assert shape(version()) == shape(SHAPES["version"])
    assert shape(plugin_list()) == shape(SHAPES["plugin list"])
