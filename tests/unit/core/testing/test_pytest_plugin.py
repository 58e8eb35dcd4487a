"""The kit inside somebody else's pytest run: coroutine tests, virtual time, and reports of failures."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

TESTS = """
import trio

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

async def test_a_day(run_service, autojump_clock):
    async with run_service(Sample) as node:
        began = trio.current_time()
        await trio.sleep(86400)
        assert trio.current_time() - began == 86400

async def test_with_a_lan(lan, autojump_clock):
    lan.port("a").send(b"x")
    assert lan.capture[0].source == "a"

def test_plain(check_plugin):
    check_plugin(Sample)

async def test_fails(run_service, autojump_clock):
    async with run_service(Sample, node="fw1") as node:
        node.publish(LinkChanged(interface="lan", device="eth0", present=True, up=True))
        assert 1 == 2

async def test_virtual_time_on_a_real_network(netlab, autojump_clock):
    pass

async def test_theirs():
    pass
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What pytest prints about these tests in an empty folder; starting it is what takes time, so once."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "test_sample.py").write_text(TESTS)
    argv = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-rA", "test_sample.py"]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=110, check=False).stdout


def part(said: str, test: str) -> str:
    """The report of one failed test."""
    return re.split(rf"_+ (?:ERROR at setup of )?{test} _+\n", said)[1].split("\n____")[0]


@pytest.mark.parametrize("test", ["test_a_day", "test_with_a_lan", "test_plain"])
def test_coroutine_tests_run_in_virtual_time_without_configuration(said: str, test: str) -> None:
    assert f"PASSED test_sample.py::{test}" in said, said


def test_a_failure_is_one_exception_with_the_last_events_of_the_nodes(said: str) -> None:
    report = part(said, "test_fails")
    assert "assert 1 == 2" in report
    assert "Exception Group" not in report
    assert "Last events of every node" in report
    assert "fw1 #" in report
    assert "test: LinkChanged(interface='lan'" in report


def test_virtual_time_and_real_networks_refuse_each_other(said: str) -> None:
    assert "autojump_clock and netlab do not go together" in part(said, "test_virtual_time_on_a_real_network")


def test_coroutine_tests_of_others_are_left_alone(said: str) -> None:
    assert "not natively supported" in part(said, "test_theirs")
