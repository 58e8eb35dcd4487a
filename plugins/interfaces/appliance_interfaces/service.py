"""The interfaces service: makes the kernel's network as configured, keeps it so, and tells about it.

Two things happen independently: link events become `LinkChanged` at once, and whatever may be drift is
looked at a moment later, when the burst is over. Nothing polls.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Iterable
from typing import Any

import trio

from appliance.events import (
    AddressesChanged,
    Alarm,
    Health,
    KernelEventsLost,
    LinkChanged,
    Request,
    Status,
)
from appliance.net import kernel as capabilities
from appliance.net.fastpath import (
    AddressEvent,
    Group,
    LinkEvent,
    Lost,
    NetconfEvent,
    Netlink,
    RouteChange,
    RouteEvent,
    SystemCallError,
)
from appliance.net.pace import CALM_S, RepairPace
from appliance.net.rtnl import Rtnl, RtnlMonitor
from appliance.plugin import Context, Started
from appliance_interfaces import kernel, memory, report, sysctls
from appliance_interfaces.events import GetInterfaces
from appliance_interfaces.plan import (
    ROUTE_PROTOCOL,
    Actual,
    Operation,
    Owned,
    Plan,
    Trouble,
    make_plan,
    owned_after,
)
from appliance_interfaces.settings import Settings, WantedInterface

ROUNDS_MAX = 5
"""VLAN made, device up, addresses, what they took along, routes: more rounds mean that somebody interferes."""

_GROUPS = (
    Group.LINK,
    Group.IPV4_IFADDR,
    Group.IPV6_IFADDR,
    Group.IPV4_ROUTE,
    Group.IPV6_ROUTE,
    Group.IPV4_NETCONF,
    Group.IPV6_NETCONF,
)
_TABLE_MAIN, _PROTOCOL_KERNEL = 254, 2
_NODE = -1
"""Instead of a device's index: the switch of the whole node (NETCONFA_IFINDEX_ALL of linux/netconf.h)."""
_ALREADY_SO = frozenset({errno.EEXIST, errno.EADDRNOTAVAIL, errno.ESRCH})
"""Somebody was quicker: the next round looks again."""


async def run(ctx: Context, task_status: Started) -> None:
    """Run until told to stop; addresses and routes then stay as they are."""
    capabilities.net_admin().require("configuring network interfaces")
    with Rtnl() as rtnl, Netlink() as fast, RtnlMonitor(*_GROUPS) as monitor:
        keeper = Keeper(ctx, rtnl, fast)
        await keeper.configure(_settings(ctx.config))
        with ctx.on_reload(keeper.reload), ctx.serve(GetInterfaces, keeper.answer):
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keeper.watch, monitor)
                nursery.start_soon(keeper.repair)
                await ctx.stopping.wait()
                nursery.cancel_scope.cancel(reason=f"{ctx.name} is stopping")


def _settings(config: object) -> Settings:
    assert isinstance(config, Settings)
    return config


class Keeper:
    """Keeps the kernel's network as configured."""

    def __init__(self, ctx: Context, rtnl: Rtnl, fast: Netlink) -> None:
        self._ctx, self._rtnl, self._fast = ctx, rtnl, fast
        self._settings = Settings()
        self._actual = Actual()
        self._lock = trio.Lock()
        self._dirty = trio.Event()
        self._seen_up: dict[str, int] = {}
        self._links: dict[str, LinkChanged] = {}
        self._addresses: dict[str, AddressesChanged] = {}
        self._troubles: list[Trouble] = []
        self._refused: dict[Operation, SystemCallError] = {}
        self._status: Status | None = None
        self._pace = RepairPace()
        self._repairs = ctx.metrics.counter("repairs", "Changes made by others that were repaired", ("device",))
        try:
            self._owned = memory.load(ctx.state_dir)
        except ValueError as error:
            # Worst case: an address of an earlier configuration stays until somebody removes it.
            ctx.log.warning("owned_addresses_forgotten", file=str(ctx.state_dir / memory.FILE_NAME), why=str(error))
            self._owned = Owned()

    # ------------------------------------------------------------------------------------ configuration

    async def configure(self, settings: Settings) -> None:
        """Start with a configuration; what does not work is told and does not keep the rest from working."""
        async with self._lock:
            self._settings = settings
            self._adjust_node()
            await self._reconcile()

    async def reload(self, config: object) -> None:
        """Apply the difference.

        Raises:
            SystemCallError: The kernel refused a part of it that it had not refused before.
        """
        settings = _settings(config)
        async with self._lock:
            before = {error.message for error in self._refused.values()}
            names = {wanted.name for wanted in settings.interfaces}
            gone = [wanted for wanted in self._settings.interfaces if wanted.name not in names]
            self._settings = settings
            self._adjust_node()
            await self._reconcile()
            for wanted in gone:
                self._publish_link(report.link_changed(wanted.name, wanted.device, None))
                self._publish_addresses(AddressesChanged(interface=wanted.name, device=wanted.device, addresses=()))
                del self._links[wanted.name], self._addresses[wanted.name]
            for error in self._refused.values():
                if error.message not in before:
                    raise error

    async def answer(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Fresh facts for `GetInterfaces`."""
        async with self._lock:
            return report.document(self._settings, await kernel.read(self._rtnl), self._troubles)

    def _adjust_node(self) -> list[str]:
        """Set the switches of the whole node; those that were otherwise."""
        changed, failed = sysctls.adjust(sysctls.NODE.items())
        for path in changed:
            self._ctx.log.info("sysctl_changed", path=path)
        for why in failed:
            self._ctx.log.error("sysctl_refused", why=why)
        return changed

    # ------------------------------------------------------------------------------------ reconciliation

    async def _reconcile(self, actual: Actual | None = None) -> None:
        """Make the kernel's network as configured; what the kernel refuses is remembered and told.

        Args:
            actual: What has just been read.
        """
        self._refused = {}
        plan = Plan()
        for _ in range(ROUNDS_MAX):
            actual = actual or await kernel.read(self._rtnl)
            self._note(actual)
            self._remember(actual)
            plan = make_plan(self._settings, actual, self._owned, self._seen_up)
            todo = [operation for operation in plan.operations if operation not in self._refused]
            if not todo:
                break
            for operation in todo:
                await self._execute(operation)
            actual = None
        self._tell([*plan.troubles, *self._refusals()])

    def _refusals(self) -> list[Trouble]:
        """One trouble for each interface that the kernel refused something for."""
        found: dict[str, list[SystemCallError]] = {}
        for operation, error in self._refused.items():
            found.setdefault(self._interface_of(operation.device), []).append(error)
        return [
            Trouble(
                interface=name,
                kind="refused",
                what=f"{name}: " + "; ".join(error.message for error in errors),
                fix=errors[0].hint,
            )
            for name, errors in found.items()
        ]

    def _note(self, actual: Actual) -> None:
        """Remember facts and set the switches of devices."""
        self._actual = actual
        ours = {device: actual.links[device] for device in self._devices() if device in actual.links}
        # Known by name and index: a device that comes back is a new one, and is set up again.
        self._seen_up = {
            device: link.index for device, link in ours.items() if link.up or self._seen_up.get(device) == link.index
        }
        for wanted in self._settings.interfaces:
            changed, failed = sysctls.adjust(sysctls.of_device(wanted.device).items())
            if changed:
                self._ctx.log.info("sysctls_changed", interface=wanted.name, paths=changed)
            for why in failed:
                self._ctx.log.error("sysctl_refused", interface=wanted.name, why=why)

    def _remember(self, actual: Actual) -> None:
        owned = owned_after(self._settings, actual, self._owned)
        if owned != self._owned:
            memory.save(self._ctx.state_dir, owned)
            self._owned = owned

    async def _execute(self, operation: Operation) -> None:
        what = kernel.describe(operation)
        try:
            await kernel.execute(self._rtnl, operation)
        except SystemCallError as error:
            if error.code not in _ALREADY_SO:
                self._refused[operation] = error
                self._ctx.log.error("change_refused", device=operation.device, change=what, why=error.message)
        else:
            self._ctx.log.info("changed", device=operation.device, change=what)

    def _interface_of(self, device: str) -> str:
        for wanted in self._settings.interfaces:
            if device == wanted.device or (wanted.vlan is not None and wanted.vlan.parent == device):
                return wanted.name
        return device

    # ------------------------------------------------------------------------------------ telling

    def _tell(self, troubles: list[Trouble]) -> None:
        for wanted in self._settings.interfaces:
            self._tell_link(wanted)
            self._publish_addresses(report.addresses_changed(wanted, self._actual))
        if self._pace.is_fight:
            what = "another program keeps undoing the configuration of network interfaces"
            fix = "Find it with `ip monitor` and stop it: NetworkManager, systemd-networkd, a DHCP client."
            troubles.append(Trouble(interface="all", kind="fight", what=what, fix=fix))
        self._tell_alarms(troubles)
        self._tell_status()

    def _tell_link(self, wanted: WantedInterface) -> None:
        # Asked anew (12 us): an event, or a list of devices, may be older than what was told last.
        self._publish_link(report.link_changed(wanted.name, wanted.device, self._fast.link(wanted.device)))

    def _publish_link(self, event: LinkChanged) -> None:
        if self._links.get(event.interface) != event:
            self._links[event.interface] = event
            self._ctx.publish(event)

    def _publish_addresses(self, event: AddressesChanged) -> None:
        if self._addresses.get(event.interface) != event:
            self._addresses[event.interface] = event
            self._ctx.publish(event)

    def _tell_alarms(self, troubles: list[Trouble]) -> None:
        before, now = _by_key(self._troubles), _by_key(troubles)
        self._troubles = troubles
        for key, trouble in now.items():
            if before.get(key) != trouble:
                self._ctx.publish(Alarm(key=key, health=Health.FAIL, what=trouble.what, fix=trouble.fix))
        for key in before.keys() - now.keys():
            gone = before[key]
            self._ctx.publish(Alarm(key=key, active=False, health=Health.FAIL, what=gone.what, fix=gone.fix))

    def _tell_status(self) -> None:
        status = report.status(self._settings, self._actual, self._troubles)
        if status != self._status:
            self._status = status
            self._ctx.publish(status)

    # ------------------------------------------------------------------------------------ drift

    async def watch(self, monitor: RtnlMonitor) -> None:
        """Tell about links at once, and have a look at whatever may be drift."""
        while True:
            for event in await monitor.receive():
                if isinstance(event, Lost):
                    self._ctx.publish(KernelEventsLost(family="route"))
                if isinstance(event, LinkEvent):
                    for device in self._on_link(event):
                        await self._meet_anew(device)
                if self._may_be_drift(event):
                    self._dirty.set()

    def _on_link(self, event: LinkEvent) -> list[str]:
        """Tell about a link; the devices that can carry frames again."""
        if event.deleted:  # whoever comes in its place, even with its index, has never been up
            self._seen_up.pop(event.link.name, None)
        risen = []
        for wanted in self._settings.interfaces:
            link = self._actual.links.get(wanted.device)
            # By index, too: a device that was renamed away is gone for us.
            if event.link.name == wanted.device or (link is not None and event.link.index == link.index):
                before = self._links.get(wanted.name)
                self._tell_link(wanted)
                if self._links[wanted.name].up and before is not None and not before.up:
                    risen.append(wanted.device)
        return risen

    async def _meet_anew(self, device: str) -> None:
        """Whoever was asked for in vain while the link was down is asked for again with the next packet."""
        link = self._fast.link(device)
        try:
            if link is not None and await self._rtnl.forget_unresolved(link.index):
                self._ctx.log.info("neighbours_asked_anew", device=device)
        except SystemCallError as error:  # a second of waiting, at worst
            self._ctx.log.warning("neighbours_not_asked_anew", device=device, why=error.message)

    def _may_be_drift(self, event: RouteEvent) -> bool:
        if isinstance(event, Lost):
            return True
        if isinstance(event, LinkEvent):
            return event.link.name in self._devices() or event.link.index in self._indexes()
        if isinstance(event, AddressEvent):
            return event.address.index in self._indexes()
        if isinstance(event, RouteChange) and event.table == _TABLE_MAIN:
            return event.protocol != _PROTOCOL_KERNEL and (event.protocol == ROUTE_PROTOCOL) == event.deleted
        if isinstance(event, NetconfEvent):
            return event.index == _NODE and event.forwarding is False
        return False

    def _devices(self) -> set[str]:
        parents = {wanted.vlan.parent for wanted in self._settings.interfaces if wanted.vlan is not None}
        return parents | {wanted.device for wanted in self._settings.interfaces}

    def _indexes(self) -> set[int]:
        links = (self._actual.links.get(device) for device in self._devices())
        return {link.index for link in links if link is not None}

    async def repair(self) -> None:
        """Look at what has changed once the burst is over, and put it right."""
        while True:
            # After a fight, have a look when it should be over, to take the alarm back.
            with trio.move_on_after(CALM_S if self._pace.is_fight else math.inf):
                await self._dirty.wait()
            await trio.sleep(self._pace.delay_s(trio.current_time()))
            self._dirty = trio.Event()
            async with self._lock:
                await self._repair_now()

    async def _repair_now(self) -> None:
        actual = await kernel.read(self._rtnl)
        plan = make_plan(self._settings, actual, self._owned, self._seen_up)
        todo = [operation for operation in plan.operations if operation not in self._refused]
        drifted = _drifted(todo, self._actual, actual)
        for device in drifted:
            self._repairs.inc(device=device)
        if switched := self._adjust_node():
            self._repairs.inc(device="all")
        if drifted or switched:
            self._ctx.log.warning("drift_repaired", devices=sorted(set(drifted)), switches=switched)
            self._pace.repaired(trio.current_time())
        # With what was judged: a change that comes only now makes an event of its own, and is told and counted.
        await self._reconcile(actual)


def _drifted(operations: Iterable[Operation], before: Actual, now: Actual) -> list[str]:
    """Devices of operations that undo somebody's change.

    A device that has just appeared, or has come up again, has lost its addresses and routes by that.
    """
    known = {name: (link.index, link.up) for name, link in before.links.items()}
    found: list[str] = []
    for operation in operations:
        link = now.links.get(operation.device)
        if link is not None and known.get(operation.device) == (link.index, link.up):
            found.append(operation.device)
    return found


def _by_key(troubles: Iterable[Trouble]) -> dict[str, Trouble]:
    return {f"interfaces/{trouble.interface}/{trouble.kind}": trouble for trouble in troubles}
