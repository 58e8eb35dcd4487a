"""Processes that load ahead: which ones, who takes them, and that none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.bus import EventBus
from appliance.config import Model
from appliance.host.appliance import Appliance
from appliance.host.discovery import Found
from appliance.host.plugins import PluginService
from appliance.host.spares import LARGE, Spares, loading_ahead, probable
from appliance.host.supervisor import Supervisor
from appliance.metrics import MetricsRegistry
from appliance.plugin import ConfigTable, Isolation, Node, Service, hookimpl

HERE = Path(__file__).parent
sys.path.append(str(HERE))  # services must be importable by name; a child gets the path of its node

import isolated_services as services  # noqa: E402

NODE = '[node]\nname = "fw1"\n'
WITHIN_S = 10.0
"""Far longer than anything here takes; what fails is reported and does not hang."""


def plugin(name: str = "alpha", module: str | None = "isolated_services") -> Found:
    return Found(name=name, distribution="test", isolated={f"{name}/it": module} if module is not None else {})


def configured(folder: Path, text: str = "[alpha]\n") -> Path:
    path = folder / "a.toml"
    path.write_text(NODE + text)
    return path


def children(name: str = "alpha/it") -> list[int]:
    argv = ["pgrep", "-P", str(os.getpid()), "-f", f"appliance.host.isolated [0-9]+ {name}$"]
    return [int(line) for line in subprocess.run(argv, capture_output=True).stdout.split()]


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def _two_processors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are spares wherever these tests run."""
    if "processors" not in request.fixturenames:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.fixture
def processors() -> set[int]:
    """Those that there are."""
    return os.sched_getaffinity(0)


# --- the guess ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["[my_plugin]", "[my_plugin.part]", "[[my_plugin.parts]]", 'my_plugin.key = "x"'])
def test_a_plugin_is_expected_when_it_declares_a_module_and_its_table_is_there(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.toml"
    path.write_text(f"{text}\n")
    found = [plugin("my-plugin", "my.module"), plugin("other", "other.module"), plugin("silent", None)]
    assert probable(found, path) == {"my-plugin/it": "my.module"}


def test_a_blocked_plugin_is_not_loaded(tmp_path: Path) -> None:
    path = configured(tmp_path, '[alpha]\n[beta]\n[plugins]\nblocked = [\n  "alpha",  # [beta]\n]\n')
    assert probable([plugin("alpha"), plugin("beta")], path) == {"beta/it": "isolated_services"}


@pytest.mark.parametrize(
    "text", ["[alpha\n", "[alpha]\nx = 1\nx = 2\n", "[plugins]\nblocked = 3\n", "plugins = 3\n", "x = " + "[" * 10_000]
)
def test_what_is_wrong_with_a_configuration_is_left_to_the_node(tmp_path: Path, text: str) -> None:
    assert probable([plugin()], configured(tmp_path, text)) == {}


def test_a_file_that_is_missing_or_no_text_is_left_to_the_node(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"[alpha]\n\xff\n")
    assert probable([plugin()], tmp_path / "binary") == {}
    assert probable([plugin()], tmp_path / "none") == {}


def test_a_large_configuration_is_read_by_the_node_only(tmp_path: Path) -> None:
    text = "[alpha]\n" + "# a comment\n" * (LARGE // 12)
    assert probable([plugin()], configured(tmp_path, text[: LARGE // 2])) == {"alpha/it": "isolated_services"}
    assert probable([plugin()], configured(tmp_path, text + "#\n")) == {}


def test_a_configuration_that_comes_through_a_pipe_is_left_to_the_node(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert probable([plugin()], tmp_path / "pipe") == {}


# --- their life -----------------------------------------------------------------------------------------


def test_none_is_started_where_no_processor_is_idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    with loading_ahead([plugin()], configured(tmp_path)) as spares:
        assert (children(), spares.take("alpha/it")) == ([], None)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_they_leave_one_processor_to_the_node_until_they_are_taken(tmp_path: Path, processors: set[int]) -> None:
    with loading_ahead([plugin()], configured(tmp_path)) as spares:
        (pid,) = children()
        assert os.sched_getaffinity(pid) == processors - {min(processors)}
        child = spares.take("alpha/it")
        assert child is not None
        with child.socket:
            assert (child.process.pid, os.sched_getaffinity(pid)) == (pid, processors)
            child.process.kill()
            child.process.wait()


def test_a_spare_is_taken_once(tmp_path: Path) -> None:
    with loading_ahead([plugin()], configured(tmp_path)) as spares:
        child = spares.take("alpha/it")
        assert child is not None
        assert (spares.take("alpha/it"), spares.give_up()) == (None, [])
        child.socket.close()
        assert child.process.wait(WITHIN_S) == 1, "nobody will start its service"


def test_a_spare_that_has_died_is_not_used(tmp_path: Path) -> None:
    with loading_ahead([plugin()], configured(tmp_path)) as spares:
        (pid,) = children()
        os.kill(pid, signal.SIGKILL)
        until(lambda: Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z")
        assert spares.take("alpha/it") is None


def test_none_is_left_when_the_node_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with loading_ahead([plugin(), plugin("beta")], configured(tmp_path, "[alpha]\n[beta]\n")):
            assert (len(children("alpha/it")), len(children("beta/it"))) == (1, 1)
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail()
    assert children("alpha/it") + children("beta/it") == []


def test_a_process_that_cannot_be_started_is_left_to_the_supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with loading_ahead([plugin()], configured(tmp_path)) as spares:
        assert spares.take("alpha/it") is None


KILLED = """
import os, signal, subprocess, sys
from pathlib import Path
from appliance.host.discovery import Found
from appliance.host.spares import loading_ahead

os.sched_getaffinity = lambda _: {0, 1}
found = [Found(name="alpha", distribution="test", isolated={"alpha/it": "json"})]
with loading_ahead(found, Path(sys.argv[1])):
    subprocess.run(["pgrep", "-P", str(os.getpid()), "-f", "isolated"])
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_they_end_by_themselves_when_the_node_is_killed(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", KILLED, str(configured(tmp_path))]
    pid = int(subprocess.run(argv, stdout=subprocess.PIPE, check=False, timeout=WITHIN_S).stdout)
    until(lambda: not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes())


# --- with a node ----------------------------------------------------------------------------------------


def run_service(folder: Path, spares: Spares, body: Callable[[Supervisor, EventBus], Any]) -> None:
    """Run the service of plugin alpha, and something beside it."""

    async def main() -> None:
        bus = EventBus()
        supervisor = Supervisor(bus, node=Node(name="fw1"), state_dir=folder, metrics=MetricsRegistry(), spares=spares)
        service = Service(key="it", run=services.calm, isolation=Isolation())
        wanted = PluginService(plugin="alpha", distribution="test", service=service)
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            await supervisor.apply([wanted])
            await body(supervisor, bus)
            await supervisor.stop("enough")
            nursery.cancel_scope.cancel()

    trio.run(main)


def test_a_service_runs_in_its_spare_and_in_a_new_process_after_a_crash(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, bus: EventBus) -> None:
        with trio.fail_after(WITHIN_S):
            facts = await bus.call(services.Look())
            assert facts["pid"] == spare == supervisor.services()[0].pid
            assert (facts["ppid"], facts["sid"], facts["stdin"]) == (os.getpid(), spare, "/dev/null")
            os.kill(spare, signal.SIGKILL)
            while supervisor.services()[0].pid in (spare, None):  # noqa: ASYNC110 - it is in another process
                await trio.sleep(0.01)
        assert children() == [supervisor.services()[0].pid]

    with loading_ahead([plugin()], configured(tmp_path)) as spares:
        (spare,) = children()
        run_service(tmp_path, spares, body)
    assert children() == []


def test_it_does_not_matter_what_a_spare_has_loaded(tmp_path: Path) -> None:
    async def body(supervisor: Supervisor, _: EventBus) -> None:
        assert supervisor.services()[0].pid == spare

    with loading_ahead([plugin(module="there.is.no.such.module")], configured(tmp_path)) as spares:
        (spare,) = children()
        run_service(tmp_path, spares, body)


class AlphaTable(Model):
    """Nothing to say."""


class Alpha:
    """Declares a module for an isolated service, and has none."""

    api = (1, 0)

    @hookimpl
    def appliance_config(self) -> ConfigTable:
        return ConfigTable(name="alpha", model=AlphaTable, summary="x")


def test_those_that_nobody_wants_are_ended_when_the_node_is_up(tmp_path: Path) -> None:
    found = [Found(name="alpha", distribution="test", factory=Alpha, isolated={"alpha/it": "isolated_services"})]
    path = configured(tmp_path)
    with loading_ahead(found, path) as spares:
        assert len(children()) == 1
        node = Appliance(config_path=path, state_dir=tmp_path / "state", socket=None, found=found, spares=spares)

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                await nursery.start(node.run)
                assert children() == []
                node.request_stop("the test is over")

        trio.run(main)
