from typing import Any

import pytest
import trio

from appliance.control.context import ControlContext
from appliance.events import Demotion, Request, Switchover
from appliance.plugin import CommandContext, NoProvider


def test_a_command_sees_who_the_node_is_and_what_is_retained_oldest_first(make_node: Any) -> None:
    node = make_node(lambda: 0.0)
    context: CommandContext = ControlContext(node)
    assert context.node.name == "fw1"
    node.bus.publish(Demotion(reason="b", weight=1), source="x/y")
    node.bus.publish(Demotion(reason="a", weight=2), source="x/y")
    assert context.retained(Demotion) == (Demotion(reason="b", weight=1), Demotion(reason="a", weight=2))


def test_a_command_asks_the_provider_under_its_own_deadline(make_node: Any) -> None:
    async def provide(request: Request[str]) -> str:
        await trio.lowlevel.checkpoint()
        return f"force={request.force}" if isinstance(request, Switchover) else ""

    async def main() -> None:
        node = make_node()
        context = ControlContext(node)
        with pytest.raises(NoProvider):
            await context.call(Switchover())
        with node.bus.serve(Switchover, provide, source="carp/carp"), trio.fail_after(5):
            assert await context.call(Switchover(force=True)) == "force=True"

    trio.run(main)
