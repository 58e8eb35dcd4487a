"""Services in their own process: real processes, real time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio

from appliance import logs
from appliance.bus import EventBus
from appliance.bus.envelope import handling
from appliance.errors import ApplianceError, RefusedError
from appliance.events import (
    Alarm,
    Demotion,
    Event,
    LinkChanged,
    Request,
    Retracted,
    ServiceCrashed,
    ServiceStarted,
    ServiceStopped,
    Status,
)
from appliance.host import isolation, unit
from appliance.host.plugins import PluginService
from appliance.host.supervisor import ServiceReport, Supervisor
from appliance.host.unit import ServiceState
from appliance.metrics import MetricsRegistry
from appliance.plugin.context import NoProvider, ProviderFailed
from appliance.plugin.contributions import CrashPolicy, Isolation, Service
from appliance.plugin.node import Node

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # services must be importable by name; a child gets the path of its node

import isolated_services as services  # noqa: E402
from isolated_services import Double, Heard, Look, Ping, Settings  # noqa: E402

WITHIN_S = 10.0
"""Far longer than anything here takes; what fails is reported and does not hang."""
FORBIDDEN = ("pydantic", "pluggy", "structlog", "pyroute2", "tomlkit", "appliance.config", "appliance.bus", "rich")


class Host:
    """A supervisor in real time, with everything published."""

    def __init__(self, state_dir: Path) -> None:
        self.bus = EventBus()
        self.metrics = MetricsRegistry()
        self.supervisor = Supervisor(self.bus, node=Node(name="fw1"), state_dir=state_dir, metrics=self.metrics)

    def seen(self, kind: type[Event]) -> list[Any]:
        return [envelope.event for envelope in self.bus.trace if type(envelope.event) is kind]

    def heard(self, key: str) -> list[Any]:
        return [event.value for event in self.seen(Heard) if event.key == key]

    def publish(self, event: Event) -> None:
        self.bus.publish(event, source="test")

    def report(self, name: str = "test/it") -> ServiceReport:
        return next(report for report in self.supervisor.services() if report.name == name)

    def pid(self) -> int:
        pid = self.report().pid
        assert pid is not None
        return pid

    async def start(self, run: Any, **more: Any) -> None:
        await self.supervisor.apply([isolated(run, **more)])

    async def look(self) -> dict[str, Any]:
        with trio.fail_after(WITHIN_S):
            return await self.bus.call(Look())


def isolated(run: Any, *, key: str = "it", isolation: Isolation | None = None, **more: Any) -> PluginService:
    service = Service(key=key, run=run, isolation=isolation or Isolation(), **more)
    return PluginService(plugin="test", distribution="appliance-test 1.0", service=service)


@asynccontextmanager
async def hosting(state_dir: Path) -> AsyncIterator[Host]:
    host = Host(state_dir)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.supervisor.run)
        yield host
        nursery.cancel_scope.cancel()


def run_hosted(main: Callable[[Host], Awaitable[None]], state_dir: Path) -> None:
    async def body() -> None:
        async with hosting(state_dir) as host:
            await main(host)

    trio.run(body)


async def eventually(condition: Callable[[], object]) -> None:
    with trio.fail_after(WITHIN_S):
        while not condition():  # noqa: ASYNC110 - what is awaited is not always in this process
            await trio.sleep(0.005)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# --- life -----------------------------------------------------------------------------------------------


def test_it_runs_in_a_process_of_its_own_and_stops_in_an_orderly_way(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.calm)
        facts = await host.look()
        assert facts["pid"] == host.pid() != os.getpid()
        assert facts["ppid"] == os.getpid()
        assert facts["sid"] == facts["pid"]
        assert facts["stdin"] == "/dev/null"
        assert [item.event for item in host.bus.retained(ServiceStarted)] == [ServiceStarted(service="test/it")]
        begin = time.monotonic()
        await host.supervisor.stop("enough")
        stopped_s = time.monotonic() - begin
        assert stopped_s < 1.5  # it did not take the grace time of 2 s
        print(f"stopped after {stopped_s * 1e3:.0f} ms")
        assert not is_alive(facts["pid"])
        assert host.seen(ServiceStopped) == [ServiceStopped(service="test/it", reason="enough")]
        assert host.seen(ServiceCrashed) == []
        assert host.report().pid is None

    run_hosted(main, tmp_path)


def processes_named(name: str) -> list[int]:
    """Children of this process that were started for a service."""
    own = subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", f"isolated [0-9]+ {name}$"], capture_output=True)
    return [int(line) for line in own.stdout.split()]


def has_loaded(pid: int, path: Path) -> bool:
    """A module of the test writes the number of its process where it is imported."""
    return path.exists() and str(pid) in path.read_text().split()


def test_its_process_loads_the_service_while_that_waits_for_others(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "slow_to_load.py").write_text(
        "import os\n"
        f"with open({str(tmp_path / 'loaded')!r}, 'a') as file:\n    print(os.getpid(), file=file)\n"
        "async def run(ctx, started):\n    started.started()\n    await ctx.stopping.wait()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import slow_to_load  # type: ignore[import-not-found]

    async def main(host: Host) -> None:
        gate = trio.Event()

        async def provider(ctx: Any, started: Any) -> None:
            await gate.wait()
            started.started()
            await ctx.stopping.wait()

        first = Service(key="first", run=provider, provides=frozenset({"gate"}))
        wanted = [
            PluginService(plugin="test", distribution="appliance-test 1.0", service=first),
            isolated(slow_to_load.run, needs=frozenset({"gate"})),
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(host.supervisor.apply, wanted)
            await eventually(lambda: processes_named("test/it"))
            (pid,) = processes_named("test/it")
            await eventually(lambda: has_loaded(pid, tmp_path / "loaded"))
            assert (host.report().state, host.report().pid) == (ServiceState.WAITING, None)
            gate.set()
        assert (host.report().state, host.pid()) == (ServiceState.RUNNING, pid)

    run_hosted(main, tmp_path)


def test_a_service_that_is_stopped_while_it_waits_leaves_no_process(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        first = Service(key="first", run=services.unready, provides=frozenset({"gate"}))  # it crashes
        wanted = [
            PluginService(plugin="test", distribution="appliance-test 1.0", service=first),
            isolated(services.calm, needs=frozenset({"gate"})),
        ]
        with pytest.raises(ApplianceError, match="it waits for test/first"):
            await host.supervisor.apply(wanted)
        await eventually(lambda: processes_named("test/it"))
        await host.supervisor.stop("enough")
        assert not processes_named("test/it")

    run_hosted(main, tmp_path)


def test_the_process_is_light_and_inherits_nothing(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        with (tmp_path / "of the node").open("w") as file:
            os.set_inheritable(file.fileno(), True)
            await host.start(services.calm)
        facts = await host.look()
        loaded = {name for name in facts["modules"] for bad in FORBIDDEN if name == bad or name.startswith(f"{bad}.")}
        assert loaded == set()
        assert str(tmp_path / "of the node") not in facts["files"]
        assert facts["rss_kb"] < 45_000
        print(f"RSS {facts['rss_kb']} kB, PSS {facts['pss_kb']} kB, {len(facts['modules'])} modules")
        assert facts["ignored"] == []
        assert facts["policy"] == os.SCHED_OTHER
        assert facts["locked_kb"] == 0
        assert facts["frozen"] == 0

    run_hosted(main, tmp_path)


def test_an_error_of_the_service_is_a_crash_that_reads_as_in_this_process(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.crashing)
        assert len(host.bus.retained(Status)) == 1
        first = host.pid()
        host.publish(Ping(number=1))
        await eventually(lambda: host.seen(ServiceCrashed))
        crash = host.seen(ServiceCrashed)[0]
        assert (crash.error, crash.restart_in_s) == ("KernelError: no such device plug it in", 0.5)
        assert host.bus.retained(Status) == ()
        await eventually(lambda: host.report().state is ServiceState.RUNNING)
        assert host.pid() != first
        assert host.report().restarts == 1

    run_hosted(main, tmp_path)


def test_a_killed_process_is_a_crash_and_comes_back_after_the_back_off(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.crashing, on_crash=CrashPolicy.DEMOTE)
        killed = host.pid()
        begin = time.monotonic()
        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: host.seen(ServiceCrashed))
        noticed_s = time.monotonic() - begin
        assert host.seen(ServiceCrashed)[0].error == "its process was killed by SIGKILL"
        assert host.bus.retained(Status) == ()
        assert host.seen(Demotion) == [Demotion(reason="service:test/it", weight=240)]
        await eventually(lambda: host.report().state is ServiceState.RUNNING)
        back_s = time.monotonic() - begin
        assert host.seen(Demotion)[-1].weight == 0
        assert host.pid() != killed
        assert noticed_s < 0.5
        assert 0.5 <= back_s < 5
        print(f"kill -9: noticed after {noticed_s * 1e3:.1f} ms, running again after {back_s * 1e3:.0f} ms")

    run_hosted(main, tmp_path)


def test_a_killed_process_is_noticed_although_its_guard_lives_on(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.forking)
        try:
            os.kill(host.pid(), signal.SIGKILL)
            with trio.fail_after(1):
                await eventually(lambda: host.seen(ServiceCrashed))
            assert is_alive(host.heard("guard")[0])
            await eventually(lambda: host.report().state is ServiceState.RUNNING)
            await host.supervisor.stop("enough")
        finally:
            for pid in host.heard("guard"):
                os.kill(pid, signal.SIGKILL)

    run_hosted(main, tmp_path)


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (services.unready, "ValueError: boom"),
        (services.leaving, "it returned without being asked to"),
        (os.getcwd, "TypeError"),
    ],
)
def test_what_is_a_crash_in_this_process_is_one_in_another(tmp_path: Path, run: Any, why: str) -> None:
    async def main(host: Host) -> None:
        with suppress(ApplianceError):  # one of them is ready before it crashes
            await host.start(run)
        await eventually(lambda: host.seen(ServiceCrashed))
        assert why in host.seen(ServiceCrashed)[0].error

    run_hosted(main, tmp_path)


def test_a_service_that_cannot_be_sent_is_refused_with_a_reason(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        async def local(ctx: object, started: object) -> None: ...

        with pytest.raises(ApplianceError, match="test/it cannot be isolated"):
            await host.start(local)

    run_hosted(main, tmp_path)


def test_a_service_whose_module_is_missing_over_there_says_so(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "only_here.py").write_text("async def run(ctx, started): ...\n")

    async def main(host: Host) -> None:
        monkeypatch.syspath_prepend(tmp_path)
        import only_here  # type: ignore[import-not-found]

        sys.path.remove(str(tmp_path))
        with pytest.raises(
            ApplianceError, match="cannot be imported: ModuleNotFoundError: No module named 'only_here'"
        ):
            await host.start(only_here.run)

    run_hosted(main, tmp_path)


SLOW_TO_LOAD = """
import sys, time
if sys.argv[0].endswith("isolated.py"):  # not in the node
    time.sleep(2.5)
async def run(ctx, started):
    started.started()
    await ctx.stopping.wait()
"""


@pytest.fixture
def slow_to_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "slow_to_load.py").write_text(SLOW_TO_LOAD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "slow_to_load", raising=False)
    import slow_to_load  # type: ignore[import-not-found]

    return slow_to_load.run


def test_the_time_to_become_ready_begins_when_the_process_has_loaded_the_service(
    tmp_path: Path, slow_to_load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit, "READY_DEADLINE_S", 2.0)
    monkeypatch.setattr(isolation, "PULSE_S", 0.5)

    async def main(host: Host) -> None:
        await host.start(slow_to_load)
        assert host.report().state is ServiceState.RUNNING
        assert host.seen(Alarm) == [], "whoever loads modules does not answer"

    run_hosted(main, tmp_path)


def test_a_process_that_never_comes_to_run_its_service_is_given_up(
    tmp_path: Path, slow_to_load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit, "LOADING_DEADLINE_S", 0.2)

    async def main(host: Host) -> None:
        with pytest.raises(ApplianceError, match="test/it did not become ready: its process did not load it within"):
            await host.start(slow_to_load)

    run_hosted(main, tmp_path)


def test_a_cancelled_service_has_time_for_its_last_words(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def main(host: Host) -> None:
        await host.start(services.talkative, grace_s=0.2)
        pid = host.pid()
        begin = time.monotonic()
        await host.supervisor.stop("power button")
        assert 0.2 <= time.monotonic() - begin < 2
        assert [ping.number for ping in host.seen(Ping)] == [1, 2]
        assert not is_alive(pid)

    logs.configure(node="fw1", level="info", json=True)
    try:
        run_hosted(main, tmp_path)
    finally:
        structlog.reset_defaults()
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert [(line["event"], line["service"], line["node"]) for line in lines] == [
        ("hello", "test/it", "fw1"),
        ("last_words", "test/it", "fw1"),
        ("service_stopped", "test/it", "fw1"),
    ]
    assert lines[1]["reason"] == "test/it: power button"


def test_a_process_that_does_not_let_itself_be_cancelled_is_killed(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.stubborn, grace_s=0.1)
        pid = host.pid()
        begin = time.monotonic()
        await host.supervisor.stop("enough")
        assert time.monotonic() - begin < 4.9  # the supervisor did not have to give up
        assert not is_alive(pid)
        assert host.report().state is ServiceState.STOPPED

    run_hosted(main, tmp_path)


def test_signals_for_the_whole_group_do_not_stop_it(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.calm)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(host.pid(), number)
        await trio.sleep(0.1)
        assert (await host.look())["pid"] == host.pid()
        assert host.seen(ServiceCrashed) == []

    run_hosted(main, tmp_path)


def test_a_cancelled_supervisor_leaves_no_process_behind(tmp_path: Path) -> None:
    pids: list[int] = []

    async def main(host: Host) -> None:
        await host.start(services.calm)
        pids.append(host.pid())

    run_hosted(main, tmp_path)
    assert not is_alive(pids[0])


ORPHAN_MAKER = """
    import sys, trio
    from pathlib import Path
    sys.path.append({here!r})
    import isolated_services as services
    from appliance.bus import EventBus
    from appliance.host.plugins import PluginService
    from appliance.host.supervisor import Supervisor
    from appliance.metrics import MetricsRegistry
    from appliance.plugin.contributions import Isolation, Service
    from appliance.plugin.node import Node

    async def main():
        supervisor = Supervisor(
            EventBus(), node=Node(name="fw1"), state_dir=Path({state!r}), metrics=MetricsRegistry()
        )
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            service = Service(
                key="it", run=services.{run}, config=services.Settings(path={state!r} + "/end"),
                grace_s=0.3, isolation=Isolation(),
            )
            await supervisor.apply([PluginService(plugin="test", distribution="x", service=service)])
            print(supervisor.services()[0].pid, flush=True)

    trio.run(main)
"""


def orphan(tmp_path: Path, run: str) -> int:
    """Start a node in a process of its own, kill it with SIGKILL; the pid of its orphaned service."""
    script = textwrap.dedent(ORPHAN_MAKER.format(here=str(HERE), state=str(tmp_path), run=run))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout is not None
        pid = int(node.stdout.readline())
        assert is_alive(pid)
        node.send_signal(signal.SIGKILL)
    return pid


def test_when_the_node_dies_its_services_say_their_last_words_and_end(tmp_path: Path) -> None:
    pid = orphan(tmp_path, "noting_its_end")
    begin = time.monotonic()
    end = tmp_path / "end"
    trio.run(eventually, lambda: end.read_text().startswith(f"stopping {pid}\n"))
    assert time.monotonic() - begin < 0.25  # at once, not after the grace time
    trio.run(eventually, lambda: not is_alive(pid))
    assert end.read_text() == f"stopping {pid}\nlast words\n"
    assert time.monotonic() - begin < 2


@pytest.mark.slow
def test_when_the_node_dies_even_a_stubborn_service_ends(tmp_path: Path) -> None:
    pid = orphan(tmp_path, "stubborn")
    assert is_alive(pid)
    trio.run(eventually, lambda: not is_alive(pid))


# --- the bus across the bridge --------------------------------------------------------------------------


def test_events_arrive_in_order_with_retained_ones_first_and_retractions(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        for interface in ("wan", "lan"):
            host.publish(LinkChanged(interface=interface, device="eth0", present=True, up=True))
        await host.start(services.echoing)
        for number in range(200):
            host.publish(Ping(number=number))
            if number % 16 == 15:  # let it keep up: the queue holds 64
                await eventually(lambda number=number: len(host.heard("ping")) > number)
        host.bus.forget("test")
        await eventually(lambda: len(host.heard("retracted")) == 2)
        assert host.heard("link") == ["wan", "lan"]
        assert host.heard("ping") == list(range(200))
        assert host.heard("retracted") == [("wan",), ("lan",)]
        sources = {envelope.source for envelope in host.bus.trace if type(envelope.event) is Heard}
        assert sources == {"test/it"}

    run_hosted(main, tmp_path)


def test_what_it_publishes_has_what_it_handles_as_its_cause(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.echoing)
        host.publish(Ping(number=1))
        await eventually(lambda: host.heard("ping"))
        ping, heard = (
            next(envelope for envelope in host.bus.trace if type(envelope.event) is kind) for kind in (Ping, Heard)
        )
        assert (heard.cause, heard.depth) == (ping.seq, 1)

    run_hosted(main, tmp_path)


def test_a_slow_service_overflows_by_the_policy_of_its_subscription(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.slow_listener)
        for number in range(4):
            host.publish(Ping(number=number))
        await trio.sleep(0.2)  # these have crossed the bridge
        for number in range(4, 20):
            host.publish(Ping(number=number))
        await host.look()
        await eventually(lambda: host.heard("dropping"))
        [lagging], [dropping] = host.heard("lagging"), host.heard("dropping")
        assert lagging[:4] == (0, 1, 2, 3)
        assert [item for item in lagging if isinstance(item, str)] == ["missed 12"]
        assert lagging[5:] == (16, 17, 18, 19)
        assert dropping == (2, 3, 18, 19)

    run_hosted(main, tmp_path)


def test_it_calls_providers_in_the_node_and_gets_what_they_raise(tmp_path: Path) -> None:
    cancelled: list[int] = []

    async def double(asked: Request[int]) -> int:
        assert isinstance(asked, Double)
        if asked.number == -1:
            raise RefusedError("negative", hint="ask for more")
        if asked.number == -2:
            raise ZeroDivisionError("a bug")
        if asked.number == -3:
            try:
                await trio.sleep_forever()
            finally:
                cancelled.append(asked.number)
        return asked.number * 2

    async def main(host: Host) -> None:
        with host.bus.serve(Double, double, source="test"):
            await host.start(services.asking)
            await eventually(lambda: host.heard("nobody"))
        assert host.heard("answer") == [42]
        assert host.heard("-1") == [("RefusedError", "negative\nask for more")]
        [(kind, text)] = host.heard("-2")
        assert kind == "ProviderFailed"
        assert "ZeroDivisionError: a bug" in text
        assert host.heard("-3")[0][0] == "TooSlowError"
        await eventually(lambda: cancelled == [-3])
        assert host.heard("nobody") == [("NoProvider", "nobody serves Look")]

    run_hosted(main, tmp_path)


def test_it_serves_requests_of_the_node_like_any_provider(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.serving)
        assert await host.bus.call(Double(number=21)) == 42
        [caused] = [envelope for envelope in host.bus.trace if type(envelope.event) is Heard]
        assert caused.cause is not None
        with pytest.raises(RefusedError) as refused:
            await host.bus.call(Double(number=-1))
        assert (refused.value.message, refused.value.hint) == ("negative", "ask for more")
        with pytest.raises(ProviderFailed, match="ZeroDivisionError: a bug"):
            await host.bus.call(Double(number=0))
        with trio.move_on_after(0.2):
            await host.bus.call(Double(number=99))
        await eventually(lambda: host.heard("cancelled"))
        with pytest.raises(NoProvider), trio.fail_after(1):
            await host.bus.call(Double(number=100))
        await eventually(lambda: host.seen(ServiceCrashed))
        await eventually(lambda: host.report().state is ServiceState.RUNNING)
        assert await host.bus.call(Double(number=4)) == 8

    run_hosted(main, tmp_path)


def test_a_second_provider_in_another_process_is_refused(tmp_path: Path) -> None:
    async def double(asked: Request[int]) -> int:
        return 1

    async def main(host: Host) -> None:
        with host.bus.serve(Double, double, source="test"):
            with pytest.raises(ApplianceError, match="cannot serve Double: test already does"):
                await host.start(services.second_provider)
            assert await host.bus.call(Double(number=1)) == 1

    run_hosted(main, tmp_path)


def test_it_takes_changes_live_refuses_them_and_gets_the_old_ones_back(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.reloading, config=Settings(number=1))
        pid = (await host.look())["pid"]
        applied = await host.supervisor.apply([isolated(services.reloading, config=Settings(number=2))])
        assert applied.reloaded == ("test/it",)
        assert await host.look() == {"pid": pid, "config": Settings(number=2)}
        with pytest.raises(RefusedError) as refused:
            await host.supervisor.apply([isolated(services.reloading, config=Settings(number=-3))])
        assert refused.value.message == "service test/it refused its new configuration: a negative number"
        assert refused.value.hint == "take a positive one"
        assert (await host.look())["config"] == Settings(number=2)
        await host.supervisor.apply([isolated(services.reloading, config=Settings(number=2))])
        assert await host.look() == {"pid": pid, "config": Settings(number=2)}
        assert host.heard("reloading") == [2, 2]

    run_hosted(main, tmp_path)


def test_without_a_reload_handler_a_change_restarts_the_process(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.calm, config=Settings(number=1))
        first = host.pid()
        applied = await host.supervisor.apply([isolated(services.calm, config=Settings(number=2))])
        assert applied.restarted == ("test/it",)
        second = host.pid()
        assert second != first
        assert not is_alive(first)
        punctual = isolated(services.calm, config=Settings(number=2), isolation=Isolation(freeze_gc=True))
        assert (await host.supervisor.apply([punctual])).restarted == ("test/it",)
        assert not is_alive(second)

    run_hosted(main, tmp_path)


def test_its_demotions_reach_the_node_and_end_with_it(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.demoting)
        host.publish(Ping(number=1))
        await eventually(lambda: host.seen(Demotion) == [Demotion(reason="link:lan", weight=100)])
        os.kill(host.pid(), signal.SIGKILL)
        await eventually(lambda: host.seen(ServiceCrashed))
        assert host.bus.retained(Demotion) == ()
        assert [item.key for item in host.seen(Retracted) if item.event_type.endswith(":Demotion")] == [("link:lan",)]
        await eventually(lambda: host.report().state is ServiceState.RUNNING)
        host.publish(Ping(number=2))
        await eventually(lambda: len(host.seen(Demotion)) == 2)
        host.publish(Ping(number=3))
        await eventually(lambda: [event.weight for event in host.seen(Demotion)] == [100, 100, 0])

    run_hosted(main, tmp_path)


def test_its_metrics_are_the_nodes_and_an_idle_one_ships_nothing(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.counting)
        for number in range(3):
            host.publish(Ping(number=number))
        await eventually(lambda: 'pings_total{kind="even"} 2' in host.metrics.exposition())
        assert 'appliance_test_pings_total{kind="odd"} 1' in host.metrics.exposition()
        await trio.sleep(1.2)  # the shipping interval is over
        before = (await host.look())["switches"]
        await trio.sleep(2)
        # Looking itself wakes it up a few times; a timer of a second or less would show.
        assert (await host.look())["switches"] - before <= 4

    run_hosted(main, tmp_path)


def test_ten_thousand_events_in_one_go_arrive_complete(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        got: list[int] = []
        with host.bus.subscribe(Ping, name="test", capacity=20_000) as pings:
            await host.start(services.flooding, config=Settings(number=10_000))
            with trio.fail_after(WITHIN_S):
                while len(got) < 10_000:
                    got.append((await pings.receive()).number)
        assert got == list(range(10_000))

    run_hosted(main, tmp_path)


def test_an_event_that_cannot_cross_is_a_crash_with_its_name(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.unsendable)
        await eventually(lambda: host.seen(ServiceCrashed))
        assert "Heard cannot cross to another process" in host.seen(ServiceCrashed)[0].error

    run_hosted(main, tmp_path)


# --- punctuality ----------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_it_gets_the_scheduling_memory_and_collector_it_asks_for(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.start(services.calm, isolation=Isolation(realtime_priority=10, lock_memory=True, freeze_gc=True))
        facts = await host.look()
        assert (facts["policy"], facts["priority"]) == (os.SCHED_FIFO, 10)  # and no SCHED_RESET_ON_FORK
        assert facts["locked_kb"] > 5_000
        assert facts["frozen"] > 10_000
        assert os.sched_getscheduler(0) == os.SCHED_OTHER
        print(f"locked: RSS {facts['rss_kb']} kB, PSS {facts['pss_kb']} kB, locked {facts['locked_kb']} kB")

    run_hosted(main, tmp_path)


def test_without_permission_it_warns_once_and_goes_on(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def main(host: Host) -> None:
        # Root may everything, so ask for a priority that nobody can have.
        await host.start(services.calm, isolation=Isolation(realtime_priority=1000))
        assert (await host.look())["policy"] == os.SCHED_OTHER

    run_hosted(main, tmp_path)
    assert capfd.readouterr().err.count("realtime_refused") == 1


def test_how_fast_it_is(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        begin = time.monotonic()
        await host.start(services.mirror)
        start_s = time.monotonic() - begin
        delays: list[float] = []
        with host.bus.subscribe(Heard, name="test") as heard:
            for number in range(200):
                handling.set(None)  # the next ping is not a consequence of the last answer
                begin = time.monotonic()
                host.publish(Ping(number=number))
                with trio.fail_after(WITHIN_S):
                    await heard.receive()
                delays.append((time.monotonic() - begin) * 1e6)
        delays.sort()
        print(f"start {start_s * 1e3:.0f} ms; there and back p50 {delays[100]:.0f} us, p99 {delays[197]:.0f} us")
        assert start_s < 3
        assert delays[100] < 20_000

    run_hosted(main, tmp_path)


# --- signs of life --------------------------------------------------------------------------------------


def test_a_process_that_stands_still_is_an_alarm_until_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "PULSE_S", 1.0)  # a busy machine answers late

    async def main(host: Host) -> None:
        await host.start(services.calm)
        await trio.sleep(2.2)
        assert host.seen(Alarm) == [], "one that answers"
        os.kill(host.pid(), signal.SIGSTOP)
        await eventually(lambda: host.seen(Alarm))
        (alarm,) = host.seen(Alarm)
        assert (alarm.key, alarm.active) == ("service/test/it/silent", True)
        assert f"kill -CONT {host.pid()}" in alarm.fix
        await trio.sleep(2.2)
        assert len(host.seen(Alarm)) == 1, "once"
        os.kill(host.pid(), signal.SIGCONT)
        await eventually(lambda: len(host.seen(Alarm)) == 2)
        assert not host.seen(Alarm)[1].active

    run_hosted(main, tmp_path)


def test_the_alarm_about_a_silent_process_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "PULSE_S", 0.2)

    async def main(host: Host) -> None:
        await host.start(services.calm)
        os.kill(host.pid(), signal.SIGSTOP)
        await eventually(lambda: host.bus.retained(Alarm))
        os.kill(host.pid(), signal.SIGKILL)
        await eventually(lambda: not host.bus.retained(Alarm))

    run_hosted(main, tmp_path)
