"""One interface that gets addresses: its Kea, the gate in front of it, and its leases."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance.plugin import Context
from appliance_dhcp_failover import kea, leases, probe
from appliance_dhcp_failover.control import Control, KeaError, KeaRefusalError
from appliance_dhcp_failover.hook import Hook
from appliance_dhcp_failover.leases import BadLease, Lease
from appliance_dhcp_failover.machine import Configure, Gate, Probe, Restart, Start, State, Wait
from appliance_dhcp_failover.process import Kea, find_hooks
from appliance_dhcp_failover.settings import PoolSettings
from appliance_dhcp_failover.table import Table
from appliance_dhcp_failover.wire import Change

READY_S, READY_STEP_S = 30.0, 0.02
"""For Kea to open its control socket: before that it reads its lease file, on a machine that may be busy booting."""
PROBE_S = 2.0
"""For Kea's answer to a probe."""
SETTLE_S, APPLY_AGAIN_S = 3.0, 0.2
"""How long a takeover waits for leases on their way to Kea, some milliseconds usually; and between attempts."""
REREAD_S = 60.0
"""Between looks at all of Kea's leases: it changes some by itself."""
SYNC_S = 1.0
"""What both nodes granted in this time is lost when both lose power at the same moment."""
SAID_MAX = 20
"""Errors of Kea that are logged between two such looks."""
NOISE = "DHCP4_BUFFER_RECEIVE_FAIL"
"""What is no DHCP: strangers' packets, and what comes in between the opening of a socket and its filter."""
PAGE = 1000
BACKLOG_USUAL = 64
"""Leases on their way to Kea while another node grants hundreds a second."""

Share = Callable[[Change], Awaitable[list[Change]]]
"""Tells a change to the other nodes; returns what they have given to others instead."""


class Pool:
    """One interface.

    Args:
        ctx: Of the service.
        settings: What is served.
        directory: Where Kea runs and keeps its leases.
        password: New at every start of the service.
        share: Tells other nodes.
        changed: Called when something that is shown has changed.
    """

    def __init__(
        self,
        ctx: Context,
        settings: PoolSettings,
        directory: Path,
        *,
        password: str,
        share: Share,
        changed: Callable[[], None],
    ) -> None:
        self.settings = settings
        self.table = Table()
        self.granted: Callable[[PoolSettings, Lease], None] = lambda _pool, _lease: None
        self.released: Callable[[PoolSettings, str], None] = lambda _pool, _address: None
        self.gate = Gate(trio.current_time(), is_master=settings.vhid is None)
        self.since = time.time()
        """Of the state, seconds since 1970."""
        self.peer_since = self.since
        """The same of the other nodes' state."""
        self.refusal = ""
        """Why Kea refuses the present settings; it goes on with the last good ones."""
        self.kea_error = ""
        """What Kea said last when it ended."""
        self._ctx, self._directory = ctx, directory
        self._share, self._changed = share, changed
        self._good: PoolSettings | None = None
        self._told = self.gate.changes
        self._control = Control(directory)
        self._hook = Hook(password, self._asked)
        self._kea = Kea(directory, self._kea_said)
        self._news = trio.Event()
        self._ended = trio.Event()
        self._up = trio.Event()
        self._backlog: dict[str, Lease | None] = {}
        self._arrived, self._emptied = trio.Event(), trio.Event()
        self._said = 0
        self._shown = (self.gate.state, "")

    # ------------------------------------------------------------------------------------ what happens

    def set_master(self, is_master: bool, why: str) -> None:
        """The role of the virtual address changed."""
        if self.settings.vhid is not None:
            self.gate.set_master(is_master, trio.current_time(), why)
            self._wake()

    def follow(self, settings: PoolSettings) -> None:
        """Other settings for the same interface; leases stay."""
        if settings != self.settings:
            self.settings = settings
            self.refusal = ""
            if settings.vhid is None:
                self.gate.set_master(True, trio.current_time())
            self.gate.renew(trio.current_time())
            self._wake()

    def _wake(self) -> None:
        self._look()
        self._news.set()

    def _look(self) -> None:
        """Tell what has changed."""
        if self.gate.changes != self._told:
            self._told = self.gate.changes
            self.since = time.time()
        shown = (self.gate.state, self.gate.reason + self.refusal)
        if shown != self._shown:
            self._shown = shown
            self._ctx.log.info(
                "dhcp_state", interface=self.settings.interface, state=str(self.gate.state), why=self.gate.reason
            )
            self._changed()

    # ------------------------------------------------------------------------------------ Kea

    async def run(self) -> None:
        """Serve or stand by, for ever."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._hook.run)
            nursery.start_soon(self._apply)
            nursery.start_soon(self._reread)
            nursery.start_soon(self._keep_on_disk)
            while True:
                await self._step(nursery)
                self._look()

    async def _step(self, nursery: trio.Nursery) -> None:
        match self.gate.action(trio.current_time()):
            case Start():
                await self._start(nursery)
            case Configure(serving):
                await self._configure(serving=serving)
            case Probe():
                self.gate.probed(await self._examine(), trio.current_time())
            case Restart():
                self._kea.kill()
                await self._ended.wait()
            case Wait(until):
                with trio.move_on_at(until):
                    await self._news.wait()
                self._news = trio.Event()

    def _document(self, settings: PoolSettings, *, serving: bool) -> Any:
        return kea.configuration(
            settings, self._hook.endpoint, directory=self._directory, hooks=find_hooks(), serving=serving
        )

    async def _start(self, nursery: trio.Nursery) -> None:
        self._ended, self._up = trio.Event(), trio.Event()
        chosen = self._good or self.settings
        try:
            await nursery.start(self._run_kea, self._document(chosen, serving=False))
        except ApplianceError as error:
            self.gate.ended(error.message, trio.current_time())
            return
        try:
            with trio.fail_after(READY_S):
                while not self._ended.is_set() and not await self._answers():  # noqa: ASYNC110 - Kea says nothing by itself
                    await trio.sleep(READY_STEP_S)
            if not self._ended.is_set():
                await self._load()
        except (trio.TooSlowError, KeaError):
            self._kea.kill()
            await self._ended.wait()
        if not self._ended.is_set():
            self.gate.started(trio.current_time())
            self._up.set()
            if chosen != self.settings:
                self.gate.renew(trio.current_time())

    async def _answers(self) -> bool:
        try:
            await self._control.command("status-get", within_s=PROBE_S)
        except KeaError:
            return False
        return True

    async def _run_kea(self, document: Any, *, task_status: trio.TaskStatus[None]) -> None:
        status: int | str
        try:
            status = await self._kea.run(document, task_status=task_status)
        finally:
            self._ended.set()
        why = next((line for line in reversed(self._kea.lines) if "ERROR" in line or "FATAL" in line), "")
        self.kea_error = why
        self._ctx.log.warning("kea_ended", interface=self.settings.interface, status=status, said=why)
        self.gate.ended(f"Kea has ended with status {status}" + (f": {why}" if why else ""), trio.current_time())
        self._wake()

    def _kea_said(self, line: str) -> None:
        is_error = line.startswith(("ERROR", "FATAL")) and NOISE not in line
        # What a client can provoke must not fill the log.
        if is_error and self._said < SAID_MAX:
            self._said += 1
            self._ctx.log.warning("kea", interface=self.settings.interface, said=line)
        else:
            self._ctx.log.debug("kea", interface=self.settings.interface, said=line)

    async def _configure(self, *, serving: bool) -> None:
        """Try the present settings; if Kea refuses them, go on with the last ones that it took."""
        settings = self.settings
        if serving:
            await self.settled()
        if serving and not probe.is_local(settings.address):
            # The role is a moment older than its address; and a configuration that fails would cost all sockets.
            why = f"the address {settings.address} is not there yet"
            self.gate.refused(why, trio.current_time())
            return
        try:
            chosen = await self._acceptable(settings)
            await self._control.command("config-set", self._document(chosen, serving=serving))
        except ApplianceError as error:
            self.gate.refused(error.message, trio.current_time())
            return
        self._good = chosen
        if settings is not self.settings:
            return  # changed meanwhile: this is not what it should have
        self.gate.configured(serving, trio.current_time())

    async def _acceptable(self, settings: PoolSettings) -> PoolSettings:
        """Settings that Kea takes.

        They are tried as those of a standby: in a test Kea does not look for addresses that are younger than itself.
        """
        try:
            await self._control.command("config-test", self._document(settings, serving=False))
        except KeaError as error:
            if self._good is None or self._good == settings:
                raise
            if self.refusal != error.message:
                self._ctx.log.error("kea_refuses", interface=settings.interface, why=error.message)
            self.refusal = error.message
            return self._good
        self.refusal = ""
        return settings

    async def _examine(self) -> str:
        """What is wrong with Kea; empty: nothing."""
        try:
            await self._control.command("status-get", within_s=PROBE_S)
        except KeaError as error:
            return error.message
        if self.gate.is_master:
            return probe.missing(self.settings.device, self.settings.address)
        return ""

    # ------------------------------------------------------------------------------------ leases

    async def _asked(self, command: str, arguments: dict[str, Any]) -> bool:
        """Kea has written a lease and asks whether its client may hear of it."""
        if command not in ("lease4-update", "lease4-del"):
            return True  # nothing that a client is told
        if not self.gate.may_answer:
            return False
        if command == "lease4-del":
            return await self._given_back(str(arguments.get("ip-address", "")))
        try:
            lease = leases.from_kea(arguments)
        except BadLease as error:
            self._ctx.log.error("kea_lease_unreadable", interface=self.settings.interface, why=str(error))
            return False
        owner = self.table.get(lease.address)
        if owner is not None and leases.is_conflict(lease, owner, now=time.time(), we_serve=True):
            # Kea has not been told yet what another node granted, and has given it away once more.
            self.take(owner)
            return False
        refused = await self._tell(lease)
        for each in refused:
            self.take(each.lease)
        if refused or not self.gate.may_answer:
            return False
        self.table.put(lease, time.time())
        self.granted(self.settings, lease)
        return True

    async def _given_back(self, address: str) -> bool:
        lease = self.table.get(address)
        if lease is not None:
            await self._tell(lease, gone=True)
            self.table.drop(address, time.time())
            self.released(self.settings, address)
        return True

    async def _tell(self, lease: Lease, *, gone: bool = False) -> list[Change]:
        if self.settings.peer is None:
            return []
        return await self._share(Change(interface=self.settings.interface, lease=lease, gone=gone))

    def take(self, lease: Lease) -> None:
        """Another node granted this. Kea has it some milliseconds later, and in any case before it serves."""
        self.table.put(lease, time.time())
        self._backlog[lease.address] = lease
        self._arrived.set()

    def drop(self, address: str) -> None:
        """Another node has this back."""
        self.table.drop(address, time.time())
        self._backlog[address] = None
        self._arrived.set()

    @property
    def is_catching_up(self) -> bool:
        """Whether Kea still lacks many of the leases that this node has fetched."""
        return len(self._backlog) > BACKLOG_USUAL

    async def settled(self) -> None:
        """Wait until Kea has everything that other nodes granted, `SETTLE_S` at most."""
        with trio.move_on_after(SETTLE_S):
            while self._backlog:
                await self._emptied.wait()

    async def _apply(self) -> None:
        """Hand to Kea what other nodes granted, for ever."""
        while True:
            while not self._backlog:
                self._emptied.set()
                self._arrived = trio.Event()
                await self._arrived.wait()
                self._emptied = trio.Event()
            # Not while it is being started: thousands of leases would come before the few questions that this takes.
            await self._up.wait()
            address, lease = next(iter(self._backlog.items()))
            try:
                await self._tell_kea(address, lease)
            except KeaRefusalError as error:
                # The nodes' subnets differ, as in the middle of a synchronization.
                self._ctx.log.warning("kea_lease_refused", interface=self.settings.interface, why=error.message)
            except KeaError:
                await trio.sleep(APPLY_AGAIN_S)  # it is being started
                continue
            if self._backlog.get(address, lease) is lease:
                self._backlog.pop(address, None)  # and nothing newer has come meanwhile

    async def _tell_kea(self, address: str, lease: Lease | None) -> None:
        if lease is None:
            await self._control.command("lease4-del", {"ip-address": address})
        else:
            await self._control.command("lease4-update", leases.to_kea(lease))

    async def release(self, address: str) -> None:
        """Take a lease from its client.

        Raises:
            KeaError: Kea does not run.
        """
        lease = self.table.get(address)
        await self._tell_kea(address, None)
        self.table.drop(address, time.time())
        if lease is not None:
            await self._tell(lease, gone=True)
            self.released(self.settings, address)

    async def _load(self) -> list[Lease]:
        """Read all of Kea's leases; returns what was not known."""
        found: list[Lease] = []
        start = "start"
        while True:
            told = await self._control.command("lease4-get-page", {"from": start, "limit": PAGE})
            page = told.get("leases", [])
            for each in page:
                try:
                    found.append(leases.from_kea(each))
                except BadLease as error:
                    self._ctx.log.warning("kea_lease_unreadable", interface=self.settings.interface, why=str(error))
            if len(page) < PAGE:
                news = self.table.replace(found, time.time())
                for address, lease in self._backlog.items():
                    if lease is not None:
                        self.table.put(lease, time.time())
                    else:
                        self.table.drop(address, time.time())
                return news
            start = str(page[-1]["ip-address"])

    async def _reread(self) -> None:
        while True:
            await trio.sleep(REREAD_S)
            self._said = 0
            if self.gate.state not in (State.SERVING, State.STANDBY):
                continue
            try:
                news = await self._load()
            except KeaError as error:
                self._ctx.log.warning("kea_not_read", interface=self.settings.interface, why=error.message)
                continue
            if self.gate.may_answer:
                for lease in news:
                    await self._tell(lease)

    async def _keep_on_disk(self) -> None:
        """Kea writes every lease at once but leaves it to the kernel when it is on the disk."""
        kept = 0.0
        while True:
            await trio.sleep(SYNC_S)
            if self.table.changed == kept:
                continue
            kept = self.table.changed
            try:
                await trio.to_thread.run_sync(_flush, self._directory / kea.LEASE_FILE)
            except OSError as error:
                self._ctx.log.warning("dhcp_leases_not_on_disk", interface=self.settings.interface, why=str(error))


def _flush(path: Path) -> None:
    """What has been written to a file is on the disk when this returns."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(handle)
    finally:
        os.close(handle)
