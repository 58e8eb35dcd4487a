"""``appliance show hello``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from appliance.plugin import Command, CommandContext
from appliance_hello.events import Greeted, GreetingHeard


async def show_hello(ctx: CommandContext) -> dict[str, Any]:
    """Greetings on this node and those heard of others, read from the retained events."""
    own = [event for event in ctx.retained(Greeted) if isinstance(event, Greeted)]
    heard = [event for event in ctx.retained(GreetingHeard) if isinstance(event, GreetingHeard)]
    return {
        "node": ctx.node.name,
        "greeted": [{"interface": event.interface, "vhid": event.vhid, "text": event.text} for event in own],
        "heard": [{"node": event.node, "text": event.text} for event in heard],
    }


def render(data: Mapping[str, Any]) -> str:
    """The same for people."""
    lines = [f"{item['interface']} VHID {item['vhid']}: {item['text']}" for item in data["greeted"]]
    lines += [f"{item['node']} was greeted: {item['text']}" for item in data["heard"]]
    return "\n".join(lines) or f"{data['node']} has greeted nobody yet"


SHOW_HELLO = Command(
    path=("show", "hello"),
    help="Greetings on this node and those heard of other nodes",
    run=show_hello,
    reads=True,
    render=render,
)
