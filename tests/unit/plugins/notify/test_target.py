"""One target: real deliveries, retries, its alarm."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
import trio

from appliance.events import Alarm, Event
from appliance.testing.waiting import eventually
from appliance_notify import machine, target
from appliance_notify.dialing import Dialer
from appliance_notify.settings import Wanted, Webhook
from appliance_notify.target import Delivery, deliver
from appliance_notify.vocabulary import DeliveryError, Severity
from tests.unit.plugins.notify.servers import HOST, MESSAGE, NOTICE, free_port, run, tcp, web

HOOK = Webhook(name="chat", host=HOST, port=0, tls=False, path="/", wanted=Wanted(per_minute=60))


@dataclass
class Log:
    """A log that remembers."""

    lines: list[tuple[str, dict[str, object]]] = field(default_factory=list)

    def warning(self, event: str, **fields: object) -> None:
        self.lines.append((event, fields))

    debug = info = error = warning


@dataclass
class Around:
    """What a delivery tells."""

    log: Log = field(default_factory=Log)
    published: list[Event] = field(default_factory=list)
    counted: list[tuple[str, int, int]] = field(default_factory=list)

    def delivery(self, port: int) -> Delivery:
        return Delivery(
            replace(HOOK, port=port),
            Dialer({}),
            node="fw1",
            log=self.log,
            publish=self.published.append,
            count=lambda *numbers: self.counted.append(numbers),
        )


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SETTLE_S", 0.02)
    monkeypatch.setattr(machine, "RETRY_S", (0.02,))


def test_notices_arrive_and_are_counted(hasty: None) -> None:
    async def main() -> None:
        around = Around()
        with web() as server:
            each = around.delivery(server.port)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(each.run)
                each.put(NOTICE)
                each.put(replace(NOTICE, severity=Severity.INFO))
                await eventually(lambda: each.outbox.sent == 1)
                nursery.cancel_scope.cancel()
        assert len(server.bodies) == 1
        assert sum(sent for _, sent, _ in around.counted) == 1
        row = each.row()
        assert (row["sent"], row["queued"], row["last_error"], row["failures"]) == (1, 0, None, 0)
        assert row["last_sent"].endswith("Z")

    run(main)


def test_a_server_that_comes_back_gets_everything_once_and_the_alarm_ends(hasty: None) -> None:
    async def main() -> None:
        around, port = Around(), free_port()
        each = around.delivery(port)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(each.run)
            each.put(NOTICE)
            await eventually(lambda: each.is_failing)
            each.put(replace(NOTICE, key="other"))
            with web(port=port) as server:
                await eventually(lambda: each.outbox.sent == 2)
            nursery.cancel_scope.cancel()
        assert len(set(server.bodies)) == len(server.bodies) <= 2
        alarms = [event for event in around.published if isinstance(event, Alarm)]
        assert [(alarm.key, alarm.active) for alarm in alarms] == [("notify/chat", True), ("notify/chat", False)]
        assert "Connection refused" in alarms[0].what
        assert {event for event, _ in around.log.lines} == {"notify_failed"}

    run(main)


def test_the_alarm_ends_when_something_else_has_arrived(hasty: None) -> None:
    async def main() -> None:
        around = Around()
        each = around.delivery(free_port())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(each.run)
            each.put(NOTICE)
            await eventually(lambda: each.is_failing)
            nursery.cancel_scope.cancel()
        each.is_reached()
        alarms = [event for event in around.published if isinstance(event, Alarm)]
        assert [alarm.active for alarm in alarms] == [True, False]
        assert (each.row()["failures"], each.row()["last_error"], each.row()["queued"]) == (0, None, 1)

    run(main)


def test_a_target_does_not_hear_of_its_own_failure(hasty: None) -> None:
    each = Around().delivery(1)
    run(lambda: _put(each, "notify/chat"))
    assert each.outbox.queued == 0
    run(lambda: _put(each, "notify/other"))
    assert each.outbox.queued == 1


async def _put(each: Delivery, key: str) -> None:
    await trio.lowlevel.checkpoint()
    each.put(replace(NOTICE, key=key))


def test_a_server_that_never_answers_costs_its_deadline_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "DELIVER_S", 0.1)

    async def silence(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        async with tcp(silence) as port:
            with pytest.raises(DeliveryError, match=r"did not take it within 0\.1 s"):
                await deliver(replace(HOOK, port=port), MESSAGE, Dialer({}))

    run(main)


def test_what_is_under_way_when_it_ends_is_not_forgotten(hasty: None) -> None:
    async def silence(_: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async def main() -> None:
        async with tcp(silence) as port:
            each = Around().delivery(port)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(each.run)
                each.put(NOTICE)
                await eventually(lambda: each.outbox.next_deadline() is None)
                nursery.cancel_scope.cancel()
            assert (each.outbox.queued, each.outbox.last_error) == (1, "interrupted")

    run(main)


def test_a_corrected_target_is_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SETTLE_S", 0.02)

    async def main() -> None:
        with web() as server:
            each = Around().delivery(free_port())
            async with trio.open_nursery() as nursery:
                nursery.start_soon(each.run)
                each.put(NOTICE)
                await eventually(lambda: each.outbox.failures == 1)
                each.change(replace(HOOK, port=server.port), Dialer({}))
                await eventually(lambda: each.outbox.sent == 1)
                nursery.cancel_scope.cancel()

    run(main)
