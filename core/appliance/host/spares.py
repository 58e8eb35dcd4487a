"""Processes for isolated services that load their programs while the node still loads its own.

A node imports for longer than anything else of its start takes, and on one processor only. So the processes of its
services are started first, are told what to load, and are taken when the supervisor starts these services. Which ones
is a guess: those for which a plugin declares a module, if its table is in the configuration. A wrong guess
costs time, nothing else: without a spare a new process is started, and a spare that nobody wants is ended.

All spares wait for what is imported here, so it is little: the standard library, and what the node needs anyway.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import tomli

from appliance.host.discovery import Found
from appliance.host.frames import Prepare, encode

LARGE = 1 << 20
"""Bytes. The node reads its configuration again, so one that takes long to read is not read for a guess."""


class Child(NamedTuple):
    """A process that loads a module, or has, and then waits for the service that it is to `Start`."""

    process: subprocess.Popen[bytes]
    socket: socket.socket
    """Our end: when it is closed, the process ends."""


def spawn(name: str, module: str) -> Child:
    """Start a process that loads a module ahead; the name is for people who read `ps`.

    Raises:
        OSError: There is no memory, process or descriptor left.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with theirs:
        fd = theirs.fileno()
        try:
            process = subprocess.Popen(
                # -P keeps the working directory out of the import path.
                [sys.executable, "-P", "-m", "appliance.host.isolated", str(fd), name],
                stdin=subprocess.DEVNULL,
                pass_fds=(fd,),  # and all others are closed
                start_new_session=True,  # Ctrl-C reaches the node only, which then stops its services in order
            )
        except BaseException:
            ours.close()
            raise
    with suppress(OSError):  # it has died already, which is noticed by whoever waits for it
        ours.sendall(encode(Prepare([path for path in sys.path if path], module)))  # fits into the socket
    return Child(process, ours)


class Spares:
    """Processes that no service has taken yet, by the full name of the service for which they load."""

    def __init__(self) -> None:
        self._children: dict[str, Child] = {}

    def start(self, found: Iterable[Found], config: Path) -> None:
        """Start one for each service that will probably want it.

        They leave one processor to the node, which is waited for. A lower priority would not do: by `autogroup`
        (sched(7)) the kernel shares processors between sessions first, whatever the priorities are.

        Raises:
            OSError: As `spawn`; those that were started are kept.
        """
        processors = os.sched_getaffinity(0)
        others = processors - {min(processors)}
        if not others:
            return  # nothing is idle while the node loads
        for name, module in probable(found, config).items():
            child = self._children[name] = spawn(name, module)
            _restrict(child.process.pid, others)

    def take(self, name: str) -> Child | None:
        """The process that loads for this service, if there is one and it lives."""
        child = self._children.pop(name, None)
        if child is None:
            return None
        if child.process.poll() is not None:
            child.socket.close()
            return None
        _restrict(child.process.pid, os.sched_getaffinity(0))
        return child

    def give_up(self) -> list[subprocess.Popen[bytes]]:
        """What nobody has taken, for the caller to kill; nobody can take it any more."""
        children, self._children = self._children, {}
        for child in children.values():
            child.socket.close()
        return [child.process for child in children.values()]


@contextmanager
def loading_ahead(found: Iterable[Found], config: Path) -> Iterator[Spares]:
    """Spares for a node with this configuration, as long as it runs; however it ends, none is left."""
    spares = Spares()
    try:
        with suppress(OSError):  # tried again, and told, when the service is to be started
            spares.start(found, config)
        yield spares
    finally:
        for process in spares.give_up():
            process.kill()
            process.wait()


def probable(found: Iterable[Found], config: Path) -> dict[str, str]:
    """The isolated services that will probably run, and the modules that their plugins declare for them."""
    if not config.is_file():  # a pipe can be read only once
        return {}
    try:
        if config.stat().st_size > LARGE:
            return {}
        tables = tomli.loads(config.read_bytes().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError):  # the node will say what is wrong with it
        return {}
    core = tables.get("plugins")
    blocked = core.get("blocked") if isinstance(core, dict) else None
    names = blocked if isinstance(blocked, list) else []
    wanted: dict[str, str] = {}
    for each in found:
        if each.name not in names and each.name.replace("-", "_") in tables:
            wanted |= each.isolated
    return wanted


def _restrict(pid: int, processors: Iterable[int]) -> None:
    """Let a process and the threads it has run on these processors only."""
    with suppress(OSError):  # it has died
        for thread in os.listdir(f"/proc/{pid}/task"):
            os.sched_setaffinity(int(thread), processors)
