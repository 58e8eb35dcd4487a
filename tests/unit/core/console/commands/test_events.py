from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from appliance.console.commands import daemon_commands
from appliance.console.commands.events import events, render_event, why
from appliance.console.grammar import Grammar
from appliance.control.context import ControlContext
from appliance.errors import RefusedError
from appliance.events import Demotion, NodeStarted, Role, RoleChanged
from appliance.events.ruleset import GetCounters
from appliance.plugin import NoProvider

MASTER = RoleChanged(interface="lan", vhid=1, role=Role.MASTER, reason="master timed out")


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


async def collect(stream: Any) -> list[dict[str, Any]]:
    return [item async for item in stream]


def publish_three(node: Any) -> None:
    node.bus.publish(NodeStarted(node="fw1", version="1"), source="node")
    node.bus.publish(MASTER, source="carp/carp")
    node.bus.publish(Demotion(reason="bulk", weight=3), source="pfsync/bulk")


@pytest.mark.parametrize(
    ("filters", "seqs"),
    [
        ({}, [1, 2, 3]),
        ({"count": 2}, [2, 3]),
        ({"count": 0}, []),
        ({"type": "RoleChanged"}, [2]),
        ({"source": "pfsync"}, [3]),
        ({"type": "RoleChanged", "source": "pfsync"}, []),
    ],
)
def test_past_events_can_be_filtered(filters: dict[str, Any], seqs: list[int], make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        publish_three(node)
        asked = {"follow": False, "type": None, "source": None, "count": 50, **filters}
        found = await collect(events(ControlContext(node), **asked))
        assert [row["seq"] for row in found] == seqs

    run(main)


def test_what_services_asked_each_other_is_shown_only_on_request(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        publish_three(node)
        with suppress(NoProvider):
            await node.bus.call(GetCounters(), source="node")
        asked = {"follow": False, "source": None, "count": 50}
        kinds = {
            (calls, kind): [
                row["type"] for row in await collect(events(ControlContext(node), type=kind, calls=calls, **asked))
            ]
            for calls, kind in [(False, None), (True, None), (False, "Called")]
        }
        assert "Called" not in kinds[False, None]
        assert kinds[True, None][:3] == kinds[False, None]
        assert kinds[False, "Called"] == ["Called"]

    run(main)


def test_following_shows_the_past_once_and_then_what_is_new(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        publish_three(node)
        seen: list[int] = []

        async def follow() -> None:
            async for row in events(ControlContext(node), follow=True, type=None, source=None, count=50):
                seen.append(row["seq"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            await wait_all_tasks_blocked()
            assert seen == [1, 2, 3]
            publish_three(node)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert seen == [1, 2, 3, 4, 5, 6]
        assert node.bus.statistics().subscriptions == ()

    run(main)


def test_an_event_is_one_line_that_cannot_drive_a_terminal() -> None:
    row = {
        "seq": 7,
        "wall": 0.25,
        "source": "carp/carp",
        "type": "RoleChanged",
        "event": {"vhid": 1, "reason": "bow-out of \x1b[31mfw2\nx", "empty": ""},
    }
    line = render_event(row)
    assert line.startswith("      7 ")
    assert line.endswith('carp/carp            RoleChanged vhid=1 reason="bow-out of \\x1b[31mfw2\\nx" empty=""')


def test_why_shows_the_chain_of_causes_root_first(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        with node.bus.subscribe(RoleChanged, name="x", replay=False) as roles:
            node.bus.publish(MASTER, source="carp/carp")
            await roles.receive()
            node.bus.publish(Demotion(reason="bulk", weight=3), source="pfsync/bulk")
        chain = await why(ControlContext(node), seq=2)
        assert [row["type"] for row in chain] == ["RoleChanged", "Demotion"]
        command = Grammar(daemon_commands()).parse(["events", "why", "2"]).command
        assert command.render is not None
        first, second = command.render(chain).splitlines()
        assert first.startswith("1 ")
        assert second.startswith("  2 ")

    run(main)


def test_an_event_that_is_not_recorded_is_refused_with_a_remedy(make_node: Any) -> None:
    async def main() -> None:
        with pytest.raises(RefusedError, match="event 99 is not recorded"):
            await why(ControlContext(make_node()), seq=99)

    run(main)
