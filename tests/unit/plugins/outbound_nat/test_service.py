"""The service: it answers with what is in force and with hits, also while the kernel cannot be asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio
import trio.testing

from appliance.errors import ApplianceError
from appliance.events import Count, GetCounters, Request
from appliance.testing.harness import run_service
from appliance.testing.node import RunningNode
from appliance_outbound_nat.events import GetNat
from appliance_outbound_nat.plugin import OutboundNat
from tests.unit.plugins.outbound_nat.fakes import Cluster

TABLE = {"mode": "manual", "rule": [{"id": "lan", "interface": "wan", "source": "net:lan", "translation": "vip:wan"}]}
Answer = Callable[[Request[Mapping[str, Count]]], Awaitable[Mapping[str, Count]]]


def on_a_node(body: Callable[[RunningNode], Awaitable[None]]) -> None:
    """Run the body next to the service, in virtual time."""

    async def main() -> None:
        async with run_service(OutboundNat, config=TABLE, tables={"interfaces": Cluster()}) as node:
            await node.settled()
            await body(node)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def hits_with(answer: Answer) -> int | None:
    """What it says about its one rule when the counters are asked for so."""
    found: list[int | None] = []

    async def body(node: RunningNode) -> None:
        with node.bus.serve(GetCounters, answer, source="core"):
            data: dict[str, Any] = await node.call(GetNat())
        found.append(data["rules"][0]["hits"])

    on_a_node(body)
    return found[0]


def test_hits_come_from_the_kernel() -> None:
    async def answer(_: Request[Mapping[str, Count]]) -> Mapping[str, Count]:
        return {"nat_out_lan": Count(packets=42, bytes=1)}

    assert hits_with(answer) == 42


def test_hits_are_unknown_when_the_kernel_refuses_or_takes_too_long() -> None:
    async def refuse(_: Request[Mapping[str, Count]]) -> Mapping[str, Count]:
        raise ApplianceError("no", hint="no")

    async def sleep(_: Request[Mapping[str, Count]]) -> Mapping[str, Count]:
        await trio.sleep_forever()

    async def fail(_: Request[Mapping[str, Count]]) -> Mapping[str, Count]:
        raise ValueError("a bug")

    assert [hits_with(answer) for answer in (refuse, sleep, fail)] == [None] * 3


def test_without_a_ruleset_the_rules_are_still_told() -> None:
    async def body(node: RunningNode) -> None:
        data: dict[str, Any] = await node.call(GetNat())
        assert [(row["translation"], row["hits"]) for row in data["rules"]] == [("vip:wan", None)]

    on_a_node(body)


def test_a_change_is_taken_without_a_restart() -> None:
    async def body(node: RunningNode) -> None:
        await node.reload({"mode": "disabled"})
        data: dict[str, Any] = await node.call(GetNat())
        assert (data["mode"], data["rules"]) == ("disabled", [])

    on_a_node(body)
