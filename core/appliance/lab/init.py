"""The first process of a lab node: starts the node's software, restarts it, reaps, and ends with it.

It plays the part that systemd has on a real machine and imports almost nothing, so that a power
failure has one light handle to pull. ``python -m appliance.lab.init --dir DIR -- COMMAND…``

Signals: TERM stops the software in an orderly way and exits; USR1 starts it when it is stopped;
USR2 stops it in an orderly way and waits for USR1. What it knows is in ``DIR/init.json``.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
import time

RESTART_DELAY_S = 0.3
"""systemd would take 0.1 s and more; quick, so that tests of a restart are quick."""
RESTART_DELAY_FAILING_S = 1.0
"""For software that did not survive its first second."""
STOP_DEADLINE_S = 10.0
"""An orderly stop that takes longer becomes SIGKILL."""
EXIT_CONFIG = 2
"""The exit status for a refused configuration: starting again would not help."""
REALTIME_CPU_MAX_S = 5
"""A real-time process that computes for so long without ever waiting is ended by the kernel (RLIMIT_RTTIME,
systemd's LimitRTTIME=): it would otherwise take the whole machine, with the lab's own `down`."""
PR_SET_CHILD_SUBREAPER = 36
WATCHED = {signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2}
LEFTOVER_ROUNDS = 20


class Init:
    """One node's supervisor."""

    def __init__(self, directory: str, command: list[str]) -> None:
        self._directory = directory
        self._command = command
        self._pid: int | None = None
        self._started = 0.0
        self._starts = 0
        self._wanted = True
        self._leaving = False
        self._restart_at: float | None = None
        self._kill_at: float | None = None
        self._last = "none"

    def run(self) -> None:
        """Until TERM."""
        self._start()
        while not (self._leaving and self._pid is None):
            self._wait()
            self._reap()
            now = time.monotonic()
            if self._kill_at is not None and self._pid is not None and now >= self._kill_at:
                os.kill(self._pid, signal.SIGKILL)
                self._kill_at = None
            if self._restart_at is not None and now >= self._restart_at:
                self._start()
        self._end_leftovers()
        self._record("gone")

    def _wait(self) -> None:
        deadlines = [at for at in (self._restart_at, self._kill_at) if at is not None]
        timeout = max(0.0, min(deadlines) - time.monotonic()) if deadlines else 3600.0
        received = signal.sigtimedwait(WATCHED, timeout)
        if received is None or received.si_signo == signal.SIGCHLD:
            return
        if received.si_signo == signal.SIGUSR1:
            self._wanted = True
            if self._pid is None and self._restart_at is None:
                self._start()
            return
        self._wanted = False
        self._restart_at = None
        self._leaving = received.si_signo != signal.SIGUSR2
        if self._pid is not None:
            os.kill(self._pid, signal.SIGTERM)
            self._kill_at = time.monotonic() + STOP_DEADLINE_S

    def _start(self) -> None:
        self._restart_at = None
        self._end_leftovers()
        log = os.path.join(self._directory, "node.log")
        self._pid = os.posix_spawnp(
            self._command[0],
            self._command,
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setpgroup=0,
            setsigmask=(),
            setsigdef=tuple(WATCHED),
        )
        self._started = time.monotonic()
        self._starts += 1
        self._say(f"started {self._pid}: {' '.join(self._command)}")
        self._record("running")

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._pid:
                self._ended(os.waitstatus_to_exitcode(status))

    def _ended(self, code: int) -> None:
        self._pid = None
        self._kill_at = None
        self._last = f"signal {-code}" if code < 0 else f"exit status {code}"
        lived = time.monotonic() - self._started
        if not self._wanted or code == 0:
            state = "stopped"
        elif code == EXIT_CONFIG:
            state = "failed"
        else:
            state = "restarting"
            delay = RESTART_DELAY_S if lived >= RESTART_DELAY_FAILING_S else RESTART_DELAY_FAILING_S
            self._restart_at = time.monotonic() + delay
        self._say(f"ended after {lived:.1f} s: {self._last}; now {state}")
        self._record(state)

    def _end_leftovers(self) -> None:
        """What the software left behind (adopted by us) ends before it is started again, as systemd does it."""
        for _ in range(LEFTOVER_ROUNDS):
            left = children()
            if not left:
                return
            for pid in left:
                self._say(f"killed leftover process {pid}")
                try:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                except (ProcessLookupError, ChildProcessError):
                    continue

    def _record(self, state: str) -> None:
        facts = {"state": state, "init": os.getpid(), "pid": self._pid, "starts": self._starts, "last": self._last}
        path = os.path.join(self._directory, "init.json")
        with open(path + ".new", "w", encoding="ascii") as file:
            json.dump(facts, file)
        os.replace(path + ".new", path)

    @staticmethod
    def _say(text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def children() -> list[int]:
    """Our direct children, zombies left out."""
    me = os.getpid()
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="latin-1") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == me and state != "Z":
            found.append(int(name))
    return found


def main(argv: list[str]) -> int:
    """Entry point: ``--dir DIR -- COMMAND…``."""
    if len(argv) < 4 or argv[0] != "--dir" or argv[2] != "--":
        print("usage: python -m appliance.lab.init --dir DIR -- COMMAND…", file=sys.stderr)
        return 2
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    limit_us = REALTIME_CPU_MAX_S * 1_000_000
    resource.setrlimit(resource.RLIMIT_RTTIME, (limit_us, limit_us))
    Init(argv[1], argv[3:]).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
