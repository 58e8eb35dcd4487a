"""The demonstration does what it says, and leaves nothing behind however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

from appliance.lab import netns
from appliance.lab.demo import table

pytestmark = [pytest.mark.netns, pytest.mark.slow]


def demo_process(*arguments: str) -> subprocess.Popen[str]:
    program = "import sys; from appliance.cli import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-u", "-c", program, "lab", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_behind(pid: int) -> Sequence[str]:
    return netns.named(f"lab-demo{pid}-")


def test_every_step_happens_and_nothing_is_left() -> None:
    process = demo_process()
    said, _ = process.communicate(timeout=110)
    assert process.returncode == 0, said
    assert left_behind(process.pid) == ()
    rows = re.findall(r"^  (\S.*?) {3,}(\d+) of (\d+) ", said, re.M)
    assert [title for title, _, _ in rows] == [
        "nothing happens",
        "power failure of the master",
        "fw1 returns",
        "WAN cable of the master pulled",
        "planned switchover",
    ]
    assert int(rows[1][1]) > 0


def test_interrupting_it_leaves_nothing() -> None:
    process = demo_process()
    assert process.stdout is not None
    for line in process.stdout:
        if "were built in" in line:
            break
    os.kill(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    assert "Interrupted." in rest
    assert process.returncode == 130
    assert left_behind(process.pid) == ()


def test_tables_have_straight_columns() -> None:
    assert table([("", "lost"), ("power", "1234"), ("x", "0")]) == "          lost\n  power   1234\n  x          0"
