"""``show dhcp`` and ``dhcp lease`` for people, and their errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from appliance.errors import ApplianceError
from appliance.plugin import NoProvider
from appliance_dhcp_failover import commands
from appliance_dhcp_failover.events import FindLeases, GetDhcp, ReleaseLease
from tests.unit.plugins.dhcp_failover.scenes import FakeReplicator, link
from tests.unit.plugins.dhcp_failover.test_report import document, filled


class Answers:
    """A command's context whose service answers, or is absent."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.asked: list[object] = []

    async def call(self, request: object) -> Any:
        await trio.lowlevel.checkpoint()
        self.asked.append(request)
        if self._answer is None:
            raise NoProvider
        return self._answer


def run(command: Callable[..., Awaitable[Any]], context: Answers, **arguments: Any) -> Any:
    async def main() -> Any:
        return await command(context, **arguments)

    return trio.run(main)


def test_commands_ask_the_service() -> None:
    context = Answers({"leases": []})
    assert run(commands.show_dhcp, context, interface="lan") == {"leases": []}
    assert run(commands.find, context, text="pc") == {"leases": []}
    assert run(commands.release, Answers("done"), address="192.168.1.5") == {"result": "done"}
    assert run(commands.show_dhcp, context, pools=True) == {"leases": []}
    assert context.asked == [GetDhcp(interface="lan"), FindLeases(text="pc"), GetDhcp(leases=False)]
    gone = Answers("done")
    run(commands.release, gone, address="192.168.1.5")
    assert gone.asked == [ReleaseLease(address="192.168.1.5")]


@pytest.mark.parametrize(
    ("command", "arguments"),
    [(commands.show_dhcp, {}), (commands.find, {"text": "x"}), (commands.release, {"address": "x"})],
)
def test_a_service_that_does_not_run_is_said(command: Any, arguments: dict[str, str]) -> None:
    with pytest.raises(ApplianceError, match=r"the service of \[dhcp_failover\] is not running"):
        run(command, Answers(None), **arguments)


def test_people_see_states_and_leases() -> None:
    shown = document(filled(), FakeReplicator({"fw2": link()}))
    lines = commands.render(shown).splitlines()
    assert lines[0] == (
        "lan: serving since 2027-01-15T08:00:00.000Z (this node is MASTER); peer 192.168.1.3 standby, synchronized; "
        "2 of 100 addresses used, 98 free"
    )
    assert lines[1] == "fw2: synchronized"
    assert lines[2].split() == ["ADDRESS", "MAC", "HOSTNAME", "EXPIRES", "GRANTED", "BY", "INTERFACE"]
    assert [line.split()[0] for line in lines[3:]] == ["192.168.1.20", "192.168.1.100", "192.168.1.101"]


def test_what_is_wrong_and_what_is_left_out_is_said() -> None:
    shown = document(filled(), FakeReplicator(problem="this node is not paired"))
    shown["pools"][0]["refused"] = "bad option"
    shown["pools"][0]["peer"] = None
    shown["leases_total"] = 5
    text = commands.render(shown)
    assert "leases stay on this node: this node is not paired" in text
    assert "configuration not in force: bad option" in text
    assert "no peer" in text
    assert text.endswith("… and 2 more: 'appliance dhcp lease find TEXT' finds them")
    assert commands.render_leases({"leases": []}) == "no leases"
