"""What people read: `show carp`, the sentences of role control, and words for a service that is not there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any

import pytest
import trio
import trio.testing

from appliance.console.grammar import Grammar
from appliance.errors import ApplianceError, RefusedError, UsageError
from appliance.events import Event, Reclaim, Request, SetEnabled, SetMaintenance, Switchover
from appliance.plugin import Node, NoProvider
from appliance_carp.commands import ANSWER_S, COMMANDS, ROLE_CHANGE_S, render_carp, render_result
from appliance_carp.control import SETTLE_S
from appliance_carp.report import report
from tests.unit.plugins.carp.fakes import VIPS, Peer, Rig, carp


class Console:
    """A command's world: answers each request by its type, keeps what was asked."""

    node = Node(name="fw1")

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[Request[Any]] = []

    async def call(self, request: Request[Any]) -> Any:
        self.asked.append(request)
        answer = self.answers.get(type(request).__name__, NoProvider(type(request).__name__))
        if callable(answer):
            return await answer()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def retained(self, kind: type[Event]) -> Sequence[Event]:
        return []


def said(console: Console, line: str) -> str:
    """Runs a line as the console does, in virtual time; the text for people."""

    async def main() -> str:
        parsed = Grammar(COMMANDS).parse(line.split())
        data = await parsed.command.run(console, **parsed.arguments)
        assert parsed.command.render is not None
        return parsed.command.render(data)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


# --- role control ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "request_"),
    [
        ("ha switchover", Switchover()),
        ("ha switchover --force", Switchover(force=True)),
        ("ha maintenance on", SetMaintenance(on=True)),
        ("ha maintenance on --force", SetMaintenance(on=True, force=True)),
        ("ha maintenance off", SetMaintenance(on=False)),
        ("ha disable", SetEnabled(on=False)),
        ("ha disable --force", SetEnabled(on=False, force=True)),
    ],
)
def test_a_command_asks_exactly_what_it_says_and_prints_the_answer(line: str, request_: Request[str]) -> None:
    console = Console(Switchover="done", SetMaintenance="done", SetEnabled="done")
    assert said(console, line) == "done"
    assert console.asked == [request_]


def test_enabling_ends_a_switchover_too() -> None:
    console = Console(SetEnabled="CARP is already enabled", Reclaim="this node may become MASTER again")
    assert said(console, "ha enable") == "the switchover is over; this node may become MASTER again"
    assert console.asked == [SetEnabled(on=True), Reclaim()]


def test_enabling_without_a_switchover_says_only_that() -> None:
    console = Console(SetEnabled="CARP is enabled", Reclaim=RefusedError("nothing to end", hint="-"))
    assert said(console, "ha enable") == "CARP is enabled"


def test_a_refusal_comes_through_as_it_was_said() -> None:
    refusal = RefusedError("will not switch over: no healthy peer", hint="Bring it up.")
    with pytest.raises(RefusedError) as caught:
        said(Console(Switchover=refusal), "ha switchover")
    assert caught.value is refusal


@pytest.mark.parametrize("line", ["ha maintenance", "ha maintenance perhaps", "ha switchover now", "ha disable --hard"])
def test_words_that_mean_nothing_are_refused(line: str) -> None:
    console = Console()
    with pytest.raises(UsageError):
        said(console, line)
    assert console.asked == []


# --- a service that is not there ---------------------------------------------------------------------------

LINES = ["show carp", "ha switchover", "ha maintenance on", "ha disable", "ha enable"]


@pytest.mark.parametrize("line", LINES)
def test_without_the_service_every_command_says_so_and_where_to_look(line: str) -> None:
    with pytest.raises(ApplianceError, match=r"carp.* is not running on this node") as caught:
        said(Console(), line)
    assert "show services" in caught.value.hint
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("line", LINES)
def test_a_service_that_hangs_is_not_waited_for_for_ever(line: str) -> None:
    never: Callable[[], Awaitable[None]] = trio.sleep_forever
    console = Console(GetCarp=never, Switchover=never, SetMaintenance=never, SetEnabled=never)
    deadline_s = ANSWER_S if line == "show carp" else ROLE_CHANGE_S
    with pytest.raises(ApplianceError, match=f"did not answer within {deadline_s:g} s"):
        said(console, line)


def test_a_role_change_is_waited_for_longer_than_it_may_take() -> None:
    assert ROLE_CHANGE_S > SETTLE_S


# --- show carp ---------------------------------------------------------------------------------------------


def shown(rig: Rig) -> str:
    return said(Console(GetCarp=report(rig.station, rig.now)), "show carp")


def test_a_healthy_master_is_shown_in_three_lines_for_each_host(rig: Rig) -> None:
    rig.master()
    head, *lines = shown(rig).splitlines()
    assert head == "fw1: enabled, demotion 0"
    assert lines[0] == "  lan  MASTER   lan@1  192.168.1.1/24"
    assert lines[1].startswith("       master timed out, since 20")
    assert lines[1].endswith("; advbase 1 advskew 0, 00:00:5e:00:01:01")
    assert lines[2] == "       sent 5, received 0, transitions 2"
    assert len(lines) == 6


def test_a_backup_shows_whom_it_hears_and_what_it_did_not_believe(rig: Rig) -> None:
    peer = Peer()
    rig.take("lan", peer.advert(advskew=100), peer.advert(advskew=100, ttl=3))
    rig.now += 0.25
    text = shown(rig)
    assert "heard 192.168.1.3 advskew 100 250 ms ago" in text
    assert "sent 0, received 1, bad_ttl 1, transitions 1" in text


def test_what_keeps_a_node_from_serving_is_in_the_first_lines(rig: Rig) -> None:
    rig.station.enabled, rig.station.maintenance = False, True
    rig.station.perform(rig.machine.set_reasons({"gateway": 100}, rig.now))
    rig.station.perform(rig.machine.resign(rig.now, reason="asked"))
    head, reason, *_ = shown(rig).splitlines()
    assert head == (
        "fw1: DISABLED by command, in maintenance, handed over on request, 'ha enable' lets it come back, demotion 100"
    )
    assert reason.startswith("  demoted by gateway (100) since 20")


def test_names_of_different_length_stay_in_columns_and_no_host_is_no_error() -> None:
    empty: dict[str, Any] = {
        "node": "fw1", "enabled": True, "maintenance": False, "resigned": False, "demotion": 0,
        "reasons": [], "waiting_for": [], "vips": [],
    }  # fmt: skip
    assert render_carp(empty) == "fw1: enabled, demotion 0"

    def host(name: str) -> dict[str, Any]:
        return {
            "name": name, "state": "BACKUP", "interface": "lan", "vhid": 1, "addresses": ["192.168.1.1/24"],
            "aliases": ["10.0.0.1/8"], "staged": None, "reason": "started", "since": "2025-06-15T15:06:40.000Z",
            "advbase": 0,
            "advskew": 26, "mac": "00:00:5e:00:01:01", "peers": [], "counters": {"sent": 0, "received": 0},
        }  # fmt: skip

    lines = render_carp(empty | {"vips": [host("a"), host("guests")]}).splitlines()
    assert lines[1] == "  a       BACKUP   lan@1  192.168.1.1/24, 10.0.0.1/8"
    assert lines[1].index("BACKUP") == lines[4].index("BACKUP")


def test_a_staged_change_tells_what_it_is_and_whom_it_waits_for(rig: Rig) -> None:
    rig.take("lan", Peer().hello())
    more = replace(VIPS[0], aliases=(ip_interface("192.168.1.9/24"),), password="other")
    rig.station.reconfigure(carp(more, VIPS[1]), rig.now)
    lines = render_carp(report(rig.station, rig.now)).splitlines()
    assert lines[1] == "  a change is staged: fw2 has not got it yet; 'ha commit --force' does not wait"
    assert lines[4].strip() == "staged: VHID 1, 192.168.1.1/24, 192.168.1.9/24, another password"


def test_a_result_is_one_sentence() -> None:
    assert render_result({"result": "done"}) == "done"
