"""Kea as a child: started in this process's network namespace, watched, and gone when this process is."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance_dhcp_failover.kea import CONTROL_SOCKET, HOOKS

PROGRAM = "kea-dhcp4"
FILE = "kea.json"
STOP_S = 1.0
"""From SIGTERM to SIGKILL; Kea needs some milliseconds."""
LAST_WORDS_S = 0.2
LINES_KEPT, LINE_MAX = 20, 500
_PLACES = ("/usr/sbin", "/usr/local/sbin")
_HOOKS = (
    HOOKS,
    Path("/usr/lib/aarch64-linux-gnu/kea/hooks"),
    Path("/usr/lib/kea/hooks"),
    Path("/usr/local/lib/kea/hooks"),
)
NEEDED = ("libdhcp_lease_cmds.so", "libdhcp_stat_cmds.so", "libdhcp_ha.so")


def find_program() -> str:
    """Path of Kea.

    Raises:
        ApplianceError: It is not installed.
    """
    found = shutil.which(PROGRAM) or shutil.which(PROGRAM, path=os.pathsep.join(_PLACES))
    if found is None:
        raise ApplianceError(f"{PROGRAM} is not installed", hint="Install the package kea-dhcp4-server.")
    return found


def find_hooks() -> Path:
    """Directory of Kea's hook libraries.

    Raises:
        ApplianceError: They are not installed.
    """
    for directory in _HOOKS:
        if all((directory / name).is_file() for name in NEEDED):
            return directory
    raise ApplianceError(
        f"Kea's libraries {', '.join(NEEDED)} are not in {HOOKS}", hint="Install the package kea-common."
    )


class Kea:
    """One run of Kea.

    Args:
        directory: Where it runs and keeps everything; mode 0700.
        tell: Called with each line that it says.
    """

    def __init__(self, directory: Path, tell: Callable[[str], None]) -> None:
        self._directory, self._tell = directory, tell
        self._process: subprocess.Popen[bytes] | None = None
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        """What it said last."""

    @property
    def pid(self) -> int | None:
        """While it runs."""
        return self._process.pid if self._process is not None else None

    async def run(self, configuration: Any, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> int:
        """Start it and wait for its end; returns its exit status. Cancelled, it ends it.

        Raises:
            ApplianceError: It cannot be started.
        """
        _prepare(self._directory, configuration)
        # Not through trio: the signal comes when the starting *thread* ends, and trio's threads do.
        process = subprocess.Popen(  # noqa: ASYNC220 - a millisecond
            ["setpriv", "--pdeathsig", "KILL", "--", find_program(), "-c", FILE],
            cwd=self._directory,
            env=_environment(self._directory),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._process = process
        assert process.stdout is not None
        # A second descriptor: the stream closes its own.
        output = trio.lowlevel.FdStream(os.dup(process.stdout.fileno()))
        process.stdout.close()
        try:
            async with output, trio.open_nursery() as nursery:
                silent = trio.Event()
                nursery.start_soon(self._listen, output, silent)
                task_status.started()
                await _wait(process.pid)
                with trio.move_on_after(LAST_WORDS_S):  # a child of Kea may hold the pipe for longer
                    await silent.wait()
                nursery.cancel_scope.cancel(reason="Kea has ended")
            return process.wait()
        finally:
            await _end(process)
            self._process = None

    def kill(self) -> None:
        """End it at once: it does not do what it should."""
        if self._process is not None:
            self._process.kill()

    async def _listen(self, output: trio.lowlevel.FdStream, silent: trio.Event) -> None:
        rest = b""
        while part := await output.receive_some(65536):
            *lines, rest = (rest + part).split(b"\n")
            rest = rest[:LINE_MAX]
            for line in lines:
                text = line[:LINE_MAX].decode(errors="replace").strip()
                if text:
                    self.lines.append(text)
                    self._tell(text)
        silent.set()


def _prepare(directory: Path, configuration: Any) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Of a Kea that was killed. Its number may be somebody else's by now, and Kea would believe that it runs already.
    for old in (*directory.glob("*.pid"), directory / CONTROL_SOCKET, directory / f"{CONTROL_SOCKET}.lock"):
        with suppress(FileNotFoundError):
            old.unlink()
    handle = os.open(directory / FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(configuration, file, indent=1)


def _environment(directory: Path) -> dict[str, str]:
    names = ("KEA_PIDFILE_DIR", "KEA_LOCKFILE_DIR", "KEA_DHCP_DATA_DIR")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "KEA_LOGGER_DESTINATION": "stdout",
        **dict.fromkeys(names, str(directory)),
    }


async def _wait(pid: int) -> None:
    handle = os.pidfd_open(pid)
    try:
        await trio.lowlevel.wait_readable(handle)
    finally:
        os.close(handle)


async def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    with trio.move_on_after(STOP_S, shield=True):
        process.send_signal(signal.SIGTERM)
        await _wait(process.pid)
    if process.poll() is None:
        process.kill()
        process.wait()  # it is dead; this only collects it
