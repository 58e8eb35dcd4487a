"""Kea as a child: here a script that stands in for it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import trio

from appliance.errors import ApplianceError
from appliance_dhcp_failover.kea import CONTROL_SOCKET
from appliance_dhcp_failover.process import FILE, PROGRAM, Kea, find_hooks, find_program


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a pool, with a stand-in for Kea first in the path."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path / "lan"


def kea(directory: Path, script: str) -> tuple[Kea, list[str]]:
    program = directory.parent / "bin" / PROGRAM
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    said: list[str] = []
    return Kea(directory, said.append), said


def test_it_runs_in_its_directory_with_its_own_file_and_what_it_says_is_heard(directory: Path) -> None:
    process, said = kea(directory, 'echo "$@ $KEA_PIDFILE_DIR"; pwd; echo ERROR no >&2; exit 3')
    assert trio.run(process.run, {"Dhcp4": {}}) == 3
    assert said == [f"-c {FILE} {directory}", str(directory), "ERROR no"]
    assert list(process.lines) == said
    assert json.loads((directory / FILE).read_text()) == {"Dhcp4": {}}
    assert stat.S_IMODE((directory / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert process.pid is None


def test_what_a_killed_one_left_behind_is_removed_and_leases_are_kept(directory: Path) -> None:
    directory.mkdir()
    for name in ("kea.kea-dhcp4.pid", CONTROL_SOCKET, "leases4.csv"):
        (directory / name).touch()
    process, _ = kea(directory, "ls; exit 0")
    trio.run(process.run, {})
    assert list(process.lines) == [FILE, "leases4.csv"]


def test_cancelled_it_takes_kea_along_also_one_that_does_not_want_to(directory: Path) -> None:
    process, _ = kea(directory, "trap '' TERM; echo up; while :; do sleep 0.05; done")

    async def main() -> int:
        async with trio.open_nursery() as nursery:
            await nursery.start(process.run, {})
            pid = process.pid
            assert pid is not None
            nursery.cancel_scope.cancel()
        return pid

    pid = trio.run(main)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_killed_it_says_so(directory: Path) -> None:
    process, _ = kea(directory, "exec sleep 60")

    async def main() -> int:
        status: list[int] = []
        async with trio.open_nursery() as nursery:

            async def run(*, task_status: trio.TaskStatus[None]) -> None:
                status.append(await process.run({}, task_status=task_status))

            await nursery.start(run)
            process.kill()
        return status[0]

    assert trio.run(main) == -9


def test_missing_files_are_said_with_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr("appliance_dhcp_failover.process._PLACES", ())
    monkeypatch.setattr("appliance_dhcp_failover.process._HOOKS", ())
    with pytest.raises(ApplianceError, match="not installed\nInstall the package kea-dhcp4-server"):
        find_program()
    with pytest.raises(ApplianceError, match="Install the package kea-common"):
        find_hooks()
