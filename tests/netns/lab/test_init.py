"""The first process of a node: starts, restarts, stops, reaps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance.lab.init import REALTIME_CPU_MAX_S
from appliance.lab.netns import process_state
from appliance.lab.waiting import wait_until

ORDERLY = "import signal, sys, time\nsignal.signal(signal.SIGTERM, lambda *a: sys.exit(0))\ntime.sleep(60)\n"
WITH_CHILD = "import subprocess, time\nprint(subprocess.Popen(['sleep', '77']).pid, flush=True)\ntime.sleep(60)\n"


class Started:
    """An init process with its files."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        command = [sys.executable, "-c", program]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "appliance.lab.init", "--dir", str(folder), "--", *command],
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def facts(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "init.json").read_text())
        except OSError:
            return {}
        return found

    def wait_state(self, state: str, starts: int) -> int:
        wait_until(
            lambda: self.facts().get("state") == state and self.facts().get("starts") == starts,
            f"{state} after {starts} starts",
        )
        return int(self.facts()["pid"] or 0)


@pytest.fixture
def init(tmp_path: Path) -> Iterator[Any]:
    started: list[Started] = []

    def start(program: str) -> Started:
        started.append(Started(tmp_path, program))
        return started[-1]

    yield start
    for one in started:
        one.process.terminate()
        one.process.wait(timeout=15)


def test_a_killed_program_is_started_again_within_a_second(init: Any) -> None:
    node = init("import time\ntime.sleep(60)\n")
    first = node.wait_state("running", 1)
    time.sleep(1.1)  # it has to have lived for a second to count as healthy
    os.kill(first, signal.SIGKILL)
    killed = time.monotonic()
    second = node.wait_state("running", 2)
    assert second != first
    assert time.monotonic() - killed < 1.5
    assert node.facts()["last"] == "signal 9"


def test_an_orderly_stop_is_not_answered_by_a_start(init: Any) -> None:
    node = init(ORDERLY)
    pid = node.wait_state("running", 1)
    time.sleep(0.2)
    os.kill(pid, signal.SIGTERM)
    node.wait_state("stopped", 1)
    time.sleep(0.6)
    assert node.facts()["starts"] == 1
    os.kill(node.process.pid, signal.SIGUSR1)
    node.wait_state("running", 2)


def test_stopping_on_request_waits_for_the_next_start(init: Any) -> None:
    node = init(ORDERLY)
    node.wait_state("running", 1)
    os.kill(node.process.pid, signal.SIGUSR2)
    node.wait_state("stopped", 1)
    assert node.process.poll() is None


def test_a_refused_configuration_is_not_tried_again(init: Any) -> None:
    node = init("import sys\nprint('line 3: no')\nsys.exit(2)\n")
    node.wait_state("failed", 1)
    time.sleep(1.2)
    assert node.facts()["starts"] == 1
    assert (node.folder / "node.log").read_text() == "line 3: no\n"


def test_what_a_killed_program_leaves_behind_ends_before_the_next_start(init: Any) -> None:
    node = init(WITH_CHILD)
    main = node.wait_state("running", 1)
    log = node.folder / "node.log"
    wait_until(lambda: log.read_text(), "the child is there")
    child = int(log.read_text().split()[0])
    os.kill(main, signal.SIGKILL)
    node.wait_state("running", 2)
    assert process_state(child) == ""


def test_the_end_of_init_is_the_end_of_everything(tmp_path: Path) -> None:
    node = Started(tmp_path, WITH_CHILD)
    main = node.wait_state("running", 1)
    log = tmp_path / "node.log"
    wait_until(lambda: log.read_text(), "the child is there")
    child = int(log.read_text().split()[0])
    node.process.terminate()
    assert node.process.wait(timeout=15) == 0
    assert process_state(main) == process_state(child) == ""


def test_a_real_time_process_that_never_waits_is_ended_before_it_takes_the_machine(init: Any) -> None:
    # Half a second of the limit is used by the test: the limit itself is inherited from init.
    spin = "import os, resource\n"
    spin += "limit = resource.getrlimit(resource.RLIMIT_RTTIME)\n"
    spin += "print(limit[0] // 1_000_000, flush=True)\n"
    spin += "resource.setrlimit(resource.RLIMIT_RTTIME, (500_000, limit[1]))\n"
    spin += "os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))\n"
    spin += "while True: pass\n"
    node = init(spin)
    wait_until(lambda: str(node.facts().get("last", "")).startswith("signal"), "the kernel ended it")
    assert node.facts()["last"] == f"signal {int(signal.SIGXCPU)}"
    assert (node.folder / "node.log").read_text().splitlines()[0] == str(REALTIME_CPU_MAX_S)


def test_wrong_arguments_are_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "appliance.lab.init", "--dir", "x"], capture_output=True, timeout=15, check=False
    )
    assert done.returncode == 2
