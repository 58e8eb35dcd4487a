"""The kit inside somebody else's pytest run: coroutine tests, virtual time, and reports of failures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PLUGIN = """
from appliance.events import LinkChanged
from appliance.plugin import Service, hookimpl

async def run(ctx, started):
    started.started()
    await ctx.stopping.wait()

class Sample:
    api = (1, 0)

    @hookimpl
    def appliance_services(self):
        return [Service(key="main", run=run)]
"""


def pytest_says(folder: Path, body: str) -> str:
    test = folder / "test_sample.py"
    test.write_text(PLUGIN + body)
    argv = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-rA", test.name]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, check=False).stdout


def test_coroutine_tests_run_in_virtual_time_without_configuration(tmp_path: Path) -> None:
    said = pytest_says(
        tmp_path,
        """
import trio

async def test_a_day(run_service, autojump_clock):
    async with run_service(Sample) as node:
        began = trio.current_time()
        await trio.sleep(86400)
        assert trio.current_time() - began == 86400

async def test_with_a_lan(lan, autojump_clock):
    lan.port("a").send(b"x")
    lan.port("b")

def test_plain(check_plugin):
    check_plugin(Sample)
""",
    )
    assert "3 passed" in said, said


def test_a_failure_is_one_exception_with_the_last_events_of_the_nodes(tmp_path: Path) -> None:
    said = pytest_says(
        tmp_path,
        """
async def test_fails(run_service, autojump_clock):
    async with run_service(Sample, node="fw1") as node:
        node.publish(LinkChanged(interface="lan", device="eth0", present=True, up=True))
        assert 1 == 2
""",
    )
    assert "1 failed" in said, said
    assert "Exception Group" not in said
    assert "Last events of every node" in said
    assert "fw1 #" in said
    assert "test: LinkChanged(interface='lan'" in said


def test_virtual_time_and_real_networks_refuse_each_other(tmp_path: Path) -> None:
    said = pytest_says(tmp_path, "\nasync def test_both(netlab, autojump_clock):\n    pass\n")
    assert "autojump_clock and netlab do not go together" in said


def test_coroutine_tests_of_others_are_left_alone(tmp_path: Path) -> None:
    said = pytest_says(tmp_path, "\nasync def test_theirs():\n    pass\n")
    assert "1 failed" in said
    assert "not natively supported" in said
