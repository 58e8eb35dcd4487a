"""Waiting for processes that trio did not start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import trio

from appliance.host.processes import kill, wait_for

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_all_who_wait_learn_how_it_ended() -> None:
    process = subprocess.Popen([sys.executable, "-c", "raise SystemExit(7)"])

    async def main() -> None:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(wait_for, process)
            await wait_for(process)  # it has ended long ago

    trio.run(main)
    assert process.returncode == 7


def test_who_stops_waiting_leaves_no_descriptor_open() -> None:
    with subprocess.Popen(SLEEPER) as process:
        before = os.listdir("/proc/self/fd")

        async def main() -> None:
            with trio.move_on_after(0.05):
                await wait_for(process)

        trio.run(main)
        assert (process.poll(), os.listdir("/proc/self/fd")) == (None, before)
        process.kill()


def test_without_a_descriptor_it_looks_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pidfd_open", refused)
    process = subprocess.Popen(SLEEPER)

    async def main() -> None:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait_for, process)
                await trio.sleep(0.1)
                process.terminate()

    trio.run(main)
    assert process.returncode == -signal.SIGTERM


def test_a_killed_process_is_gone_although_the_caller_is_cancelled() -> None:
    process = subprocess.Popen(SLEEPER)

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await kill(process)

    trio.run(main)
    assert process.returncode == -signal.SIGKILL
