"""What `appliance doctor` says about the targets."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from appliance.events import Alarm, Health
from appliance.testing import RunningNode
from appliance.testing.waiting import eventually
from appliance_notify import machine
from appliance_notify.plugin import Notify
from tests.unit.plugins.notify.servers import HOST, free_port

Run = Callable[..., AbstractAsyncContextManager[RunningNode]]


async def test_targets_that_are_not_reached_are_named(run_service: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SETTLE_S", 0.02)
    monkeypatch.setattr(machine, "RETRY_S", (0.02,))
    config = {"webhook": {"chat": {"url": f"http://{HOST}:{free_port()}/"}}}
    async with run_service(Notify, config=config) as node:
        assert (await node.check("notify-targets")).health is Health.OK
        node.publish(Alarm(key="x", what="x", fix="x"))
        await eventually(lambda: any(each.key == "notify/chat" for each in node.retained(Alarm)))
        finding = await node.check("notify-targets")
        assert (finding.health, finding.what) == (Health.WARN, "not reached: chat")
        assert "Connection refused" in finding.why
        assert finding.fix == "Correct it, then 'appliance notify test chat'."


async def test_a_service_that_is_not_there_is_named(run_service: Run) -> None:
    async with run_service(Notify, config={}) as node:
        await node.supervisor.stop("for the test")
        assert (await node.check("notify-targets")).what == "the notify service does not answer"
