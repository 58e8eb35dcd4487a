"""The replicator: trio tasks around the table, the dialect and the sync link. All of pfsync that waits.

Each task waits for one thing and then makes synchronous calls of bounded length (about 2 ms): events of the
kernel go out, datagrams come in, deadlines of the protocol pass, a bulk update or an audit reads the table.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

import trio

from appliance.errors import ApplianceError
from appliance.events import Health, KernelEventsLost, Role, RoleChanged
from appliance.net import conntrack
from appliance.net.fastpath import Netlink
from appliance.net.nftset import NetfilterSocket
from appliance.plugin.context import Context, Overflow, Started, Subscription
from appliance_pfsync import deferral, dialect, numbers, ruleset
from appliance_pfsync.alarms import Alarms
from appliance_pfsync.defer import Defer
from appliance_pfsync.effects import Actor
from appliance_pfsync.exporter import select
from appliance_pfsync.filters import exportable
from appliance_pfsync.flow import Flows, Op
from appliance_pfsync.kernel import DRAIN_MAX, KernelTable
from appliance_pfsync.keyfile import KeyFile
from appliance_pfsync.link import SyncLink
from appliance_pfsync.local import REFRESH_S, local_addresses
from appliance_pfsync.native.keys import Keyring
from appliance_pfsync.operator import Operator
from appliance_pfsync.paired import NoKeysError, PairedKeys
from appliance_pfsync.settings import PfsyncSettings
from appliance_pfsync.snapshot import Snapshot

DEMOTION = 240
"""A node without its peer's states is the worst candidate there is, as on BSD (net.pfsync.carp_demotion_factor)."""
ROLES_S = 0.1
"""The roles of this node arrive on the bus within milliseconds if there are any."""
DATAGRAMS_MAX = 64
"""Taken from the socket at once: some 1500 states, about 2 ms until they are in the kernel."""
FIRST_S, PACE_S, BUSY_PACE_S = 0.001, 0.005, 0.002
"""How long events are collected: after a silence, while they keep coming, and while many come. Work per state falls
with the size of a batch, lag rises: at 1000 connections a second 5 ms cost half of the processor time of 1 ms."""
SILENCE_S = 0.05
BUSY_PER_S = 20_000
"""Events a second from which batches are large enough."""
NICE = -10
"""Before ordinary work, after everything real-time: CARP is never delayed by states."""
BULK_WAIT_S = 0.001
"""Until the peer has made room."""
REFRESH_PART = 1024
"""Renewed states sent at once."""
RETRY_S = 1.0
ALONE_S = 5.0
"""A node without keys for so long is not demoted any more: as far as it knows, nobody has states for it."""
LAST_BATCHES = 64
"""Of events, when it is told to stop: a tenth of a second of work."""


class Replicator:
    """One node's part in state replication."""

    def __init__(self, ctx: Context) -> None:
        settings = ctx.config
        assert isinstance(settings, PfsyncSettings)
        self.ctx = ctx
        self.settings = settings
        self.alarms = Alarms(ctx)
        self.table = KernelTable()
        self.link = SyncLink(settings)
        self.local = local_addresses()
        self.filters = NetfilterSocket()
        self.keys = PairedKeys() if settings.is_paired else KeyFile(settings.key_file)
        self.protocol: dialect.Dialect = dialect.make(settings, None)
        self.is_running = False
        """The secrets are known (or not wanted) and the protocol may speak."""
        self.snapshot: Snapshot | None = None
        self.defer: Defer | None = None
        """While first packets are held."""
        self.actor = Actor(self)
        self._without_keys_at: float | None = None
        """Since when the nodes are not paired, as far as this one knows."""
        self._roles: dict[tuple[str, int], Role] = {}
        self._opened = trio.Event()
        self._learnt = trio.Event()
        """Set when there is news of the keys."""
        self._timer = trio.CancelScope()
        self._behind = trio.Event()
        self._feeds: dict[str, trio.CancelScope] = {}
        self._auditing = trio.CancelScope()
        self._nursery: trio.Nursery

    # --- facts ---------------------------------------------------------------------------------------------

    @property
    def is_master(self) -> bool:
        """This node is MASTER of something."""
        return any(role.is_master for role in self._roles.values())

    @property
    def is_owner(self) -> bool:
        """The flows in the kernel pass through here: it is MASTER, or nobody decides who is."""
        return self.is_master or not self._roles

    @property
    def is_behind(self) -> bool:
        """This node is demoted because it may lack states of its peers."""
        return self._behind.is_set()

    def caught_up(self) -> None:
        """The demotion ends."""
        self._behind = trio.Event()
        self._caught_up.set()

    def fell_behind(self) -> None:
        """States of a peer are missing. A MASTER stays what it is: whoever took over would lack more."""
        if not self.is_master and not self._behind.is_set():
            self._caught_up = trio.Event()
            self._behind.set()

    # --- life ----------------------------------------------------------------------------------------------

    async def run(self, task_status: Started) -> None:
        """Replicate until told to stop."""
        ctx = self.ctx
        self._caught_up = trio.Event()
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
        for trouble in conntrack.prepare_node(self.settings.max_states):
            ctx.log.warning("pfsync_kernel", trouble=trouble)
        operator = Operator(self)
        with contextlib.ExitStack() as stack, ctx.subscribe(RoleChanged, overflow=Overflow.COALESCE) as roles:
            await self._first_roles(roles)
            for kind, handler in operator.handlers():
                stack.enter_context(ctx.serve(kind, handler))
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._follow_roles, roles)
                await nursery.start(self._demote)
                if isinstance(self.keys, PairedKeys):
                    await nursery.start(self.keys.follow, ctx, self._watch_now)
                for task in (self._watch, self._send_events, self._receive, self._timers):
                    nursery.start_soon(task)
                nursery.start_soon(numbers.run, ctx.metrics, operator)
                if self.settings.defer:
                    nursery.start_soon(deferral.run, self)
                task_status.started()
                await ctx.stopping.wait()
                for _ in range(LAST_BATCHES):  # what has happened until now still goes out
                    more = self._take_events()
                    self.flush()
                    if more < DRAIN_MAX:
                        break
                nursery.cancel_scope.cancel(reason="pfsync: stopped")
        for each in (self.link, self.table, self.filters):
            each.close()

    async def _load_rules(self) -> None:
        try:
            await ruleset.load()
            self.ctx.log.info("pfsync_ruleset_loaded")
        except ApplianceError as error:
            self.alarms.set("ruleset", error.message, error.hint or "Install nftables.", health=Health.FAIL)
        else:
            self.alarms.clear("ruleset")

    # --- roles and demotion --------------------------------------------------------------------------------

    async def _first_roles(self, roles: Subscription[RoleChanged]) -> None:
        with trio.move_on_after(ROLES_S):
            while True:
                self._learn(await roles.receive())
        if not self.is_master:
            self.fell_behind()

    async def _follow_roles(self, roles: Subscription[RoleChanged]) -> None:
        async for event in roles:
            self._learn(event)

    def _learn(self, event: RoleChanged) -> None:
        self._roles[event.interface, event.vhid] = event.role
        self.protocol.is_owner = self.is_owner
        if event.role.is_master:
            self.local = local_addresses()  # the virtual ones of this host are among them now

    async def _demote(self, task_status: trio.TaskStatus[None]) -> None:
        is_told = False
        while True:
            if not self._behind.is_set():
                if not is_told:
                    task_status.started()
                    is_told = True
                await self._behind.wait()
            with self.ctx.demoted("bulk", DEMOTION):
                if not is_told:
                    task_status.started()
                    is_told = True
                await self._caught_up.wait()

    # --- the second's work ---------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            self.local = local_addresses()
            if not ruleset.is_loaded(self.filters):
                await self._load_rules()  # the first time, and after somebody's `flush ruleset`
                if self.defer is not None:
                    await deferral.load_rules(self)
            self._look_at_keys()
            if self.is_running:  # without its secrets it neither speaks nor listens
                self._look_at_link()
            self.protocol.states = conntrack.count()
            self.actor.report_health()
            with trio.move_on_after(REFRESH_S):
                await self._learnt.wait()
            self._learnt = trio.Event()

    def _watch_now(self) -> None:
        self._learnt.set()

    def _look_at_keys(self) -> None:
        try:
            keyring = self.keys.read_if_changed()
        except ApplianceError as error:
            self.alarms.set("key", error.message, error.hint or "Correct the key file.", health=Health.FAIL)
            if isinstance(error, NoKeysError):
                self._stop_speaking()
            return
        self.alarms.clear("key")
        if not self.is_running:
            if keyring is not None or not self.settings.is_secured:
                self._begin_speaking(keyring)
        elif keyring is not None:
            self.protocol.set_keyring(keyring, trio.current_time())
            self.ctx.log.info("pfsync_keys_changed", keys=[key.name for key in keyring.keys])

    def _begin_speaking(self, keyring: Keyring | None) -> None:
        self.protocol = dialect.make(self._fitting_settings(), keyring)
        self.protocol.is_owner = self.is_owner
        self.is_running, self._without_keys_at = True, None
        self.fell_behind()  # again, if there have been no keys for long

    def _stop_speaking(self) -> None:
        """The nodes are not paired (any more). Before anything else the socket is closed: the new protocol is plain."""
        if self.is_running:
            self.link.close()
            self.is_running = False
            for scope in (*self._feeds.values(), self._auditing):
                scope.cancel(reason="there are no keys")
            self.protocol = dialect.make(self.settings, None)
            self.protocol.is_owner = self.is_owner
            self.alarms.clear_peers()
            self.ctx.log.warning("pfsync_keys_withdrawn")
        now = trio.current_time()
        if self._without_keys_at is None:
            self._without_keys_at = now
        elif now - self._without_keys_at >= ALONE_S and self.is_behind:
            self.caught_up()

    def _fitting_settings(self) -> PfsyncSettings:
        """With the MTU of the device as it is now; the interfaces have been set up before this service starts."""
        with Netlink() as kernel:
            link = kernel.link(self.settings.device)
        mtu = min(self.settings.mtu, link.mtu) if link else self.settings.mtu
        return replace(self.settings, mtu=mtu)

    def _look_at_link(self) -> None:
        if not self.link.is_current:
            try:
                self.link.open()
            except ApplianceError as error:
                self.alarms.set("link", error.message, error.hint or "Check the device.", health=Health.FAIL)
                return
            self._opened.set()
            self._opened = trio.Event()
        self.alarms.clear("link")

    # --- out -----------------------------------------------------------------------------------------------

    async def _send_events(self) -> None:
        last, taken, pace = -math.inf, 0, FIRST_S
        while True:
            await trio.lowlevel.wait_readable(self.table.events.fileno())
            is_first = trio.current_time() - last > SILENCE_S
            await trio.sleep(FIRST_S if is_first else pace)
            now = trio.current_time()
            while more := self._take_events():
                taken += more
                self.flush()
                if more < DRAIN_MAX:
                    break
                await trio.lowlevel.checkpoint()
            pace = BUSY_PACE_S if taken > BUSY_PER_S * (now - last) else PACE_S
            last, taken = now, 0
            self.rearm()

    def _take_events(self) -> int:
        """Read what the kernel reports and offer it; how many events that was."""
        now = trio.current_time()
        try:
            drained = self.table.events.drain(DRAIN_MAX)
        except conntrack.OverrunError:
            self.actor.counters["overruns"] += 1
            self.ctx.publish(KernelEventsLost(family="conntrack"))
            self.protocol.lost_events(now)
            return DRAIN_MAX
        if not len(drained):
            return 0
        batch = self.table.decoder.decode(drained)
        for flows, pids in ((batch.flows4, batch.pids4), (batch.flows6, batch.pids6)):
            if len(flows):
                chosen = select(flows, pids, self.local, is_owner=self.is_owner)
                if len(chosen):
                    self.protocol.offer(chosen, now)
        return len(batch.flows4) + len(batch.flows6) + batch.skipped + batch.unsupported

    def flush(self) -> None:
        """Send what the protocol has to send."""
        for destination, datagram in self.protocol.outgoing():
            self.link.send(datagram, destination)

    def release(self, ticket: int) -> None:
        """A peer has everything up to this ticket: first packets that waited for it may go."""
        if self.defer is not None:
            self.defer.release(ticket)

    # --- in ------------------------------------------------------------------------------------------------

    async def _receive(self) -> None:
        while True:
            fd = self.link.fileno()
            if fd < 0:
                await self._opened.wait()
                continue
            try:
                await trio.lowlevel.wait_readable(fd)
            except trio.ClosedResourceError:
                continue
            now = trio.current_time()
            effects = []
            for datagram, source in self.link.drain(DATAGRAMS_MAX):
                effects += self.protocol.receive(datagram, source, now)
            self.actor.act(effects)
            self.flush()
            self.rearm()

    async def _timers(self) -> None:
        while True:
            with trio.CancelScope(deadline=self.protocol.deadline()) as self._timer:
                await trio.sleep_forever()
            if self.is_running and self.link.fileno() >= 0:
                self.actor.act(self.protocol.tick(trio.current_time()))
                self.flush()
            else:
                await trio.sleep(RETRY_S)

    def rearm(self) -> None:
        """The protocol may want to be called earlier than it wanted before."""
        self._timer.deadline = min(self._timer.deadline, self.protocol.deadline())

    # --- whole tables --------------------------------------------------------------------------------------

    def start_feed(self, peer: str) -> None:
        """Send the whole table to a peer; from the beginning if that is under way already."""
        if peer in self._feeds:
            self._feeds[peer].cancel(reason="the peer asked again")
        self._feeds[peer] = scope = trio.CancelScope()
        self._nursery.start_soon(self._feed, peer, scope)

    async def _feed(self, peer: str, scope: trio.CancelScope) -> None:
        with scope:
            async for flows in self.replicated_flows():
                at = 0
                while at < len(flows):
                    room = self.protocol.room_for_bulk(peer)
                    if room > 0:
                        self.protocol.offer_bulk(peer, flows[at : at + room], trio.current_time())
                        at += room
                        self.flush()
                        self.rearm()
                        await trio.lowlevel.checkpoint()
                    elif peer in self.protocol.bulk_targets:
                        await trio.sleep(BULK_WAIT_S)
                    else:
                        return
            self.protocol.end_bulk(peer, trio.current_time())
            self.flush()
            self.rearm()

    async def replicated_flows(self) -> AsyncIterator[Flows]:
        """The flows of this node's table that peers get, in parts, as INSERT records."""
        for pair in self.table.dump():
            for flows in pair:
                yield flows[exportable(flows, self.local)]
            await trio.lowlevel.checkpoint()

    def start_removal(self) -> None:
        """A peer's operator flushed the states."""
        self._nursery.start_soon(self.remove_replicated)

    async def remove_replicated(self) -> int:
        """Remove every flow that peers get; how many there were. The peers are told by whoever began it."""
        count = 0
        async for flows in self.replicated_flows():
            count += len(flows)
            flows["op"] = Op.DELETE
            self.table.apply(flows, extra_s=0)
        return count

    def start_audit(self) -> None:
        """Compare the table with the peers'; a comparison under way is given up."""
        self._auditing.cancel(reason="a new audit begins")
        self._auditing = trio.CancelScope()
        self._nursery.start_soon(self._audit, self._auditing)

    async def _audit(self, scope: trio.CancelScope) -> None:
        with scope:
            parts: tuple[list[Flows], list[Flows]] = ([], [])
            begun = trio.current_time()
            async for flows in self.replicated_flows():
                parts[flows.dtype.itemsize > 60].append(flows)
            before, self.snapshot = self.snapshot, Snapshot(*parts, begun)
            self.actor.act(self.protocol.audit_snapshot(self.snapshot.hashes, trio.current_time()))
            self.flush()
            self.rearm()
            if before is not None and self.is_owner:
                await self._refresh(self.snapshot.refreshed_since(before))

    async def _refresh(self, renewed: Iterable[Flows]) -> None:
        for flows in renewed:
            for start in range(0, len(flows), REFRESH_PART):
                part = self.table.lookup(flows[start : start + REFRESH_PART])
                self.protocol.offer(part, trio.current_time())
                self.actor.counters["refreshed"] += len(part)
                self.flush()
                self.rearm()
                await trio.sleep(PACE_S)
