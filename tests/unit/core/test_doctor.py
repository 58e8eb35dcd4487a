from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from appliance.doctor import NodeProbe, core_checks, run_checks, serving
from appliance.errors import KernelError, RefusedError
from appliance.events import Alarm, Event, Health, SetEnabled
from appliance.events.doctor import Examine
from appliance.net import clock
from appliance.net.clock import Clock
from appliance.plugin import Check, Finding, Overflow, Probe


def run(main: Callable[[], Awaitable[None]], *, virtual: bool = True) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0) if virtual else None)


def check(name: str, run: Callable[[Probe], Awaitable[Any]], deadline_s: float = 3.0) -> tuple[str, Check]:
    return ("acme", Check(name=name, help="Looks.", run=run, deadline_s=deadline_s))


async def good(_: Probe) -> Finding:
    return Finding(health=Health.OK, what="fine")


async def hangs(_: Probe) -> Finding:
    await trio.sleep_forever()
    raise AssertionError


async def crashes(_: Probe) -> Finding:
    raise KeyError("x")


async def refuses(_: Probe) -> Finding:
    raise RefusedError("cannot look", hint="Open it.")


async def asks_nobody(probe: Probe) -> Finding:
    return Finding(health=Health.OK, what=await probe.call(SetEnabled(on=True)))


async def returns_nothing(_: Probe) -> None:
    return None


def test_every_check_becomes_a_finding_with_a_remedy_whatever_it_does(make_node: Any) -> None:
    async def main() -> None:
        checks = [
            check("good", good),
            check("hangs", hangs),
            check("crashes", crashes),
            check("refuses", refuses),
            check("asks", asks_nobody),
            check("nothing", returns_nothing),  # type: ignore[arg-type]
        ]
        began = trio.current_time()
        results = await run_checks(checks, NodeProbe(make_node()))
        assert trio.current_time() - began == pytest.approx(3.0)
        assert [result.name for result in results] == ["good", "hangs", "crashes", "refuses", "asks", "nothing"]
        good_one, *others = [result.finding for result in results]
        assert good_one.health is Health.OK
        assert all(finding.health is Health.FAIL and finding.fix for finding in others)
        hung, crashed, refused, _, nothing = others
        assert hung.what == "hangs: no result within 3 s"
        assert crashed.why == "KeyError: 'x'"
        assert refused.what == "refuses: cannot look"
        assert refused.fix == "Open it."
        assert "did not return a finding" in nothing.why

    run(main)


def test_a_hundred_hanging_checks_are_bounded_in_number_and_all_end(make_node: Any) -> None:
    running = peak = 0

    async def counted(_: Probe) -> Finding:
        nonlocal running, peak
        running += 1
        peak = max(peak, running)
        try:
            await trio.sleep_forever()
        finally:
            running -= 1
        raise AssertionError

    async def main() -> None:
        results = await run_checks([check(str(n), counted, 0.5) for n in range(100)], NodeProbe(make_node()))
        assert len(results) == 100
        assert peak == 16

    run(main)


def test_the_core_finds_nothing_wrong_with_a_healthy_node(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        results = await run_checks(core_checks(node), NodeProbe(node))
        assert [result.finding.health for result in results] == [Health.OK] * 5

    run(main)


def test_services_can_ask_for_the_report_of_the_whole_node(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        with serving(node):
            report = await node.bus.call(Examine())
        assert (report["node"], report["ok"], report["fail"]) == ("fw1", 5, 0)
        assert [each["check"] for each in report["findings"]] == ["plugins", "services", "bus", "alarms", "clock"]

    run(main)


def test_the_core_finds_sick_plugins_services_subscribers_and_alarms(make_node: Any) -> None:
    async def main() -> None:
        node = make_node()
        node.plugins.entries = [node.plugin(name="ids", distribution="acme-ids", state="refused", error="bad table")]
        node.supervisor.running = [node.service(name="carp/carp", state="failed", error="OSError: gone")]
        node.bus.publish(Alarm(key="a", what="wrong password", fix="Compare them."), source="carp/carp")
        with node.bus.subscribe(Event, name="slow/one", capacity=1, overflow=Overflow.DROP_OLDEST, replay=False):
            for _ in range(3):
                node.bus.publish(Alarm(key="b", what="x", fix="y", active=False), source="x/y")
            results = await run_checks(core_checks(node), NodeProbe(node))
        found = {result.name: result.finding for result in results}
        assert found["plugins"].health is Health.FAIL
        assert "ids (acme-ids): bad table" in found["plugins"].why
        assert "carp/carp is failed: OSError: gone" in found["services"].why
        assert found["bus"].health is Health.WARN
        assert "slow/one: 2 missed" in found["bus"].why
        assert (found["alarms"].health, found["alarms"].fix) == (Health.WARN, "Compare them.")

    run(main)


@pytest.mark.parametrize(
    ("seen", "health", "words"),
    [
        (Clock(synchronized=True, max_error_s=0.02), Health.OK, "the clock is kept, within 0.020 s"),
        (Clock(synchronized=False, max_error_s=16.0), Health.WARN, "nobody keeps the clock"),
        (Clock(synchronized=False, max_error_s=16.0, own=False), Health.OK, "not this node's own"),
        (None, Health.OK, "not this node's own"),
    ],
)
def test_a_clock_that_nobody_keeps_is_found(
    make_node: Any, monkeypatch: pytest.MonkeyPatch, seen: Clock | None, health: Health, words: str
) -> None:
    async def main() -> None:
        node = make_node()
        monkeypatch.setattr(clock, "read", lambda: seen)
        found = {each.name: each.finding for each in await run_checks(core_checks(node), NodeProbe(node))}
        assert found["clock"].health is health
        assert words in found["clock"].what

    run(main)


def test_a_probe_reads_small_files_and_runs_commands(make_node: Any) -> None:
    async def main() -> None:
        probe = NodeProbe(make_node())
        assert probe.read("/proc/sys/kernel/ostype") == "Linux\n"
        assert probe.read("/proc/no/such/file") == ""
        assert await probe.output("echo", "hello") == "hello\n"

    run(main, virtual=False)


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("false",), "`false` failed: exit status 1"),
        (("sh", "-c", "echo no >&2; exit 3"), "failed: no"),
        (("no-such-command",), "cannot be run"),
        (("sh", "-c", "yes"), "printed more than"),
    ],
)
def test_a_command_that_fails_is_an_error_with_a_remedy(argv: tuple[str, ...], message: str, make_node: Any) -> None:
    async def main() -> None:
        with trio.fail_after(20), pytest.raises(KernelError) as failed:
            await NodeProbe(make_node()).output(*argv)
        assert message in failed.value.message
        assert failed.value.hint.startswith("Try it by hand: ")

    run(main, virtual=False)


def test_a_command_that_hangs_is_killed(make_node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.doctor.OUTPUT_TIME_S", 0.1)

    async def main() -> None:
        with trio.fail_after(5), pytest.raises(KernelError, match=r"did not finish in 0\.1 s"):
            await NodeProbe(make_node()).output("sleep", "60")

    run(main, virtual=False)
