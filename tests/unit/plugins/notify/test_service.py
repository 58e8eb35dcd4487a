"""The whole service on a node: events in, messages out, commands, changes of the configuration, the end."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio

from appliance.errors import UsageError
from appliance.events import Alarm, Demotion, Health, NodeStopping, Role, RoleChanged, Status
from appliance.testing import RunningNode
from appliance.testing.waiting import eventually
from appliance_notify import machine, service
from appliance_notify.plugin import Notify
from tests.unit.plugins.notify.servers import HOST, free_port, web

Run = Callable[..., AbstractAsyncContextManager[RunningNode]]
LOST = Alarm(key="gateways/wan_gw/down", health=Health.FAIL, what="wan_gw is down", fix="Ask the provider.")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SETTLE_S", 0.05)


def hook(port: int, **more: Any) -> dict[str, Any]:
    return {"url": f"http://{HOST}:{port}/", **more}


def became(role: Role) -> RoleChanged:
    return RoleChanged(interface="lan", vhid=1, role=role, reason="test")


def told(bodies: list[bytes]) -> list[str]:
    """All but the last word of a node that stops."""
    found = [each["what"] for body in bodies for each in json.loads(body)["notices"]]
    return [what for what in found if not what.startswith("the node is stopping")]


async def test_everybody_gets_what_he_wants(run_service: Run) -> None:
    with web() as everything, web() as gateways, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log:
        log.bind((HOST, 0))
        log.settimeout(5)
        config = {
            "webhook": {
                "all": hook(everything.port, severity="info"),
                "gateways": hook(gateways.port, classes=["gateway"], severity="critical"),
            },
            "syslog": {"central": {"server": HOST, "port": log.getsockname()[1]}},
        }
        async with run_service(Notify, config=config) as node:
            node.publish(became(Role.BACKUP))
            node.publish(became(Role.MASTER))
            node.publish(LOST)
            await eventually(lambda: len(told(everything.bodies)) == 2 and len(told(gateways.bodies)) == 1)
            await eventually(lambda: 'appliance_notify_sent_total{target="all"} 2' in node.metrics.exposition())
            rows = {row["name"]: row for row in await node.command("show notify")}
        assert told(everything.bodies) == ["MASTER for VHID 1 on lan: test", "wan_gw is down"]
        assert told(gateways.bodies) == ["wan_gw is down"]
        assert b"MASTER for VHID 1" in log.recv(4096)
        assert b"wan_gw is down" in log.recv(4096)
        assert rows["all"]["sent"] == 2
        assert rows["gateways"]["where"] == f"http://{HOST}:{gateways.port}"
        assert node.events(Demotion) == []


async def test_what_holds_already_is_told_once(run_service: Run) -> None:
    with web() as server:
        async with run_service(Notify, config={}) as node:
            node.publish(LOST)
            await node.reload({"webhook": {"all": hook(server.port)}})
            node.publish(LOST)
            node.publish(Alarm(key=LOST.key, active=False, health=LOST.health, what=LOST.what, fix=LOST.fix))
            await eventually(lambda: len(server.bodies) == 1)
        assert told(server.bodies) == ["wan_gw is down"]
        assert json.loads(server.bodies[0])["notices"][0]["state"] == "cleared"


async def test_a_change_of_the_configuration_restarts_nothing_and_loses_nothing(run_service: Run) -> None:
    with web() as server:
        async with run_service(Notify, config={"webhook": {"all": hook(free_port())}}) as node:
            node.publish(LOST)
            await eventually(lambda: len(node.log("notify_failed")) == 1)
            await node.reload({"webhook": {"all": hook(server.port)}})
            await eventually(lambda: told(server.bodies) == ["wan_gw is down"])
            await node.reload({})
            assert await node.command("show notify") == []
            assert [each.restarts for each in node.services()] == [0]
            assert [status.summary for status in node.retained(Status)] == ["no targets"]


async def test_a_test_says_what_became_of_it(run_service: Run) -> None:
    with web() as server:
        config = {"webhook": {"good": hook(server.port, severity="critical"), "bad": hook(free_port())}}
        async with run_service(Notify, config=config) as node:
            good, bad = await node.command("notify test")
            assert (good["name"], good["delivered"], good["error"]) == ("good", True, None)
            assert (bad["name"], bad["delivered"]) == ("bad", False)
            assert "Connection refused" in bad["error"]
            assert [row["name"] for row in await node.command("notify test good")] == ["good"]
            with pytest.raises(UsageError, match="there is no notify target 'ugly'"):
                await node.command("notify test ugly")
    assert told(server.bodies) == ["this is a test; nothing has happened"] * 2


async def test_a_storm_is_told_in_few_messages_and_blocks_nobody(
    run_service: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "SETTLE_S", 1.0)
    with web() as server:
        async with run_service(Notify, config={"webhook": {"all": hook(server.port)}}) as node:
            for number in range(service.QUEUE_MAX * 2):
                node.publish(RoleChanged(interface="lan", vhid=number, role=Role.MASTER, reason="storm"))
            node.publish(LOST)
            await eventually(lambda: any("wan_gw is down" in told([body]) for body in server.bodies))
            assert 1 <= len(server.bodies) <= 6
            assert sum(json.loads(body)["more"] for body in server.bodies) > service.QUEUE_MAX
            assert [each.restarts for each in node.services()] == [0]


async def test_the_last_word_is_that_the_node_stops(run_service: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SETTLE_S", 60.0)
    with web() as server:
        async with run_service(Notify, config={"webhook": {"all": hook(server.port)}}) as node:
            node.publish(NodeStopping(reason="SIGTERM"))
        assert b"the node is stopping: the test has ended" in server.bodies[-1]


async def test_an_unreachable_target_does_not_hold_up_the_end(run_service: Run) -> None:
    async with run_service(Notify, config={"webhook": {"all": hook(free_port())}}) as node:
        node.publish(LOST)
        await eventually(lambda: len(node.log("notify_failed")) == 1)
        begun = trio.current_time()
    assert trio.current_time() - begun < service.LAST_WORDS_S + 2.0
    assert node.crashes() == []
