"""A program as a child: what it says, how it ends, and that it does not outlive anybody."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import trio

from appliance.net.child import LINES_KEPT, Child

ORPHAN = """
import sys, trio
from appliance.net.child import Child

async def main():
    child = Child(lambda line: print(line, flush=True))
    await child.run(["/bin/sh", "-c", "echo $$; exec sleep 60"], orphaned=sys.argv[1])

trio.run(main)
"""


def run(script: str, **how: object) -> tuple[int, list[str]]:
    said: list[str] = []

    async def main() -> int:
        with trio.fail_after(20):
            return await Child(said.append).run(["/bin/sh", "-c", script], **how)  # type: ignore[arg-type]

    return trio.run(main), said


def test_what_it_says_is_heard_line_by_line_and_its_status_is_returned() -> None:
    assert run("echo one; echo; echo two >&2; exit 3") == (3, ["one", "two"])


def test_the_last_lines_are_kept() -> None:
    child = Child(lambda _: None)
    trio.run(child.run, ["/bin/sh", "-c", f"seq {LINES_KEPT + 5}"])
    assert list(child.lines) == [str(each) for each in range(6, LINES_KEPT + 6)]
    assert child.pid is None


def test_it_talks_over_a_channel_and_is_heard_on_standard_error_only() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(b"question\n")
        assert run('read -r line; echo "$line!"; echo noted >&2', channel=theirs.fileno()) == (0, ["noted"])
        assert ours.recv(100) == b"question!\n"


def test_cancelled_it_ends_with_all_that_it_started() -> None:
    said: list[str] = []

    async def main() -> None:
        child = Child(said.append)
        script = "trap '' TERM; sleep 60 & echo $!; echo $$; while :; do sleep 0.05; done"
        async with trio.open_nursery() as nursery:
            await nursery.start(child.run, ["/bin/sh", "-c", script])
            with trio.fail_after(20):
                while len(said) < 2:  # noqa: ASYNC110 - it says so itself
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    trio.run(main)
    until = time.monotonic() + 20
    while not all(is_gone(int(pid)) for pid in said):  # a killed process needs the processor once more
        assert time.monotonic() < until
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_when_we_die_it_dies(number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    with subprocess.Popen([sys.executable, "-c", ORPHAN, name], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        handle = os.pidfd_open(pid)
        parent.kill()

        async def gone() -> None:
            with trio.fail_after(20):
                await trio.lowlevel.wait_readable(handle)

        trio.run(gone)
        os.close(handle)
