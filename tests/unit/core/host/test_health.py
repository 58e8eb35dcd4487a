"""A stall has a name, a frozen loop is not petted, and without a service manager nothing happens."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from appliance.bus import EventBus
from appliance.events import LoopStalled
from appliance.host.health import REPORT_EVERY_S, ServiceManager, StallDetector, watch_loop


def run(main: Callable[[], Awaitable[None]]) -> None:
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


class Clock:
    """Time passes only when a step says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def heard(listener: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(listener.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_a_task_that_holds_the_loop_is_reported_by_name_and_not_too_often() -> None:
    clock = Clock()
    reports: list[LoopStalled] = []
    detector = StallDetector(reports.append, clock=clock)

    async def hog(step_s: float, steps: int) -> None:
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
            clock.now += step_s

    async def main() -> None:
        trio.lowlevel.add_instrument(detector)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hog, 0.04, 5, name="carp/lan")
        assert reports == []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hog, 0.25, 3, name="pfsync/bulk")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hog, 0.5, 1, name="dhcp/pool")
        clock.now += REPORT_EVERY_S
        await trio.lowlevel.checkpoint()
        reports.clear()  # the line above was a step of this task
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hog, 0.25, 1, name="pfsync/bulk")
        trio.lowlevel.remove_instrument(detector)

    run(main)
    assert [report.task for report in reports] == ["pfsync/bulk"]
    assert reports[0].stall_s == pytest.approx(0.25)
    assert (reports[0].stalls, reports[0].total_s) == (3, pytest.approx(0.75)), "with those that were not told"
    assert detector.stalls == 6
    assert detector.worst.stall_s == pytest.approx(REPORT_EVERY_S)


def test_reports_of_different_tasks_do_not_silence_each_other() -> None:
    clock = Clock()
    reports: list[LoopStalled] = []

    async def hog() -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()
            clock.now += 0.25

    async def main() -> None:
        trio.lowlevel.add_instrument(StallDetector(reports.append, clock=clock))
        async with trio.open_nursery() as nursery:
            for name in ("a", "b"):
                nursery.start_soon(hog, name=name)

    run(main)
    assert sorted(report.task for report in reports) == ["a", "b"]


def test_a_stall_can_be_published_from_the_detector() -> None:
    async def main() -> None:
        bus = EventBus()
        clock = Clock()
        detector = StallDetector(lambda event: bus.publish(event, source="host"), clock=clock)

        async def hog() -> None:
            clock.now += 0.25

        with bus.subscribe(LoopStalled, name="watcher") as stalls:
            trio.lowlevel.add_instrument(detector)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hog, name="hog")
                assert (await stalls.receive()).task == "hog"
            trio.lowlevel.remove_instrument(detector)

    run(main)


def test_the_service_manager_hears_ready_and_stopping(systemd: socket.socket) -> None:
    manager = ServiceManager({"NOTIFY_SOCKET": systemd.getsockname()})
    assert manager.ready("BACKUP for 2 virtual hosts")
    assert manager.stopping("two\nWATCHDOG=trigger")
    assert heard(systemd) == ["READY=1\nSTATUS=BACKUP for 2 virtual hosts", "STOPPING=1\nSTATUS=two WATCHDOG=trigger"]


def test_an_abstract_socket_works_as_well() -> None:
    name = f"appliance-test-notify-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        assert ServiceManager({"NOTIFY_SOCKET": "@" + name}).ready()
        assert listener.recv(100) == b"READY=1"


def test_nobody_listening_is_no_error(tmp_path: Path) -> None:
    assert not ServiceManager({}).ready("up")
    assert not ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("up")


def test_the_watchdog_is_petted_at_half_its_time(systemd: socket.socket) -> None:
    async def main() -> None:
        manager = ServiceManager({
            "NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())
        })  # fmt: skip
        with trio.move_on_after(10):
            await watch_loop(lambda event: None, manager)

    run(main)
    assert heard(systemd) == ["WATCHDOG=1"] * 7  # at 0, 1.5, … 9 seconds


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "3000000"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"},
    ],
)
def test_without_a_watchdog_meant_for_us_the_loop_is_never_woken(environ: dict[str, str]) -> None:
    async def main() -> None:
        assert ServiceManager(environ).watchdog_s is None
        async with trio.open_nursery() as nursery:
            await nursery.start(watch_loop, lambda event: None, ServiceManager(environ))
            await trio.testing.wait_all_tasks_blocked()
            # No deadline anywhere: nothing will ever wake this loop by itself.
            assert trio.lowlevel.current_statistics().seconds_to_next_deadline == float("inf")
            nursery.cancel_scope.cancel(reason="test")

    trio.run(main)


def test_the_detector_leaves_with_its_watcher() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            detector = await nursery.start(watch_loop, lambda event: None, ServiceManager({}))
            nursery.cancel_scope.cancel(reason="test")
        with pytest.raises(KeyError):
            trio.lowlevel.remove_instrument(detector)

    run(main)
