"""The service that fills the sets of schedules while they apply."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import trio
import trio.testing

from appliance.errors import KernelError
from appliance.events import RulesetLoaded
from appliance.net.nftset import element_change
from appliance.plugin import Service, hookimpl
from appliance.plugin.ruleset import TABLE
from appliance.testing import RunningNode, run_service
from appliance_firewall import clock
from appliance_firewall.clock import ALL_FAMILIES, ClockSettings, local_time, transactions
from appliance_firewall.schedule import make

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE, NIGHT = make("office", [], ["08:00-17:00"]), make("night", [], ["22:00-06:00"])


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2024-01-01T{text}").replace(tzinfo=BERLIN)


def change(name: str, *, add: bool) -> bytes:
    return element_change(TABLE, f"fw_schedule_{name}", ALL_FAMILIES, add=add)


class PaperKernel:
    """Takes transactions, or refuses them."""

    sent: list[bytes]
    refuses: bool

    def __enter__(self) -> PaperKernel:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def send(self, transaction: bytes, *, tolerate: tuple[int, ...] = ()) -> None:
        assert set(tolerate) == {errno.ENOENT, errno.EEXIST}
        if PaperKernel.refuses:
            raise KernelError("nftables refused a set element: no", hint="")
        PaperKernel.sent.append(transaction)


class Wall:
    """A clock on the wall that a test sets."""

    now = at("07:59:30")


@pytest.fixture(autouse=True)
def paper(monkeypatch: pytest.MonkeyPatch) -> None:
    PaperKernel.sent, PaperKernel.refuses = [], False
    Wall.now = at("07:59:30")
    monkeypatch.setattr(clock, "NetfilterSocket", PaperKernel)
    monkeypatch.setattr(clock, "local_time", lambda: Wall.now)


class Plugin:
    """Runs the clock alone."""

    api = (1, 0)

    @hookimpl
    def appliance_services(self) -> list[Service]:
        return [Service(key="clock", run=clock.run, config=ClockSettings((OFFICE,)))]


def on_a_node(body: Callable[[RunningNode], Awaitable[None]]) -> None:
    """Run the body next to the service, in virtual time."""

    async def main() -> None:
        async with run_service(Plugin) as node:
            await trio.testing.wait_all_tasks_blocked()
            await body(node)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_each_schedule_is_filled_or_emptied_as_a_whole() -> None:
    assert transactions((OFFICE, NIGHT), at("08:00")) == (
        (OFFICE, True, change("office", add=True)),
        (NIGHT, False, change("night", add=False)),
    )


def test_the_wall_has_a_time_zone() -> None:
    now = local_time()
    assert now.utcoffset() is not None
    assert abs(now - datetime.now(BERLIN)) < timedelta(minutes=1)


def test_the_set_is_filled_at_the_first_minute_and_emptied_after_the_last() -> None:
    async def body(node: RunningNode) -> None:
        assert PaperKernel.sent == [change("office", add=False)]
        Wall.now = at("08:00:00")
        await trio.sleep(31)
        assert PaperKernel.sent[1:] == [change("office", add=True)]
        Wall.now = at("17:00:00")
        await trio.sleep(60)
        assert PaperKernel.sent[2:] == [change("office", add=False)]
        assert [len(node.log(name)) for name in ("schedule_applies", "schedule_is_over")] == [1, 2]

    on_a_node(body)


def test_a_ruleset_that_has_been_loaded_gets_its_sets_filled_at_once() -> None:
    async def body(node: RunningNode) -> None:
        Wall.now = at("09:00:30")
        node.publish(RulesetLoaded(generation=2, rules=1))
        await trio.testing.wait_all_tasks_blocked()
        assert PaperKernel.sent[1:] == [change("office", add=True)]

    on_a_node(body)


def test_a_kernel_that_refuses_is_asked_again_a_minute_later() -> None:
    async def body(node: RunningNode) -> None:
        PaperKernel.sent.clear()
        PaperKernel.refuses, Wall.now = True, at("08:00:00")
        await trio.sleep(31)
        assert PaperKernel.sent == []
        assert [each["schedule"] for each in node.log("schedule_not_set")] == ["office"]
        PaperKernel.refuses = False
        await trio.sleep(60)
        assert PaperKernel.sent == [change("office", add=True)]

    on_a_node(body)
