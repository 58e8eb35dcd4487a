"""The composition root: one object per node, which makes all parts, starts them in order and stops them.

There are no globals, so two nodes can live in one process. Only a node that owns its process
(`handle_signals`) touches what belongs to the process: signals, the format of the logs, the health of the
loop, the service manager.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from appliance import __version__, doctor, logs
from appliance.bus import EventBus
from appliance.config.history import History
from appliance.config.loader import head, read_file
from appliance.config.model import Config
from appliance.errors import ApplianceError
from appliance.events import LoopStalled, NodeStarted, NodeStopping
from appliance.host.alarms import SOURCE
from appliance.host.discovery import discover
from appliance.host.editing import EditSessions
from appliance.host.health import ServiceManager, watch_loop
from appliance.host.plugins import Plugins
from appliance.host.processes import kill
from appliance.host.realtime import keep_heap
from appliance.host.reload import Reloader
from appliance.host.sharing import Sharing
from appliance.host.statedir import HISTORY_DIR, locked_state_dir
from appliance.host.store import ConfigStore
from appliance.host.supervisor import Supervisor
from appliance.metrics import MetricsRegistry

if TYPE_CHECKING:
    from appliance.host.discovery import Found
    from appliance.host.spares import Spares
    from appliance.plugin import Node

STOP_MAX_S = 60.0
"""An orderly stop that takes longer has a stuck service; the process ends without it."""


class Appliance:
    """One node. Its parts exist from the moment `run` has loaded the configuration."""

    node: Node
    bus: EventBus
    metrics: MetricsRegistry
    plugins: Plugins
    supervisor: Supervisor
    reloader: Reloader
    editing: EditSessions
    started_wall: float
    """Time of day when it was up."""

    def __init__(
        self,
        *,
        config_path: Path,
        state_dir: Path,
        socket: Path | None,
        found: Iterable[Found] | None = None,
        text: str | None = None,
        log_level: str = "info",
        spares: Spares | None = None,
    ) -> None:
        """Prepare a node; nothing is read or opened before `run`.

        Args:
            config_path: The configuration file.
            state_dir: Where the node keeps what survives restarts; one node per directory.
            socket: The control socket to make, or ``None``.
            found: The plugins; ``None`` for the installed ones.
            text: Use this instead of the file, and leave the file alone.
            log_level: The least important level that is logged by a node that owns its process.
            spares: Processes that its isolated services may take; the others are ended when it is up.
        """
        self.config_path = config_path
        self.socket = socket
        self._state_dir, self._found, self._text, self._log_level = state_dir, found, text, log_level
        self._spares = spares
        self._stop_asked = trio.Event()
        self._stop_reason = ""
        self._failure: str | None = None
        self._starting = trio.CancelScope()
        self._patience = trio.CancelScope()

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self.reloader.config

    def request_stop(self, reason: str) -> None:
        """Ask for an orderly stop; `run` returns when it is done. Asking again only cuts the grace short.

        Services that are cancelled still get their last words.
        """
        if self._stop_asked.is_set():
            self._patience.cancel(reason=reason)
            return
        self._stop_reason = reason
        self._stop_asked.set()
        self._starting.cancel(reason=reason)

    async def run(
        self, *, handle_signals: bool = False, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Be a node until `request_stop`; reports started when every service was asked to start.

        Args:
            handle_signals: The node owns this process: SIGTERM and SIGINT stop it, SIGHUP reloads its
                file, its logs are set up, the service manager is told, and stalls of the loop are reported.
            task_status: As trio has it.

        Raises:
            ApplianceError: It cannot start (configuration, state directory, socket), or had to stop because a
                service failed that it cannot do without.
        """
        with _plain_errors(), locked_state_dir(self._state_dir):
            self._build(owns_process=handle_signals)
            async with trio.open_nursery() as nursery:
                await nursery.start(self.supervisor.run)
                await nursery.start(self.reloader.run)
                if handle_signals:
                    await nursery.start(self._obey_signals)
                    await nursery.start(watch_loop, self._report_stall, self._manager)
                if self.socket is not None:
                    from appliance.control.server import serve_control

                    await nursery.start(serve_control, self.socket, self)
                nursery.start_soon(self._obey_supervisor)
                sharing = Sharing(self.bus, self.plugins, self.reloader)
                with sharing.serving(), self.metrics.serving(self.bus, source=SOURCE), doctor.serving(self):
                    with self._starting:
                        await self.reloader.begin()
                    if not self._stop_asked.is_set():
                        self.bus.publish(NodeStarted(node=self.node.name, version=__version__), source=SOURCE)
                        self._manager.ready(f"node {self.node.name} is up")
                        if handle_signals:
                            keep_heap()
                    await self._end_spares()
                    task_status.started()
                    await self._stop_asked.wait()
                    await self._stop()
                nursery.cancel_scope.cancel(reason=f"the node has stopped: {self._stop_reason}")
        if self._failure is not None:
            raise ApplianceError(
                f"the node stopped: {self._failure}", hint="See its log; the service manager starts it again."
            )

    def _build(self, *, owns_process: bool) -> None:
        """Make all parts; nothing runs yet."""
        text = self._text if self._text is not None else read_file(self.config_path)
        name = str(self.config_path)
        node, plugins = head(text, path=name)
        # A node that shares its process must not speak for it.
        self._manager = ServiceManager() if owns_process else ServiceManager(environ={})
        if owns_process:
            logs.configure(node=node.name, level=self._log_level)
        self.started_wall = time.time()
        self.bus = EventBus()
        self.editing = EditSessions()
        self.metrics = MetricsRegistry()
        self.plugins = Plugins(self._found if self._found is not None else discover(), blocked=plugins.blocked)
        self.node = Config({}, node=node).identity()
        self.supervisor = Supervisor(
            self.bus, node=self.node, state_dir=self._state_dir, metrics=self.metrics, spares=self._spares
        )
        self.reloader = Reloader(
            bus=self.bus,
            plugins=self.plugins,
            supervisor=self.supervisor,
            store=ConfigStore(
                History(self._state_dir / HISTORY_DIR),
                self.config_path,
                keeps_file=self._text is None,
                offload=owns_process,
            ),
            node=self.node,
            log=logs.logger(part="config", node=node.name),
        )
        self.reloader.load_first(text, path=name)

    async def _end_spares(self) -> None:
        for process in self._spares.give_up() if self._spares is not None else ():
            await kill(process)

    async def _stop(self) -> None:
        """Everything in order, and however it goes the node ends."""
        self.reloader.close(self._stop_reason)
        self.bus.publish(NodeStopping(reason=self._stop_reason), source=SOURCE)
        self._manager.stopping(self._stop_reason)
        log = logs.logger(part="node", node=self.node.name)
        log.info("node_stopping", reason=self._stop_reason)
        with self._patience, trio.move_on_after(STOP_MAX_S) as limit:
            try:
                await self.supervisor.stop(self._stop_reason)
            except ApplianceError as error:
                log.error("stop_incomplete", error=error.message)
        if limit.cancelled_caught:
            log.error("stop_incomplete", error=f"services did not stop within {STOP_MAX_S:.0f} s")

    def _report_stall(self, stall: LoopStalled) -> None:
        self.bus.publish(stall, source=SOURCE)

    async def _obey_supervisor(self) -> None:
        await self.supervisor.stop_requested.wait()
        self._failure = self.supervisor.stop_reason or "a service asked for it"
        if not self._stop_asked.is_set():
            self.request_stop(self._failure)

    async def _obey_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        asked, reloads = trio.open_memory_channel[None](1)  # more than one waiting would read the same file
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._reload_when_asked, reloads)
                task_status.started()
                async for number in signals:
                    if number == signal.SIGHUP:
                        try:
                            asked.send_nowait(None)
                        except trio.WouldBlock:
                            continue
                    else:
                        self.request_stop(f"signal {signal.Signals(number).name}")

    async def _reload_when_asked(self, reloads: trio.MemoryReceiveChannel[None]) -> None:
        async for _ in reloads:
            try:
                await self.reloader.reload_file(who="SIGHUP")
            except ApplianceError as error:
                # Refusals of the configuration are published and logged where they happen.
                logs.logger(part="node", node=self.node.name).warning("reload_failed", reason=error.message)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """Let an operator's error out of the groups in which trio wraps it."""
    try:
        yield
    except BaseExceptionGroup as group:
        errors, rest = group.split(ApplianceError)
        if errors is None or rest is not None:
            raise
        leaf: BaseException = errors
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        raise leaf from None
