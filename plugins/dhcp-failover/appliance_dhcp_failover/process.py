"""Kea as a child: started in this process's network namespace, watched, and gone when this process is."""

from __future__ import annotations

import json
import os
import shutil
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance.net.child import Child
from appliance_dhcp_failover.kea import CONTROL_SOCKET, HOOKS

PROGRAM = "kea-dhcp4"
FILE = "kea.json"
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
        self._directory = directory
        self._child = Child(tell)

    @property
    def pid(self) -> int | None:
        """While it runs."""
        return self._child.pid

    @property
    def lines(self) -> deque[str]:
        """What it said last."""
        return self._child.lines

    async def run(self, configuration: Any, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> int:
        """Start it and wait for its end; returns its exit status. Cancelled, it ends it.

        Raises:
            ApplianceError: It cannot be started.
        """
        _prepare(self._directory, configuration)
        argv = [find_program(), "-c", FILE]
        environment = _environment(self._directory)
        return await self._child.run(argv, cwd=self._directory, env=environment, task_status=task_status)

    def kill(self) -> None:
        """End it at once: it does not do what it should."""
        self._child.kill()


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
