"""Commands, checks, requests and facts of a node, as a test asks for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from appliance.errors import UsageError
from appliance.events import Health, LinkChanged, Request, request
from appliance.plugin import (
    Argument,
    Check,
    Command,
    CommandContext,
    Context,
    Finding,
    Probe,
    Service,
    Started,
    hookimpl,
)
from appliance.testing import run_service


@request
class Double(Request[int]):
    """Twice as much."""

    number: int


async def answer(ctx: Context, started: Started) -> None:
    async def double(asked: Double) -> int:
        return asked.number * 2

    with ctx.serve(Double, double):  # type: ignore[arg-type]
        started.started()
        await ctx.stopping.wait()


async def show(ctx: CommandContext, number: int) -> dict[str, Any]:
    return {"node": ctx.node.name, "double": await ctx.call(Double(number=number))}


async def look(probe: Probe) -> Finding:
    kind = probe.read("/proc/sys/kernel/ostype").strip() + (await probe.output("echo", "!")).strip()
    return Finding(health=Health.OK, what=f"{kind} {len(probe.retained(LinkChanged))} {probe.read('/absent')!r}")


class Doubler:
    api = (1, 0)

    @hookimpl
    def appliance_services(self) -> list[Service]:
        return [Service(key="answer", run=answer)]

    @hookimpl
    def appliance_commands(self) -> list[Command]:
        number = Argument(name="number", help="which", type=int, required=True)
        return [Command(path=("show", "double"), help="Doubles", run=show, arguments=(number,))]

    @hookimpl
    def appliance_checks(self) -> list[Check]:
        return [Check(name="look", help="Looks", run=look)]


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_requests_and_commands_reach_their_provider() -> None:
    async def main() -> None:
        async with run_service(Doubler, node="fw1") as node:
            assert await node.call(Double(number=4)) == 8
            assert await node.command("show double 21") == {"node": "fw1", "double": 42}
            with pytest.raises(UsageError):
                await node.command("show triple 1")

    run(main)


def test_checks_see_facts_files_and_commands() -> None:
    async def main() -> None:
        async with run_service(Doubler) as node:
            node.publish(LinkChanged(interface="lan", device="eth0", present=True, up=True))
            finding = await node.check("look")
        assert finding.what == "Linux! 1 ''"

    trio.run(main)  # a real process, so real time


def test_facts_are_what_holds_and_events_are_what_happened(tmp_path: Path) -> None:
    async def main() -> None:
        async with run_service(Doubler, state_dir=tmp_path) as node:
            for up in (True, False):
                node.publish(LinkChanged(interface="lan", device="eth0", present=True, up=up))
            assert [link.up for link in node.events(LinkChanged)] == [True, False]
            assert [link.up for link in node.retained(LinkChanged)] == [False]

    run(main)
