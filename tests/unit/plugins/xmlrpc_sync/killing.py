"""Two nodes, each a process with its own files and control socket, that can be killed and started again in a moment.

A process of Python with everything imported takes a second to start. So one of them imports it once, and each node is
a fork of it: ``python -m tests.unit.plugins.xmlrpc_sync.killing FOLDER`` reads names of nodes to start, and prints the
number of each process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import trio

from appliance.control import client, wire
from appliance.errors import ApplianceError
from appliance.host.appliance import Appliance
from appliance.host.discovery import Found
from appliance_xmlrpc_sync.plugin import XmlrpcSync
from tests.unit.plugins.xmlrpc_sync.nodes import (
    FW1,
    FW2,
    InterfacesPlugin,
    RulesPlugin,
    UsersPlugin,
    free_port,
    rule,
    text,
)

PLUGINS = {"interfaces": InterfacesPlugin, "rules": RulesPlugin, "users": UsersPlugin, "xmlrpc_sync": XmlrpcSync}
PATIENCE_S, LOOK_S = 20.0, 0.02
"""Far more than anything here takes, and between two looks."""


def main(folder: Path) -> None:
    """Start a node for each line of standard input."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            be_a_node(folder, line.strip())
        print(pid, flush=True)


def be_a_node(folder: Path, name: str) -> NoReturn:
    """Run until killed."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    found = [Found(name=each, distribution="test", factory=factory) for each, factory in PLUGINS.items()]
    node = Appliance(
        config_path=folder / f"{name}.toml", state_dir=folder / name, socket=folder / f"{name}.sock", found=found
    )
    try:
        trio.run(node.run)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(1)


class Nodes:
    """The primary fw1, which sends when it is told to, and the secondary fw2."""

    def __init__(self, folder: Path, starter: subprocess.Popen[str]) -> None:
        self._folder, self._starter = folder, starter
        self._port = free_port()
        self._pids: dict[str, int] = {}

    def write(self, *items: str) -> None:
        """The file of fw1, as an operator edits it."""
        sync = f'peers = ["{FW2}"]\npolicy = "manual"'
        whole = text("fw1", "primary", FW1, self._port, rules="".join(rule(item) for item in items), sync=sync)
        self._path("fw1").write_text(whole)

    def begin(self) -> None:
        """Start both and pair them."""
        self.write("first")
        self._path("fw2").write_text(text("fw2", "secondary", FW2, self._port))
        for name in ("fw1", "fw2"):
            self.start(name)
        for row in self.ask("fw2", "pair", "--listen"):
            if row["state"] == "listening":
                self.one("fw1", "pair", FW2, "--code", row["code"])

    def start(self, name: str) -> None:
        """Start a node, and wait until it answers."""
        assert self._starter.stdin is not None
        assert self._starter.stdout is not None
        self._starter.stdin.write(f"{name}\n")
        self._starter.stdin.flush()
        self._pids[name] = int(self._starter.stdout.readline())
        wait_until(lambda: self.answers(name), f"{name} answers")

    def kill(self, name: str) -> None:
        """As if its power was cut; its files stay, and it is gone when this returns."""
        pid = self._pids.pop(name)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not Path(f"/proc/{pid}").exists(), f"{name} is gone")

    def end(self) -> None:
        """Kill what runs."""
        for name in list(self._pids):
            self.kill(name)

    def ask(self, name: str, *argv: str) -> Iterator[Any]:
        """What a node answers, as data."""
        for reply in client.request(self._folder / f"{name}.sock", argv, json=True):
            if isinstance(reply, wire.Data):
                yield reply.data
            elif isinstance(reply, wire.Failure):
                raise ApplianceError(reply.message, hint=reply.hint)

    def one(self, name: str, *argv: str) -> Any:
        """The only answer."""
        (answer,) = self.ask(name, *argv)
        return answer

    def answers(self, name: str) -> bool:
        """Whether a node runs, and its service that is needed here."""
        try:
            return bool(self.one(name, "show", "sync"))
        except ApplianceError:
            return False

    def file(self, name: str) -> tuple[str, ...]:
        """Rules in the file of a node."""
        return _rules(self._path(name).read_text())

    def in_force(self, name: str) -> tuple[str, ...]:
        """Rules that a node works by."""
        return _rules(self.one(name, "config", "show")["text"])

    def push(self) -> dict[str, Any]:
        """``sync now`` on fw1; what came of it for fw2."""
        (row,) = self.one("fw1", "sync", "now")["peers"]
        return dict(row)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.toml"


def _rules(whole: str) -> tuple[str, ...]:
    return tuple(each["name"] for each in tomllib.loads(whole).get("rules", {}).get("rule", []))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Look until it is so."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE_S:g} s: {what}"
        time.sleep(LOOK_S)


@contextmanager
def two_nodes(folder: Path) -> Iterator[Nodes]:
    """Two nodes that are paired."""
    command: Sequence[str] = (sys.executable, "-m", __name__, str(folder))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as starter:
        made = Nodes(folder, starter)
        try:
            made.begin()
            yield made
        finally:
            made.end()
            assert starter.stdin is not None
            starter.stdin.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
