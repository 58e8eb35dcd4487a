"""The heartbeat service: trio tasks around the station. This is all of CARP that waits.

Runs in a process of its own, with real-time priority, because whatever else a node computes must not delay
a heartbeat. Tasks: one per socket, one for kernel events, one timer, one second-beat, one that watches the
guard. Each of them calls into the station synchronously and then re-arms the timer.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from pathlib import Path

import trio

from appliance.errors import KernelError
from appliance.events import Demotion, Reclaim, Retracted, SetEnabled, SetMaintenance, Switchover
from appliance.net import packet
from appliance.net.virtualmac import virtual_device
from appliance.plugin.context import Context, Overflow, Started
from appliance_carp import datapath, reception
from appliance_carp.alarms import Trouble
from appliance_carp.control import RoleControl
from appliance_carp.devices import Devices
from appliance_carp.events import CommitStaged, GetCarp, GetReach
from appliance_carp.herald import is_own_reason
from appliance_carp.machine import Machine
from appliance_carp.numbers import Numbers
from appliance_carp.paired import PairedKeys
from appliance_carp.port import Port
from appliance_carp.reach import Reach
from appliance_carp.settings import CarpSettings
from appliance_carp.staging import remembered_passwords
from appliance_carp.station import Station
from appliance_carp.vocabulary import GroupSettings

BEAT_S = 0.5
"""Twice a second: the guard is told that we live, every second time the peers are."""
LAST_WORDS_S = 0.5
"""The time an orderly exit may take for bow-outs and closing the gates."""
FAST_S = 0.1
"""The shortest interval of the profile ``fast``."""
SLACK_S = 0.016
"""255 VHIDs on four interfaces have a deadline every millisecond; a wake-up costs ten times what serving it does."""
GUARD_LIVES_S = 1.0
"""A guard that dies sooner dies of something that lasts; forking one after the other would keep us from our work."""
DRAIN_MAX = 512
"""Frames taken from one socket before others get their turn; 255 VHIDs advertise in one burst."""
_RETRACTED_DEMOTION = f"{Demotion.__module__}:{Demotion.__qualname__}"


class GateClosedByGuard(Exception):  # noqa: N818 - says what happened
    """This process stood still and its guard has closed the gates: start anew, as BACKUP."""


async def run(ctx: Context, task_status: Started) -> None:
    """Hold the virtual hosts of ``ctx.config`` until told to stop."""
    config = ctx.config
    assert isinstance(config, CarpSettings)
    settings = PairedKeys().resolve(config, remembered_passwords(ctx.state_dir))
    kernel = datapath.Kernel()
    datapath.install_drop_rule()
    machine = Machine(GroupSettings(vhids=(), preempt=settings.preempt), jitter=ctx.random.random)
    station = Station(ctx, settings, kernel, incarnation(ctx.state_dir), machine)
    station.maintenance = RoleControl.wants_maintenance(ctx.state_dir)
    station.enabled = not RoleControl.was_disabled(ctx.state_dir)
    station.left_out = len(config.vips) - len(settings.vips)
    service = HeartbeatService(ctx, station, config)
    try:
        await service.run(task_status)
    except BaseException:
        if station.guard is not None:
            station.guard.abandon()
        raise


def incarnation(state_dir: Path) -> int:
    """A number that rises with every start, also when the clock does not: milliseconds, or the last one plus one."""
    path = state_dir / "incarnation"
    last = 0
    with contextlib.suppress(OSError, ValueError):
        last = int(path.read_text())
    value = max(last + 1, int(time.time() * 1000))
    with contextlib.suppress(OSError):  # a full disk is no reason to be without heartbeat: the clock orders, too
        path.write_text(f"{value}\n")
    return value


class HeartbeatService:
    """The tasks of one station."""

    def __init__(self, ctx: Context, station: Station, config: CarpSettings) -> None:
        self._ctx = ctx
        self._station = station
        self._config = config
        """As configured, before passwords that the configuration leaves open are put in."""
        self._devices: Devices
        self._nursery: trio.Nursery
        self._timer = trio.CancelScope()
        self._woke = -math.inf
        self._shortest_s = 1.0
        self._is_rule_refused = False
        self._numbers = Numbers(ctx.metrics)
        self._control = RoleControl(station, trio.current_time, self._after)

    async def run(self, task_status: Started) -> None:
        """Everything, from finding the devices to the last word."""
        station, ctx = self._station, self._ctx
        with contextlib.ExitStack() as stack:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                devices = Devices(station, nursery, self._listen, self._after)
                self._devices = devices
                self._begin(devices)
                asked = stack.enter_context(ctx.subscribe(Demotion, Retracted, overflow=Overflow.COALESCE))
                stack.enter_context(ctx.serve(GetCarp, self._control.get))
                stack.enter_context(ctx.serve(CommitStaged, self._control.commit))
                stack.enter_context(ctx.serve(GetReach, Reach(station).answer))
                stack.enter_context(ctx.serve(Reclaim, self._control.reclaim))
                stack.enter_context(ctx.serve(Switchover, self._control.switchover))
                stack.enter_context(ctx.serve(SetMaintenance, self._control.set_maintenance))
                stack.enter_context(ctx.serve(SetEnabled, self._control.set_enabled))
                stack.enter_context(ctx.on_reload(self._reload))
                for task in (devices.follow, self._timers, self._beat, self._watch_guard):
                    nursery.start_soon(task)
                nursery.start_soon(self._demotions, asked)
                nursery.start_soon(station.paired.follow, ctx, self._take_keys)
                task_status.started()
                try:
                    await ctx.stopping.wait()
                finally:
                    with trio.move_on_after(LAST_WORDS_S, shield=True):
                        await self._leave()
                nursery.cancel_scope.cancel(reason="carp: stopped")
        station.kernel.close()

    def _begin(self, devices: Devices) -> None:
        station, now = self._station, trio.current_time()
        station.build(now)
        parents = {port.settings.device: port.name for port in station.ports.values()}
        keep = [
            virtual_device(link.name, vhid)
            for link in station.kernel.route.dump_links()
            if link.name in parents
            for interface, vhid in station.hosts
            if interface == parents[link.name]
        ]
        datapath.close_leftovers(station.kernel, keep)
        self._measure_shortest()
        station.perform(station.machine.reconfigure(station.group(), now))
        if not station.enabled:
            station.perform(station.machine.set_enabled(False, now))
        station.perform(station.machine.start(now))
        devices.resync()
        station.renew_guard()

    async def _leave(self) -> None:
        """Bow out, keep forwarding for the hold time, close and remove everything.

        After the guard has spoken for us there is nothing to say: another word from a virtual MAC that is a peer's
        by now would draw its traffic here.
        """
        station = self._station
        if not station.ledger.fenced:
            station.perform(station.machine.stop(trio.current_time()))
            while not station.machine.closed:
                await trio.sleep_until(station.machine.next_deadline() or trio.current_time())
                station.perform(station.machine.tick(trio.current_time()))
        for vmac in station.vmacs.values():
            vmac.close(station.kernel)
        if station.guard is not None:
            station.guard.dismiss()
            station.guard = None
        datapath.remove_all(station.kernel)
        datapath.remove_drop_rule()

    def _after(self) -> None:
        """What follows every step: own reasons, the bus, the peers and the timer are brought up to date."""
        station, now = self._station, trio.current_time()
        station.perform(station.machine.set_reasons(station.reasons, now))
        station.herald.publish_demotion()
        if station.herald.status_due:
            station.herald.publish_status()
        if station.herald.hello_due:
            station.herald.send_hellos()
        deadline = station.machine.next_deadline()
        if deadline is not None and deadline < self._timer.deadline:
            self._timer.deadline = max(deadline, self._woke + self._slack_s())

    # --- time ----------------------------------------------------------------------------------------------

    async def _timers(self) -> None:
        station = self._station
        while True:
            deadline = station.machine.next_deadline()
            # With many virtual hosts a deadline is always near: those that fall into one slack are served together.
            wake = math.inf if deadline is None else max(deadline, self._woke + self._slack_s())
            with trio.CancelScope(deadline=wake) as self._timer:
                await trio.sleep_forever()
            self._woke = trio.current_time()
            self._live()
            # Drain before declaring anybody dead: what proves the opposite may be waiting in a socket.
            for port in station.all_ports():
                self._drain_port(port)
            station.perform(station.machine.tick(trio.current_time()))
            self._after()

    def _measure_shortest(self) -> None:
        vips = self._station.settings.vips
        self._shortest_s = min((FAST_S if vip.fast else vip.advbase + vip.advskew / 256 for vip in vips), default=1.0)

    def _slack_s(self) -> float:
        """How far apart timer wake-ups are at least: an eighth of the shortest heartbeat, at most `SLACK_S`."""
        return min(SLACK_S, self._shortest_s / 8)

    async def _beat(self) -> None:
        station = self._station
        greet = True
        while True:
            self._live()
            now = trio.current_time()
            if station.herald.peers.expire(now):
                station.herald.peers_changed(now)
            for name in station.herald.peers.silent():
                station.herald.raise_alarm(Trouble.PEER_LOST, now, source=name)
            station.herald.publish_alarms(station.herald.alarms.expire(now))
            station.herald.announce_again(now)
            station.pardon_senders(now)
            station.staging.beat(now)
            station.remove_lingering(now)
            self._keep_drop_rule()
            self._numbers.tell(station.hosts)
            if greet:
                if not all(port.up for port in station.all_ports()):
                    self._devices.resync()  # a report that went missing must not keep a link down for ever
                station.herald.send_hellos()
            greet = not greet
            self._after()
            await trio.sleep(BEAT_S)

    def _keep_drop_rule(self) -> None:
        """Without the rule other locks keep a BACKUP deaf; an nft that refuses must not take the heartbeat along."""
        try:
            if datapath.restore_drop_rule(self._station.kernel, self._station.vmacs.values()):
                self._ctx.log.warning("carp_drop_rule_restored")
            self._is_rule_refused = False
        except KernelError as error:
            if not self._is_rule_refused:
                self._ctx.log.error("carp_drop_rule_missing", error=error.message, hint=error.hint)
            self._is_rule_refused = True

    def _live(self) -> None:
        """Tell the guard that we run, unless it has already decided that we do not."""
        if self._station.ledger.fenced:
            raise GateClosedByGuard("the heartbeat process stood still; its guard has closed the gates")
        self._station.ledger.beat(time.monotonic())

    async def _watch_guard(self) -> None:
        while True:
            current, since = self._station.guard, trio.current_time()
            assert current is not None
            # A descriptor of our own: the guard's is closed when it is replaced, and then nothing would wake us.
            watched = os.dup(current.pidfd)
            try:
                await trio.lowlevel.wait_readable(watched)
            finally:
                os.close(watched)
            if current is self._station.guard:
                self._ctx.log.warning("carp_guard_died", pid=current.pid)
                current.reap()
                self._station.guard = None
                if trio.current_time() < since + GUARD_LIVES_S:
                    await trio.sleep(GUARD_LIVES_S)
                if self._station.guard is None:
                    self._station.renew_guard()

    # --- frames --------------------------------------------------------------------------------------------

    def _listen(self, port: Port, through: packet.PacketSocket) -> None:
        self._nursery.start_soon(self._receive, port, through)

    async def _receive(self, port: Port, through: packet.PacketSocket) -> None:
        while (fd := through.fileno()) >= 0:  # closed while this task was about to run, perhaps
            try:
                await trio.lowlevel.wait_readable(fd)
            except trio.ClosedResourceError:
                return
            self._live()
            self._drain(port, through)
            self._after()

    def _drain_port(self, port: Port) -> None:
        if port.sockets is not None:
            for through in port.sockets.all_packet():
                self._drain(port, through)

    def _drain(self, port: Port, through: packet.PacketSocket) -> None:
        sockets = port.sockets
        if sockets is None or through not in sockets.all_packet():
            return  # its device has gone, or is another one by now
        now = trio.current_time()
        for frame, _, _ in through.drain(DRAIN_MAX):
            if through is sockets.arp:
                reception.take_arp(self._station, port, frame, now)
            else:
                family = 4 if through is sockets.ipv4 else 6
                reception.take_frame(self._station, port, frame, family, now)

    # --- what others want ----------------------------------------------------------------------------------

    async def _demotions(self, asked: object) -> None:
        async for event in asked:  # type: ignore[attr-defined]
            if isinstance(event, Demotion):
                if is_own_reason(event.reason):
                    continue
                if event.weight:
                    self._station.reasons[event.reason] = event.weight
                else:
                    self._station.reasons.pop(event.reason, None)
            elif event.event_type == _RETRACTED_DEMOTION:
                self._station.reasons.pop(str(event.key[0]), None)
            self._after()

    async def _reload(self, config: object) -> None:
        assert isinstance(config, CarpSettings)
        self._config = config
        self._take_settings()

    def _take_keys(self) -> None:
        """The pairing gives other keys, or why it gives none."""
        station = self._station
        if station.paired.problem:
            self._ctx.log.warning("carp_keys", problem=station.paired.problem)
        self._take_settings()

    def _take_settings(self) -> None:
        """Put passwords into the configuration, and take it as a difference."""
        station = self._station
        config = station.paired.resolve(self._config, remembered_passwords(self._ctx.state_dir))
        station.left_out = len(self._config.vips) - len(config.vips)
        self._devices.change_ports(config)
        station.reconfigure(config, trio.current_time())
        self._measure_shortest()
        self._devices.change_sync(config)
        self._devices.resync()
        station.renew_guard()
        self._after()
