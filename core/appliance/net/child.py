"""A program of the system as a child: in this process's network namespace, watched, and gone when this process is."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import trio

STOP_S = 1.0
"""From SIGTERM to SIGKILL; well-behaved programs need some milliseconds."""
LAST_WORDS_S = 0.2
LINES_KEPT, LINE_MAX = 20, 500


class Child:
    """One run of a program, in a process group of its own.

    Args:
        tell: Called with each line that it says.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._process: subprocess.Popen[bytes] | None = None
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        """What it said last."""

    @property
    def pid(self) -> int | None:
        """While it runs."""
        return self._process.pid if self._process is not None else None

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        channel: int | None = None,
        orphaned: Literal["TERM", "KILL"] = "KILL",
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> int:
        """Start it and wait for its end; returns its exit status. Cancelled, it ends it.

        Args:
            argv: The program with its path, and its arguments.
            cwd: Where it runs; here when there is none.
            env: Its whole environment; ours when there is none.
            channel: A descriptor that becomes its standard input and output; then only its standard error is heard.
            orphaned: The signal it gets when this process dies.

        Raises:
            OSError: It cannot be started.
        """
        # Not through trio: the signal comes when the starting *thread* ends, and trio's threads do.
        process = subprocess.Popen(  # noqa: ASYNC220 - a millisecond
            ["setpriv", "--pdeathsig", orphaned, "--", *argv],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL if channel is None else channel,
            stdout=subprocess.PIPE if channel is None else channel,
            stderr=subprocess.STDOUT if channel is None else subprocess.PIPE,
            start_new_session=True,
        )
        self._process = process
        pipe = process.stdout if channel is None else process.stderr
        assert pipe is not None
        # A second descriptor: the stream closes its own.
        output = trio.lowlevel.FdStream(os.dup(pipe.fileno()))
        pipe.close()
        try:
            async with output, trio.open_nursery() as nursery:
                silent = trio.Event()
                nursery.start_soon(self._listen, output, silent)
                task_status.started()
                await _wait(process.pid)
                with trio.move_on_after(LAST_WORDS_S):  # a child of it may hold the pipe for longer
                    await silent.wait()
                nursery.cancel_scope.cancel(reason="the program has ended")
            return process.wait()
        finally:
            await _end(process)
            self._process = None

    def kill(self) -> None:
        """End it at once: it does not do what it should."""
        if self._process is not None:
            _signal(self._process, signal.SIGKILL)

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
        _signal(process, signal.SIGTERM)
        await _wait(process.pid)
    if process.poll() is None:
        _signal(process, signal.SIGKILL)
        process.wait()  # it is dead; this only collects it


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
