"""Alarms: told when they change, cleared by name, and bounded where the network chooses the names."""

from __future__ import annotations

import pytest

from appliance.events import Alarm, Health
from appliance_pfsync.alarms import PEERS_MAX, Alarms
from tests.unit.plugins.pfsync.fakes import PaperContext


@pytest.fixture
def ctx() -> PaperContext:
    return PaperContext()


@pytest.fixture
def alarms(ctx: PaperContext) -> Alarms:
    return Alarms(ctx)  # type: ignore[arg-type]


def told(ctx: PaperContext) -> list[tuple[str, bool, str]]:
    return [(alarm.key, alarm.active, alarm.what) for alarm in ctx.events(Alarm)]


def test_it_is_told_once_while_nothing_changes(alarms: Alarms, ctx: PaperContext) -> None:
    for _ in range(3):
        alarms.set("link", "no link", "plug it in")
    assert told(ctx) == [("pfsync/link", True, "no link")]
    assert ctx.log.names == ["pfsync_alarm"]
    alarms.set("link", "no device", "make it")
    assert told(ctx)[1:] == [("pfsync/link", True, "no device")]


def test_it_is_withdrawn_once_and_can_come_back(alarms: Alarms, ctx: PaperContext) -> None:
    alarms.set("link", "no link", "plug it in")
    for _ in range(2):
        alarms.clear("link")
    alarms.clear("never set")
    alarms.set("link", "no link", "plug it in")
    assert [active for _, active, _ in told(ctx)] == [True, False, True]


def test_what_fails_matters_more_than_what_is_only_worse(alarms: Alarms) -> None:
    def worst() -> str:
        return alarms.worst.what if alarms.worst else ""

    assert worst() == ""
    alarms.set("bulk", "incomplete", "resync")
    assert worst() == "incomplete"
    alarms.set("key", "no key", "make one", health=Health.FAIL)
    assert worst() == "no key"
    alarms.clear("key")
    assert worst() == "incomplete"
    alarms.clear("bulk")
    assert worst() == ""


def test_names_from_the_network_are_bounded_and_leave_room_for_the_nodes_own(alarms: Alarms, ctx: PaperContext) -> None:
    for number in range(PEERS_MAX + 50):
        alarms.set(f"refused/{number}", "other key", "compare")
    assert len(told(ctx)) == PEERS_MAX
    alarms.set("link", "no link", "plug it in")
    assert told(ctx)[-1][0] == "pfsync/link"
    alarms.set("refused/3", "other version", "update")
    assert told(ctx)[-1][2] == "other version"
    alarms.clear("refused/0")
    alarms.set("refused/another", "other key", "compare")
    assert told(ctx)[-1][0] == "pfsync/refused/another"


def test_what_is_said_of_peers_is_withdrawn_together(alarms: Alarms, ctx: PaperContext) -> None:
    for name in ("key", "down/fw2", "refused/fw3"):
        alarms.set(name, "what", "fix")
    alarms.clear_peers()
    active = {alarm.key: alarm.active for alarm in ctx.events(Alarm)}
    assert active == {"pfsync/key": True, "pfsync/down/fw2": False, "pfsync/refused/fw3": False}
