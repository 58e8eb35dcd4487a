from collections.abc import Awaitable, Callable
from typing import Any

import trio
from trio.testing import MockClock

from appliance.console.commands import daemon_commands
from appliance.console.commands.show import (
    doctor,
    metrics,
    show_alarms,
    show_bus,
    show_plugins,
    show_services,
    show_version,
)
from appliance.console.grammar import Grammar
from appliance.console.render import render
from appliance.control.context import ControlContext
from appliance.events import Alarm, Event, Health, Request, Status
from appliance.events.doctor import ExaminePeers, unexamined
from appliance.plugin import Check, Finding, Probe


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


def screen(words: str, data: Any) -> str:
    command = Grammar(daemon_commands()).parse(words.split()).command
    assert command.render is not None
    return command.render(data)


def test_services_are_shown_with_their_own_summary_and_their_error(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        node.supervisor.running = [
            node.service(name="carp/carp", pid=12),
            node.service(name="dhcp/kea", state="back-off", error="OSError: no", restarts=3),
        ]
        node.bus.publish(Status(health=Health.WARN, summary="1 bad advert"), source="carp/carp")
        rows = await show_services(ControlContext(node))
        assert rows[0] == {
            "name": "carp/carp",
            "state": "running",
            "since_s": 10.0,
            "restarts": 0,
            "pid": 12,
            "health": "warn",
            "summary": "1 bad advert",
            "error": None,
            "plugin": "carp",
            "distribution": "ha-appliance",
        }
        text = screen("show services", rows)
        assert "1 bad advert" in text
        assert "OSError: no" in text

    run(main)


def test_a_node_without_services_says_so() -> None:
    assert screen("show services", []) == "no service is configured"


def test_plugins_are_shown_with_their_distribution(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        node.plugins.entries = [node.plugin(name="ids", distribution="acme", state="broken", error="no libfoo")]
        assert await show_plugins(ControlContext(node)) == [
            {"name": "ids", "distribution": "acme", "state": "broken", "enabled": True, "error": "no libfoo"}
        ]

    run(main)


def test_alarms_are_shown_with_their_remedy(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        assert screen("show alarms", await show_alarms(ControlContext(node))) == "no alarm is active"
        node.bus.publish(Alarm(key="carp/lan", what="wrong password", fix="Compare."), source="carp/carp")
        rows = await show_alarms(ControlContext(node))
        assert rows[0]["what"] == "wrong password"
        assert screen("show alarms", rows) == "WARN  wrong password  (for 0.0s, carp/lan)\n      -> Compare."

    run(main)


def test_the_bus_is_shown_with_its_queues(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        with node.bus.subscribe(Event, name="carp/carp", capacity=8):
            data = await show_bus(ControlContext(node))
        assert data["subscriptions"][0]["name"] == "carp/carp"
        assert data["subscriptions"][0]["capacity"] == 8
        assert "carp/carp" in render(data)

    run(main)


def test_the_running_version_is_shown(make_node: Any) -> None:
    async def main() -> None:
        data = await show_version(ControlContext(make_node()))
        assert (data["node"], data["started"]) == ("fw1", "2023-11-14T22:13:20.000Z")

    run(main)


def test_metrics_are_the_text_prometheus_reads(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        node.metrics.scoped("carp").counter("adverts_sent", "Adverts sent").inc()
        data = await metrics(ControlContext(node))
        assert screen("metrics", data).endswith("\nappliance_carp_adverts_sent_total 1")

    run(main)


def test_the_doctor_examines_the_paired_nodes_from_one(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        row = {"check": "x", "plugin": "p", "health": "fail", "what": "w", "why": "y", "fix": "f", "duration_s": 0.1}
        sick = {"node": "fw2", "address": "a", "error": None, "remedy": None, "ok": 0, "warn": 0, "fail": 1}
        gone = unexamined("fw3", "b", "it is off", "Start it.")

        async def peers(_: Request[list[dict[str, Any]]]) -> list[dict[str, Any]]:
            return [{**sick, "findings": [row]}, gone]

        with node.bus.serve(ExaminePeers, peers, source="xmlrpc-sync/listener"):
            alone = ControlContext(node)
            assert (await doctor(alone))["peers"] == []
            assert alone.exit_code == 0
            context = ControlContext(node)
            report = await doctor(context, peers=True)
        assert context.exit_code == 1
        text = screen("doctor", report)
        assert "fw1:\nok    core/plugins:" in text
        assert "fw2:\nFAIL  p/x: w\n      because y\n      -> f" in text
        assert text.endswith("fw3:\nFAIL  it is off\n      -> Start it.")

    run(main)


def test_without_a_way_to_the_others_the_doctor_says_so_and_examines_this_node(make_node: Any) -> None:
    async def main() -> None:
        context = ControlContext(make_node())
        report = await doctor(context, peers=True)
        assert (report["ok"], context.exit_code) == (5, 1)
        assert report["peers"][0]["error"] == "nothing on this node can ask the others"

    run(main)


def test_the_doctor_fails_when_a_check_fails_and_shows_the_remedy(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        healthy = ControlContext(node)
        assert (await doctor(healthy))["fail"] == 0
        assert healthy.exit_code == 0

        async def sick(_: Probe) -> Finding:
            return Finding(health=Health.FAIL, what="VIP answers twice", why="two MACs", fix="Look at the switch.")

        node.plugins.looked_at = [("carp", Check(name="twice", help="", run=sick))]
        context = ControlContext(node)
        report = await doctor(context)
        assert context.exit_code == 1
        assert (report["ok"], report["fail"]) == (5, 1)
        text = screen("doctor", report)
        assert "FAIL  carp/twice: VIP answers twice\n      because two MACs\n      -> Look at the switch." in text
        assert text.endswith("5 ok, 0 warnings, 1 failures")

    run(main)
