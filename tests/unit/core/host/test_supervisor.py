"""Life of services under the supervisor, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from appliance.bus import EventBus
from appliance.errors import ApplianceError, PluginError, RefusedError
from appliance.events import Demotion, Event, Retracted, ServiceCrashed, ServiceStarted, ServiceStopped, Status
from appliance.host.plugins import PluginService
from appliance.host.supervisor import ServiceReport, Supervisor
from appliance.host.unit import CRASHES_MAX, HEALTHY_S, READY_DEADLINE_S, RELOAD_DEADLINE_S, STUCK_S, ServiceState
from appliance.metrics import MetricsRegistry
from appliance.plugin.context import Context, Started
from appliance.plugin.contributions import CrashPolicy, Service
from appliance.plugin.node import Node

DISTRIBUTION = "appliance-test 1.0"


class Host:
    """A supervisor on a bus, with what happened on it."""

    def __init__(self, state_dir: Path) -> None:
        self.bus = EventBus()
        self.metrics = MetricsRegistry()
        self.supervisor = Supervisor(self.bus, node=Node(name="fw1"), state_dir=state_dir, metrics=self.metrics, seed=1)
        self.seen: list[Event] = []
        self.times: list[float] = []

    async def watch(self, *, task_status: trio.TaskStatus[None]) -> None:
        kinds = (ServiceCrashed, ServiceStarted, ServiceStopped, Demotion)
        with self.bus.subscribe(*kinds, Retracted, name="test", capacity=1000) as events:
            task_status.started()
            async for event in events:
                self.seen.append(event)
                self.times.append(trio.current_time())

    async def settle(self) -> None:
        await trio.testing.wait_all_tasks_blocked()

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.seen if type(event) is kind]

    def report(self, name: str) -> ServiceReport:
        return next(report for report in self.supervisor.services() if report.name == name)

    def state(self, name: str) -> ServiceState:
        return self.report(name).state


@asynccontextmanager
async def hosting(state_dir: Path) -> AsyncIterator[Host]:
    host = Host(state_dir)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.watch)
        await nursery.start(host.supervisor.run)
        yield host
        nursery.cancel_scope.cancel()


def run_hosted(main: Callable[[Host], Awaitable[None]], state_dir: Path) -> None:
    async def body() -> None:
        async with hosting(state_dir) as host:
            await main(host)

    trio.run(body, clock=trio.testing.MockClock(autojump_threshold=0))


def wanted(key: str, run: Any, plugin: str = "test", **more: Any) -> PluginService:
    return PluginService(plugin=plugin, distribution=DISTRIBUTION, service=Service(key=key, run=run, **more))


async def obedient(ctx: Context, started: Started) -> None:
    started.started()
    await ctx.stopping.wait()


def crashing_after(seconds: float, *, ready: bool = True) -> Callable[[Context, Started], Awaitable[None]]:
    async def run(ctx: Context, started: Started) -> None:
        if ready:
            started.started()
        await trio.sleep(seconds)
        raise ValueError("boom")

    return run


def reloading(log: list[object], refuse: Callable[[object], bool] = lambda _: False) -> Any:
    """A service that takes changes live and notes each; its own restarts are noted as `start:`."""

    async def run(ctx: Context, started: Started) -> None:
        async def handler(new: object) -> None:
            log.append(new)
            if refuse(new):
                raise RefusedError("no such device", hint="plug it in")

        log.append(f"start:{ctx.config}")
        with ctx.on_reload(handler):
            started.started()
            await ctx.stopping.wait()

    return run


def test_a_service_is_started_reported_and_stopped_when_it_is_no_longer_wanted(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        applied = await host.supervisor.apply([wanted("a", obedient)])
        assert applied.started == ("test/a",)
        report = host.report("test/a")
        assert (report.state, report.plugin, report.distribution) == (ServiceState.RUNNING, "test", DISTRIBUTION)
        assert [item.event for item in host.bus.retained(ServiceStarted)] == [ServiceStarted(service="test/a")]

        applied = await host.supervisor.apply([])
        assert applied.stopped == ("test/a",)
        assert host.supervisor.services() == ()
        assert host.bus.retained(ServiceStarted) == ()
        await host.settle()
        assert host.of(ServiceStopped) == [ServiceStopped(service="test/a", reason="it is no longer configured")]
        assert host.of(ServiceCrashed) == []

    run_hosted(main, tmp_path)


def test_back_off_doubles_from_half_a_second_to_thirty_and_the_budget_ends_it(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        with pytest.raises(ApplianceError, match="service test/a did not become ready: ValueError: boom"):
            await host.supervisor.apply([wanted("a", crashing_after(0, ready=False))])
        assert host.state("test/a") is ServiceState.BACKOFF
        await trio.sleep(1000)
        delays = [crash.restart_in_s for crash in host.of(ServiceCrashed)]
        assert delays == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, None]
        assert len(delays) == CRASHES_MAX + 1
        instants = [t for t, event in zip(host.times, host.seen, strict=True) if type(event) is ServiceCrashed]
        gaps = [round(later - earlier, 3) for earlier, later in pairwise(instants)]
        assert gaps == delays[:-1]
        report = host.report("test/a")
        assert (report.state, report.restarts) == (ServiceState.FAILED, CRASHES_MAX)
        assert report.error == "ValueError: boom"
        assert "service_crashes" in host.metrics.exposition()

    run_hosted(main, tmp_path)


def test_a_minute_of_health_makes_the_next_crash_a_first_one(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        lives = [0.0, 0.0, 0.0, HEALTHY_S, 0.0]

        async def run(ctx: Context, started: Started) -> None:
            started.started()
            await trio.sleep(lives.pop(0) if lives else 1e6)
            raise ValueError("boom")

        await host.supervisor.apply([wanted("a", run)])
        await trio.sleep(100)
        assert [crash.restart_in_s for crash in host.of(ServiceCrashed)] == [0.5, 1, 2, 0.5, 1]
        assert host.report("test/a").error == "ValueError: boom"
        await trio.sleep(HEALTHY_S)
        assert host.report("test/a").error is None

    run_hosted(main, tmp_path)


def test_a_crash_withdraws_the_facts_of_the_service_before_it_is_told(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        async def run(ctx: Context, started: Started) -> None:
            ctx.publish(Status(summary="fine"))
            started.started()
            await trio.sleep(1)
            raise ValueError("boom\nsecond line")

        await host.supervisor.apply([wanted("a", run)])
        assert len(host.bus.retained(Status)) == 1
        await trio.sleep(1.1)
        assert host.bus.retained(Status) == ()
        kinds = [type(event) for event in host.seen]
        assert kinds == [ServiceStarted, Retracted, Retracted, ServiceCrashed]
        crash = host.of(ServiceCrashed)[0]
        assert (crash.error, crash.distribution) == ("ValueError: boom second line", DISTRIBUTION)

    run_hosted(main, tmp_path)


def test_siblings_do_not_notice_crashes(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        beats: list[float] = []

        async def heart(ctx: Context, started: Started) -> None:
            started.started()
            while True:
                beats.append(trio.current_time())
                await trio.sleep(0.1)

        await host.supervisor.apply([wanted("heart", heart), wanted("sick", crashing_after(0.01))])
        await trio.sleep(20)
        assert len(host.of(ServiceCrashed)) >= 5
        assert max(b - a for a, b in pairwise(beats)) == pytest.approx(0.1)

    run_hosted(main, tmp_path)


def test_returning_without_being_asked_is_a_crash(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        async def run(ctx: Context, started: Started) -> None:
            started.started()

        await host.supervisor.apply([wanted("a", run)])
        await host.settle()
        assert [crash.error for crash in host.of(ServiceCrashed)] == ["it returned without being asked to"]

    run_hosted(main, tmp_path)


def test_a_service_that_is_never_ready_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        async def run(ctx: Context, started: Started) -> None:
            await trio.sleep_forever()

        begin = trio.current_time()
        with pytest.raises(ApplianceError, match=r"test/a did not become ready: it did not become ready within 30 s"):
            await host.supervisor.apply([wanted("a", run)])
        assert trio.current_time() - begin == pytest.approx(READY_DEADLINE_S)
        assert host.state("test/a") is ServiceState.BACKOFF

    run_hosted(main, tmp_path)


def test_being_late_does_not_keep_a_service_from_running_after_all(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        tries = iter([True, True, False])

        async def run(ctx: Context, started: Started) -> None:
            if next(tries):
                raise OSError(19, "No such device")
            await obedient(ctx, started)

        with pytest.raises(ApplianceError, match="No such device"):
            await host.supervisor.apply([wanted("a", run)])
        await trio.sleep(2)
        assert host.state("test/a") is ServiceState.RUNNING
        assert host.report("test/a").restarts == 2

    run_hosted(main, tmp_path)


def test_stopping_drains_for_the_grace_time_and_then_cancels_with_a_reason(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        story: list[object] = []

        async def run(ctx: Context, started: Started) -> None:
            started.started()
            await ctx.stopping.wait()
            story.append(("stopping", trio.current_time()))
            try:
                await trio.sleep_forever()
            except trio.Cancelled as cancelled:
                story.append(("cancelled", trio.current_time(), cancelled.reason))
                raise
            finally:
                with trio.move_on_after(0.5, shield=True):
                    await trio.sleep(0.1)
                    ctx.publish(Status(summary="last words"))
                    story.append("last words")

        await host.supervisor.apply([wanted("a", run, grace_s=3.0)])
        begin = trio.current_time()
        await host.supervisor.stop("power button")
        assert story == [
            ("stopping", begin),
            ("cancelled", begin + 3.0, "test/a: power button"),
            "last words",
        ]
        assert host.bus.retained(Status) == ()

    run_hosted(main, tmp_path)


def test_an_error_while_stopping_is_not_a_crash(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        async def run(ctx: Context, started: Started) -> None:
            started.started()
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in the way out")

        await host.supervisor.apply([wanted("a", run, grace_s=0.1)])
        await host.supervisor.stop("enough")
        await host.settle()
        assert host.of(ServiceCrashed) == []
        assert [stopped.reason for stopped in host.of(ServiceStopped)] == ["enough"]

    run_hosted(main, tmp_path)


def test_a_service_can_be_stopped_before_it_is_ready_and_while_it_backs_off(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        async def slow(ctx: Context, started: Started) -> None:
            await ctx.stopping.wait()

        async def apply_both() -> None:
            with pytest.raises(ApplianceError, match=r"did not become ready|not changed"):
                await host.supervisor.apply([wanted("a", slow), wanted("b", crashing_after(0))])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(apply_both)
            await trio.sleep(0.2)
            assert (host.state("test/a"), host.state("test/b")) == (ServiceState.STARTING, ServiceState.BACKOFF)
            begin = trio.current_time()
            await host.supervisor.stop("enough")
            assert trio.current_time() == begin
        assert {report.state for report in host.supervisor.services()} == {ServiceState.STOPPED}

    run_hosted(main, tmp_path)


def test_a_service_that_swallows_its_cancellation_is_named_and_not_waited_for_for_ever(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        release = trio.Event()

        async def run(ctx: Context, started: Started) -> None:
            started.started()
            with trio.CancelScope(shield=True):
                await release.wait()

        await host.supervisor.apply([wanted("a", run, grace_s=1.0)])
        begin = trio.current_time()
        with pytest.raises(ApplianceError, match="test/a does not stop"):
            await host.supervisor.apply([])
        assert trio.current_time() - begin == 1.0 + STUCK_S
        release.set()

    run_hosted(main, tmp_path)


def test_services_start_after_what_they_need_and_stop_before_it(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        story: list[str] = []

        def named(name: str, seconds: float) -> Any:
            async def run(ctx: Context, started: Started) -> None:
                story.append(f"{name} starts")
                await trio.sleep(seconds)
                story.append(f"{name} ready")
                started.started()
                await ctx.stopping.wait()
                story.append(f"{name} drains")
                await trio.sleep(seconds)
                story.append(f"{name} ends")

            return run

        await host.supervisor.apply(
            [
                wanted("top", named("top", 0.5), needs=frozenset({"addresses", "absent"})),
                wanted("base", named("base", 1), provides=frozenset({"addresses"})),
            ]
        )
        await host.supervisor.stop("enough")
        assert story == [
            *("base starts", "base ready", "top starts", "top ready"),
            *("top drains", "top ends", "base drains", "base ends"),
        ]

    run_hosted(main, tmp_path)


def test_who_waits_for_a_crashed_service_is_reported_and_starts_when_it_recovers(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        tries = iter([True, True, False])

        async def base(ctx: Context, started: Started) -> None:
            if next(tries):
                raise ValueError("boom")
            await obedient(ctx, started)

        services = [
            wanted("base", base, provides=frozenset({"x"})),
            wanted("middle", obedient, needs=frozenset({"x"}), provides=frozenset({"y"})),
            wanted("top", obedient, needs=frozenset({"y"})),
        ]
        with pytest.raises(ApplianceError) as caught:
            await host.supervisor.apply(services)
        assert caught.value.message == (
            "service test/base did not become ready: ValueError: boom; "
            "service test/middle did not become ready: it waits for test/base; "
            "service test/top did not become ready: it waits for test/middle"
        )
        assert host.state("test/top") is ServiceState.WAITING
        await trio.sleep(2)
        assert {report.state for report in host.supervisor.services()} == {ServiceState.RUNNING}

    run_hosted(main, tmp_path)


def test_who_would_rather_start_later_does_not_wait_for_a_crashed_service(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        story: list[str] = []

        async def slow(ctx: Context, started: Started) -> None:
            await trio.sleep(1)
            story.append("slow is ready")
            await obedient(ctx, started)

        async def late(ctx: Context, started: Started) -> None:
            story.append("late starts")
            await obedient(ctx, started)

        with pytest.raises(ApplianceError, match="boom"):
            await host.supervisor.apply(
                [
                    wanted("slow", slow, provides=frozenset({"x"})),
                    wanted("broken", crashing_after(0, ready=False), provides=frozenset({"y"})),
                    wanted("late", late, after=frozenset({"x", "y", "absent"})),
                ]
            )
        assert story == ["slow is ready", "late starts"]
        assert (host.state("test/broken"), host.state("test/late")) == (ServiceState.BACKOFF, ServiceState.RUNNING)

    run_hosted(main, tmp_path)


def test_who_needs_a_service_that_is_given_up_starts_without_it(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        with pytest.raises(ApplianceError, match="boom"):
            await host.supervisor.apply(
                [
                    wanted("base", crashing_after(0, ready=False), provides=frozenset({"x"})),
                    wanted("top", obedient, needs=frozenset({"x"})),
                ]
            )
        await trio.sleep(1000)
        assert (host.state("test/base"), host.state("test/top")) == (ServiceState.FAILED, ServiceState.RUNNING)

    run_hosted(main, tmp_path)


def test_a_wrong_list_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.supervisor.apply([wanted("a", obedient)])
        with pytest.raises(PluginError, match="two services have the same name: test/b"):
            await host.supervisor.apply([wanted("b", obedient), wanted("b", obedient)])
        circle = (
            {"needs": frozenset({"x"}), "provides": frozenset({"y"})},
            {
                "needs": frozenset({"y"}),
                "provides": frozenset({"x"}),
            },
        )
        with pytest.raises(PluginError, match="circle"):
            await host.supervisor.apply([wanted("b", obedient, **circle[0]), wanted("c", obedient, **circle[1])])
        assert [report.name for report in host.supervisor.services()] == ["test/a"]
        assert host.state("test/a") is ServiceState.RUNNING

    run_hosted(main, tmp_path)


def test_policy_demote_demotes_the_node_until_the_service_runs_again(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        lives = [1.0, 0.0, 1e6]

        async def run(ctx: Context, started: Started) -> None:
            life = lives.pop(0)
            if life:
                started.started()
            await trio.sleep(life)
            raise ValueError("boom")

        await host.supervisor.apply([wanted("a", run, on_crash=CrashPolicy.DEMOTE)])
        await trio.sleep(10)
        assert host.of(Demotion) == [
            Demotion(reason="service:test/a", weight=240),
            Demotion(reason="service:test/a", weight=0),
        ]
        demoted_at, cleared_at = (t for t, event in zip(host.times, host.seen, strict=True) if type(event) is Demotion)
        assert cleared_at - demoted_at == pytest.approx(0.5 + 1.0)

    run_hosted(main, tmp_path)


def test_a_restart_by_configuration_does_not_lift_the_demotion_of_a_sick_service(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        async def run(ctx: Context, started: Started) -> None:
            if ctx.config != "good":
                raise ValueError("boom")
            await obedient(ctx, started)

        for config in ("bad", "worse"):
            with pytest.raises(ApplianceError, match="boom"):
                await host.supervisor.apply([wanted("a", run, config=config, on_crash=CrashPolicy.DEMOTE)])
        await host.settle()
        assert [event.weight for event in host.of(Demotion)] == [240]
        await host.supervisor.apply([wanted("a", run, config="good", on_crash=CrashPolicy.DEMOTE)])
        await host.settle()
        assert [event.weight for event in host.of(Demotion)] == [240, 0]

    run_hosted(main, tmp_path)


def test_stopping_a_sick_service_lifts_its_demotion(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        with pytest.raises(ApplianceError, match="boom"):
            await host.supervisor.apply([wanted("a", crashing_after(0, ready=False), on_crash=CrashPolicy.DEMOTE)])
        await host.supervisor.apply([])
        await host.settle()
        assert [event.weight for event in host.of(Demotion)] == [240, 0]

    run_hosted(main, tmp_path)


def test_policy_stop_node_asks_the_node_to_stop_and_does_not_restart(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        await host.supervisor.apply([wanted("a", crashing_after(1), on_crash=CrashPolicy.STOP_NODE)])
        assert not host.supervisor.stop_requested.is_set()
        await host.supervisor.stop_requested.wait()
        assert host.supervisor.stop_reason == "service test/a crashed: ValueError: boom"
        await trio.sleep(100)
        assert [crash.restart_in_s for crash in host.of(ServiceCrashed)] == [None]

    run_hosted(main, tmp_path)


def test_reload_leaves_equal_services_alone_and_restarts_changed_ones(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        starts: list[object] = []

        async def run(ctx: Context, started: Started) -> None:
            starts.append(ctx.config)
            await obedient(ctx, started)

        await host.supervisor.apply([wanted("a", run, config={"x": 1}), wanted("b", run, config="old")])
        applied = await host.supervisor.apply([wanted("a", run, config={"x": 1}), wanted("b", run, config="new")])
        assert (applied.unchanged, applied.restarted) == (("test/a",), ("test/b",))
        assert sorted(starts, key=str) == ["new", "old", {"x": 1}]
        await host.settle()
        assert [event.service for event in host.of(ServiceStopped)] == ["test/b"]

    run_hosted(main, tmp_path)


def test_a_reload_handler_takes_the_change_live(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        log: list[object] = []
        contexts: list[Context] = []

        async def run(ctx: Context, started: Started) -> None:
            contexts.append(ctx)
            await reloading(log)(ctx, started)

        await host.supervisor.apply([wanted("a", run, config=1)])
        applied = await host.supervisor.apply([wanted("a", run, config=2)])
        assert applied.reloaded == ("test/a",)
        assert log == ["start:1", 2]
        assert contexts[0].config == 2
        assert (await host.supervisor.apply([wanted("a", run, config=2)])).unchanged == ("test/a",)
        assert host.of(ServiceStopped) == []

    run_hosted(main, tmp_path)


def test_a_refused_reload_is_raised_and_the_old_list_makes_everything_as_before(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        calm: list[object] = []
        willing: list[object] = []
        stubborn: list[object] = []

        def services(config: int) -> list[PluginService]:
            return [
                wanted("calm", reloading(calm), config=0),
                wanted("willing", reloading(willing), config=config),
                wanted("stubborn", reloading(stubborn, lambda new: new == 2), config=config),
            ]

        await host.supervisor.apply(services(1))
        with pytest.raises(RefusedError) as caught:
            await host.supervisor.apply(services(2))
        assert caught.value.message == "service test/stubborn refused its new configuration: no such device"
        assert caught.value.hint == "plug it in"

        applied = await host.supervisor.apply(services(1))
        assert (applied.reloaded, applied.unchanged) == (("test/willing", "test/stubborn"), ("test/calm",))
        assert (calm, willing, stubborn) == (["start:0"], ["start:1", 2, 1], ["start:1", 2, 1])
        assert (await host.supervisor.apply(services(1))).reloaded == ()

    run_hosted(main, tmp_path)


def test_a_new_service_that_fails_can_be_taken_back_without_disturbing_others(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        starts: list[object] = []

        async def run(ctx: Context, started: Started) -> None:
            starts.append(ctx.config)
            if ctx.config == "bad":
                raise ValueError("boom")
            await obedient(ctx, started)

        old = [wanted("a", run, config="same"), wanted("b", run, config="good"), wanted("gone", run, config="gone")]
        new = [wanted("a", run, config="same"), wanted("b", run, config="bad"), wanted("new", run, config="new")]
        await host.supervisor.apply(old)
        with pytest.raises(ApplianceError, match="service test/b did not become ready: ValueError: boom"):
            await host.supervisor.apply(new)
        applied = await host.supervisor.apply(old)
        assert (applied.unchanged, applied.restarted) == (("test/a",), ("test/b",))
        assert (applied.started, applied.stopped) == (("test/gone",), ("test/new",))
        assert starts.count("same") == 1
        assert {report.state for report in host.supervisor.services()} == {ServiceState.RUNNING}

    run_hosted(main, tmp_path)


def test_a_reload_handler_that_hangs_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        async def run(ctx: Context, started: Started) -> None:
            async def handler(new: object) -> None:
                if new == 2:
                    await trio.sleep_forever()

            with ctx.on_reload(handler):
                await obedient(ctx, started)

        await host.supervisor.apply([wanted("a", run, config=1)])
        begin = trio.current_time()
        with pytest.raises(ApplianceError, match="did not finish within 20 s"):
            await host.supervisor.apply([wanted("a", run, config=2)])
        assert trio.current_time() - begin == RELOAD_DEADLINE_S
        assert (await host.supervisor.apply([wanted("a", run, config=1)])).reloaded == ("test/a",)

    run_hosted(main, tmp_path)


def test_a_service_that_dies_during_its_reload_fails_the_reload_at_once(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        async def run(ctx: Context, started: Started) -> None:
            wake = trio.Event()

            async def handler(new: object) -> None:
                wake.set()
                await trio.sleep_forever()

            with ctx.on_reload(handler):
                started.started()
                await wake.wait()
                raise ValueError("boom")

        await host.supervisor.apply([wanted("a", run, config=1)])
        begin = trio.current_time()
        with pytest.raises(ApplianceError, match="the service ended during the reload"):
            await host.supervisor.apply([wanted("a", run, config=2)])
        assert trio.current_time() == begin
        await trio.sleep(1)
        assert host.state("test/a") is ServiceState.RUNNING  # with the old configuration
        assert (await host.supervisor.apply([wanted("a", run, config=1)])).unchanged == ("test/a",)

    run_hosted(main, tmp_path)


def test_a_reload_waits_for_what_the_service_needs(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        story: list[str] = []

        async def base(ctx: Context, started: Started) -> None:
            await trio.sleep(1)
            story.append(f"base ready {ctx.config}")
            await obedient(ctx, started)

        async def top(ctx: Context, started: Started) -> None:
            async def handler(new: object) -> None:
                story.append(f"top reloads {new}")

            with ctx.on_reload(handler):
                await obedient(ctx, started)

        def services(config: int) -> list[PluginService]:
            return [
                wanted("top", top, config=config, needs=frozenset({"x"})),
                wanted("base", base, config=config, provides=frozenset({"x"})),
            ]

        await host.supervisor.apply(services(1))
        await host.supervisor.apply(services(2))
        assert story == ["base ready 1", "base ready 2", "top reloads 2"]

    run_hosted(main, tmp_path)


def test_a_cancelled_supervisor_still_says_that_its_services_are_gone(tmp_path: Path) -> None:
    async def main() -> None:
        bus = EventBus()
        supervisor = Supervisor(bus, node=Node(name="fw1"), state_dir=tmp_path, metrics=MetricsRegistry())
        with bus.subscribe(ServiceStopped, name="test") as stopped:
            async with trio.open_nursery() as nursery:
                await nursery.start(supervisor.run)
                await supervisor.apply([wanted("a", obedient)])
                nursery.cancel_scope.cancel()
            assert stopped.receive_nowait().service == "test/a"
            assert bus.retained(ServiceStarted) == ()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_stop_interrupts_an_apply_that_waits(tmp_path: Path) -> None:
    async def main(host: Host) -> None:
        async def slow(ctx: Context, started: Started) -> None:
            await trio.sleep_forever()

        async def apply_slow() -> None:
            with pytest.raises(ApplianceError, match="not changed: power button"):
                await host.supervisor.apply([wanted("a", slow, grace_s=0.5)])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(apply_slow)
            await trio.sleep(1)
            begin = trio.current_time()
            await host.supervisor.stop("power button")
            assert trio.current_time() - begin == 0.5
        with pytest.raises(ApplianceError, match="the node is stopping"):
            await host.supervisor.apply([])

    run_hosted(main, tmp_path)


def test_the_seed_makes_the_randomness_of_a_service_repeatable(tmp_path: Path) -> None:
    drawn: dict[str, list[float]] = {"test/a": [], "test/b": []}

    async def run(ctx: Context, started: Started) -> None:
        drawn[ctx.name].append(ctx.random.random())
        await obedient(ctx, started)

    async def main(host: Host) -> None:
        await host.supervisor.apply([wanted("a", run), wanted("b", run)])

    run_hosted(main, tmp_path)
    run_hosted(main, tmp_path)
    (a1, a2), (b1, b2) = drawn.values()
    assert (a1, b1) == (a2, b2)
    assert a1 != b1
