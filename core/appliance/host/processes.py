"""Waiting for the end of processes that trio did not start: some are older than its loop."""

from __future__ import annotations

import os
import subprocess

import trio

KILLED_S = 1.0
"""From SIGKILL to the end of a process: milliseconds, longer with much locked memory."""
LOOK_S = 0.05
"""How often is looked whether a process has ended, when the kernel cannot tell."""


async def wait_for(process: subprocess.Popen[bytes]) -> None:
    """Return when the process has ended; its `returncode` says how. Several tasks may wait for the same one."""
    while process.poll() is None:
        try:
            fd = os.pidfd_open(process.pid)
        except OSError:  # no descriptor is left
            await trio.sleep(LOOK_S)
            continue
        try:
            await trio.lowlevel.wait_readable(fd)
        finally:
            os.close(fd)


async def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill it and wait for its end, even when cancelled."""
    process.kill()
    with trio.move_on_after(KILLED_S, shield=True):
        await wait_for(process)
