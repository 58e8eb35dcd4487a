import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance import cli
from appliance.errors import ApplianceError

CODE = "import sys; from appliance.cli import main; sys.exit(main())"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A node in a process of its own, with no plugin enabled."""
    config = folder / "appliance.toml"
    config.write_text('[node]\nname = "fw1"\n')
    argv = ["run", "-c", str(config), "--state-dir", str(folder / "state"), "-s", str(folder / "s")]
    with subprocess.Popen([sys.executable, "-c", CODE, *argv], stderr=subprocess.PIPE, text=True) as process:
        try:
            deadline = time.monotonic() + 30
            while process.poll() is None and cli.main(["-s", str(folder / "s"), "show", "version"]) == 3:
                assert time.monotonic() < deadline, "the node did not come up"
                time.sleep(0.05)
            yield process
        finally:
            process.kill()


def failure(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str]:
    capsys.readouterr()
    status = cli.main(["run", *argv])
    *message, hint = capsys.readouterr().err.splitlines()
    assert message[0].startswith("appliance: ")
    assert hint.startswith("  ")
    return status, message[0].removeprefix("appliance: ")


def test_a_missing_configuration_is_status_2_and_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, message = failure(capsys, "-c", str(tmp_path / "no.toml"), "--state-dir", str(tmp_path / "state"))
    assert status == 2
    assert str(tmp_path / "no.toml") in message


def test_a_state_directory_that_cannot_be_made_is_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "a.toml").write_text('[node]\nname = "fw1"\n')
    status, message = failure(
        capsys,
        "-c",
        str(tmp_path / "a.toml"),
        "--state-dir",
        str(tmp_path / "file" / "state"),
        "-s",
        str(tmp_path / "s"),
    )
    assert status == 1
    assert "state" in message


def test_a_node_runs_answers_and_stops_in_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path) as node:
        socket = ["-s", str(tmp_path / "s")]
        capsys.readouterr()
        assert cli.main([*socket, "show", "ha"]) == 0
        assert capsys.readouterr().out.startswith("fw1 has no virtual hosts\n")
        # It answers before its services have started.
        end = time.monotonic() + 30
        while "NodeStarted node=fw1" not in capsys.readouterr().out:
            assert time.monotonic() < end
            assert cli.main([*socket, "events", "--type", "NodeStarted"]) == 0
        config = ["-c", str(tmp_path / "appliance.toml")]
        status, message = failure(capsys, *config, "--state-dir", str(tmp_path / "other"), *socket)
        assert (status, message) == (1, f"a node is already running on {tmp_path / 's'}")
        node.send_signal(signal.SIGTERM)
        assert node.wait(20) == 0
        assert not os.path.lexists(tmp_path / "s")


def test_no_garbage_is_looked_for_during_a_start_and_it_is_after_one_that_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    collecting = []

    def begin(_: object) -> None:
        collecting.append(gc.isenabled())
        raise ApplianceError("it cannot start", hint="x")

    monkeypatch.setattr("trio.run", begin)
    assert failure(capsys, "-c", str(tmp_path / "a.toml")) == (1, "it cannot start")
    assert (collecting, gc.isenabled()) == ([False], True)


SERVICES = ("carp/heartbeat", "pfsync/replicator", "ssh/console")


def processes_that_load(name: str) -> list[str]:
    own = ["pgrep", "-P", str(os.getpid()), "-f", f"appliance.host.isolated [0-9]+ {name}$"]
    return subprocess.run(own, capture_output=True, text=True).stdout.split()


def test_processes_of_services_load_while_the_node_does_and_end_with_a_start_that_failed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loading = []

    def begin(_: object) -> None:
        loading.append({name: len(processes_that_load(name)) for name in SERVICES})
        raise ApplianceError("it cannot start", hint="x")

    monkeypatch.setattr("trio.run", begin)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1})
    (tmp_path / "a.toml").write_text('[node]\nname = "fw1"\n[carp]\n[pfsync]\n')
    assert failure(capsys, "-c", str(tmp_path / "a.toml")) == (1, "it cannot start")
    assert loading == [{"carp/heartbeat": 1, "pfsync/replicator": 1, "ssh/console": 0}]
    assert [processes_that_load(name) for name in SERVICES] == [[], [], []]


def test_the_socket_of_a_killed_node_does_not_keep_the_next_one_out(tmp_path: Path) -> None:
    with running(tmp_path) as node:
        node.kill()
        node.wait(20)
    assert os.path.lexists(tmp_path / "s")
    with running(tmp_path) as node:
        assert node.poll() is None
