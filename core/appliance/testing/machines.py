"""Whole nodes inside a test: one, or several on an in-memory LAN, in one process and one loop.

Each node is the real composition root with its own bus, supervisor and plugin instances; only its control
socket is missing. What its plugins would do with the kernel has to be left out or handed in: a plugin that
talks on a wire takes the wire as an argument of its class, and gets a port of the LAN here.
"""

from __future__ import annotations

import contextlib
import string
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import trio
import trio.testing

from appliance.host.appliance import Appliance
from appliance.host.discovery import Found
from appliance.testing.capture import ENTRIES_MAX, Entries, capturing, logging_to
from appliance.testing.harness import STOP_MAX_S, PluginFactory, as_found, refuse_crashes
from appliance.testing.lan import Lan, Port
from appliance.testing.node import Parts, RunningNode
from appliance.testing.reporting import record, single_failure

Plugin = PluginFactory | Found

NODES_MAX = 16
"""More nodes than any cluster has."""


@contextlib.asynccontextmanager
async def run_appliance(
    toml: str | Path, found: Iterable[Plugin] = (), *, state_dir: Path | None = None, crashes: bool = False
) -> AsyncIterator[RunningNode]:
    """Run a whole node without sockets.

    Args:
        toml: The text of its configuration, or a file.
        found: Its plugins, as classes; none is discovered.
        state_dir: Where state and history survive; a temporary folder otherwise.
        crashes: Whether services may crash. Otherwise a crash fails the test at the end of the block.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="appliance-test-")))
        stack.enter_context(single_failure())
        stack.enter_context(capturing())
        machine = Machine(_text(toml), found, folder, state_dir or folder / "state")
        async with trio.open_nursery() as nursery:
            await machine.power_on(nursery)
            node = machine.running
            try:
                yield node
            finally:
                await machine.stop()
        refuse_crashes(node, crashes)


def _text(toml: str | Path) -> str:
    return toml.read_text(encoding="utf-8") if isinstance(toml, Path) else toml


class Machine:
    """What a node runs on: it can be switched on, stopped, and lose its power."""

    def __init__(self, text: str, found: Iterable[Plugin], folder: Path, state_dir: Path) -> None:
        self._text = text
        self._found = [as_found(plugin) for plugin in found]
        self._path = folder / "appliance.toml"
        self._path.write_text(text, encoding="utf-8")
        self._state_dir = state_dir
        self._scope = trio.CancelScope()
        self._off = trio.Event()
        self._off.set()
        self._node: RunningNode | None = None
        self._appliance: Appliance | None = None

    @property
    def running(self) -> RunningNode:
        """The node that runs on it, or ran last."""
        assert self._node is not None, "the machine was never switched on"
        return self._node

    @property
    def is_on(self) -> bool:
        """Whether a node runs."""
        return not self._off.is_set()

    async def power_on(self, nursery: trio.Nursery) -> RunningNode:
        """Start a node and wait until it is up."""
        assert not self.is_on, "the machine is already on"
        self._scope, self._off = trio.CancelScope(), trio.Event()
        self._state_dir.mkdir(parents=True, exist_ok=True)
        appliance = Appliance(
            config_path=self._path, state_dir=self._state_dir, socket=None, found=self._found, text=self._text
        )
        entries = Entries(maxlen=ENTRIES_MAX)

        async def reload(text: str) -> None:
            await appliance.reloader.apply(text, comment="test", who="test")

        async def live(*, task_status: trio.TaskStatus[None]) -> None:
            try:
                with self._scope, logging_to(entries):
                    await appliance.run(task_status=task_status)
            finally:
                self._off.set()

        self._appliance = appliance
        await nursery.start(live)
        self._node = RunningNode(
            appliance.node,
            Parts(
                bus=appliance.bus,
                supervisor=appliance.supervisor,
                plugins=appliance.plugins,
                metrics=appliance.metrics,
            ),
            config=lambda: appliance.config,
            reload=reload,
            entries=entries,
        )
        record(self._node)
        return self._node

    async def stop(self) -> None:
        """Stop the node in an orderly way."""
        if self._appliance is not None and self.is_on:
            with trio.move_on_after(STOP_MAX_S, shield=True):
                self._appliance.request_stop("the test has ended")
                await self._off.wait()
            self._scope.cancel()

    async def power_off(self) -> None:
        """The node is gone at once. What its services say in their ``finally`` reaches nobody."""
        self._scope.cancel(reason="the machine has lost its power")
        await self._off.wait()


class Cluster:
    """Several machines and the LAN between them."""

    def __init__(self, lan: Lan, nursery: trio.Nursery, machines: dict[str, Machine]) -> None:
        self.lan = lan
        self._nursery = nursery
        self._machines = machines

    @property
    def nodes(self) -> list[RunningNode]:
        """The nodes, in order; of a machine without power the one that ran last."""
        return [machine.running for machine in self._machines.values()]

    def __getitem__(self, key: int | str) -> RunningNode:
        return self.nodes[key] if isinstance(key, int) else self._machines[key].running

    async def power_off(self, name: str) -> None:
        """Take a machine's power: first its cable goes dead, then everything on it ends."""
        self.lan.port(name).pull()
        await self._machines[name].power_off()

    async def power_on(self, name: str) -> RunningNode:
        """Give it power again; it starts from its state directory."""
        self.lan.port(name).plug()
        return await self._machines[name].power_on(self._nursery)

    async def settled(self) -> None:
        """Wait until no node has anything to do."""
        await trio.testing.wait_all_tasks_blocked()


@contextlib.asynccontextmanager
async def cluster(
    n: int,
    toml: str | Callable[[int], str],
    found: Callable[[Port], Iterable[Plugin]] | Iterable[Plugin] = (),
    *,
    seed: int = 0,
    crashes: bool = False,
) -> AsyncIterator[Cluster]:
    """Run nodes ``node1``, ``node2``, … on an in-memory LAN.

    Args:
        n: How many.
        toml: The configuration: a text in which ``$name`` and ``$number`` are replaced, or a function of the number.
        found: The plugins of a node, as classes; or a function that makes them for the node's port on the LAN.
        seed: For the LAN's faults.
        crashes: Whether services may crash. Otherwise a crash fails the test at the end of the block.
    """
    assert 1 <= n <= NODES_MAX, f"a cluster has 1 to {NODES_MAX} nodes"
    lan = Lan(seed=seed)
    shared = None if callable(found) else list(found)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="appliance-test-")))
        stack.enter_context(single_failure())
        stack.enter_context(capturing())
        machines: dict[str, Machine] = {}
        for number in range(1, n + 1):
            name = f"node{number}"
            text = toml(number) if callable(toml) else string.Template(toml).safe_substitute(name=name, number=number)
            plugins = found(lan.port(name)) if callable(found) else shared
            own = folder / name
            own.mkdir()
            machines[name] = Machine(text, plugins or (), own, own / "state")
        async with trio.open_nursery() as nursery:
            together = Cluster(lan, nursery, machines)
            try:
                for machine in machines.values():
                    await machine.power_on(nursery)
                yield together
            finally:
                for machine in machines.values():
                    await machine.stop()
        for node in together.nodes:
            refuse_crashes(node, crashes)
