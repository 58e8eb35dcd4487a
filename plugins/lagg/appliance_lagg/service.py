"""The lagg service: makes the kernel's bonds as configured, keeps them so, and tells what members do."""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Iterable
from typing import Any

import trio

from appliance.events import Alarm, KernelEventsLost, Request, Status
from appliance.net import kernel as capabilities
from appliance.net.bonding import Bonding
from appliance.net.fastpath import Group, LinkEvent, Lost, RouteEvent, SystemCallError
from appliance.net.pace import CALM_S, RepairPace
from appliance.net.rtnl import Rtnl, RtnlMonitor
from appliance.plugin import Context, Started
from appliance_lagg import kernel, report
from appliance_lagg.events import GetLaggs, MemberDown
from appliance_lagg.neighbours import Neighbours
from appliance_lagg.plan import Operation, Plan, Rebuild, Trouble, make_plan
from appliance_lagg.settings import Settings
from appliance_lagg.states import LaggState, changes, state_of

ROUNDS_MAX = 5
"""Made, members, primary, MTU of VLANs: more rounds mean that somebody interferes."""
SETTLE_S = 0.02
"""Members of one bond change together: wait for the end of a burst."""
LACP_LOOK_S = 2.0
"""The kernel is silent about a change of the partner, so aggregations with LACP are looked at this often."""

_ALREADY_SO = frozenset({errno.EEXIST, errno.ENODEV})
"""Somebody was quicker: the next round looks again."""


async def run(ctx: Context, task_status: Started) -> None:
    """Run until told to stop; bonds then stay as they are, so that a restart cuts no connection."""
    capabilities.net_admin().require("link aggregation")
    if _settings(ctx.config).laggs:
        capabilities.link_kind("bond").require("link aggregation")
    with Rtnl() as rtnl, RtnlMonitor(Group.LINK) as monitor, Neighbours() as neighbours:
        keeper = Keeper(ctx, rtnl, neighbours)
        await keeper.configure(_settings(ctx.config))
        with ctx.on_reload(keeper.reload), ctx.serve(GetLaggs, keeper.answer):
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(keeper.watch, monitor)
                nursery.start_soon(keeper.look)
                nursery.start_soon(neighbours.listen)
                await ctx.stopping.wait()
                nursery.cancel_scope.cancel(reason=f"{ctx.name} is stopping")


def _settings(config: object) -> Settings:
    assert isinstance(config, Settings)
    return config


class Keeper:
    """Keeps the kernel's bonds as configured."""

    def __init__(self, ctx: Context, rtnl: Rtnl, neighbours: Neighbours) -> None:
        self._ctx, self._rtnl, self._neighbours = ctx, rtnl, neighbours
        self._settings = Settings()
        self._actual = Bonding()
        self._lock = trio.Lock()
        self._dirty = trio.Event()
        self._pace, self._repaired_at = RepairPace(), -math.inf
        self._repair_due: float | None = None
        self._seen_up: dict[str, int] = {}
        self._states: dict[str, LaggState] = {}
        self._troubles: list[Trouble] = []
        self._refused: dict[Operation, SystemCallError] = {}
        self._status: Status | None = None
        self._losses = ctx.metrics.counter(
            "member_losses", "Members that were up and no longer are", ("lagg", "member")
        )
        self._up = ctx.metrics.gauge("members_up", "Members with a link", ("lagg",))

    # ------------------------------------------------------------------------------------ configuration

    async def configure(self, settings: Settings) -> None:
        """Start with a configuration; what does not work is told and does not keep the rest from working."""
        async with self._lock:
            self._settings = settings
            await self._reconcile()

    async def reload(self, config: object) -> None:
        """Apply the difference.

        Raises:
            SystemCallError: The kernel refused a part of it that it had not refused before.
        """
        async with self._lock:
            before = {error.message for error in self._refused.values()}
            self._settings = _settings(config)
            await self._reconcile()
            for error in self._refused.values():
                if error.message not in before:
                    raise error

    async def answer(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """Fresh facts for `GetLaggs`."""
        async with self._lock:
            actual = await self._rtnl.bonding()
            return report.document(self._settings, actual, self._facts(), self._troubles)

    def _facts(self) -> report.Facts:
        members = [member for wanted in self._settings.laggs for member in wanted.members]
        churn: dict[str, kernel.Churn] = {}
        for wanted in self._settings.laggs:
            churn |= kernel.churn(wanted.name) if wanted.is_lacp else {}
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            speed = {member: kernel.speed(sock, member) for member in members}
        now = trio.current_time()
        return report.Facts(
            churn=churn, speed=speed, neighbours={member: self._neighbours.of(member, now) for member in members}
        )

    # ------------------------------------------------------------------------------------ reconciliation

    async def _reconcile(self) -> None:
        """Make the bonds as configured; what the kernel refuses is remembered and told."""
        self._refused = {}
        plan = Plan()
        for _ in range(ROUNDS_MAX):
            plan = await self._look()
            todo = [operation for operation in plan.operations if operation not in self._refused]
            if not todo:
                break
            for operation in todo:
                await self._execute(operation)
        self._tell(plan)

    async def _look(self) -> Plan:
        self._note(await self._rtnl.bonding())
        return make_plan(self._settings, self._actual, self._seen_up)

    async def _execute(self, operation: Operation) -> None:
        what = kernel.describe(operation)
        if isinstance(operation, Rebuild):
            self._ctx.log.warning("taken_down_for_a_moment", lagg=operation.lagg, why="the kernel changes it only then")
        try:
            await kernel.execute(self._rtnl, operation)
        except SystemCallError as error:
            if error.code not in _ALREADY_SO:
                self._refused[operation] = error
                self._ctx.log.error("change_refused", lagg=operation.lagg, change=what, why=error.message)
        else:
            self._ctx.log.info("changed", lagg=operation.lagg, change=what)

    def _note(self, actual: Bonding) -> None:
        """Remember facts, and tell what members have done."""
        self._actual = actual
        links = actual.links
        now = {wanted.name: state_of(wanted, actual) for wanted in self._settings.laggs}
        for name in {*self._states, *now}:
            for event in changes(name, self._states.get(name, LaggState()), now.get(name, LaggState())):
                self._ctx.publish(event)
                if isinstance(event, MemberDown):
                    self._losses.inc(lagg=name, member=event.member)
                    self._ctx.log.warning("member_down", lagg=name, member=event.member, reason=event.reason)
        for name, state in now.items():
            self._up.set(len(state.up), lagg=name)
        self._states = now
        # Known by name and index: a device that comes back is a new one, and is set up again.
        self._seen_up = {
            name: links[name].index
            for name in now
            if name in links and (links[name].up or self._seen_up.get(name) == links[name].index)
        }
        members = {member for wanted in self._settings.laggs for member in wanted.members}
        self._neighbours.watch({name: links[name].index for name in members if name in links})

    # ------------------------------------------------------------------------------------ telling

    def _tell(self, plan: Plan) -> None:
        found = [*plan.troubles, *self._refusals()]
        for wanted in self._settings.laggs:
            found += report.troubles(wanted, self._states[wanted.name], self._actual)
        if self._pace.is_fight:
            what = "another program keeps undoing the configuration of link aggregations"
            fix = "Find it with `ip monitor link` and stop it: NetworkManager, systemd-networkd, ifupdown."
            found.append(Trouble(lagg="all", kind="fight", what=what, fix=fix))
        before, now = _by_key(self._troubles), _by_key(found)
        self._troubles = found
        for key, trouble in now.items():
            if before.get(key) != trouble:
                self._alarm(key, trouble, active=True)
        for key in before.keys() - now.keys():
            self._alarm(key, before[key], active=False)
        status = report.status(self._settings, found)
        if status != self._status:
            self._status = status
            self._ctx.publish(status)

    def _alarm(self, key: str, trouble: Trouble, *, active: bool) -> None:
        health = report.health([trouble])
        self._ctx.publish(Alarm(key=key, active=active, health=health, what=trouble.what, fix=trouble.fix))

    def _refusals(self) -> list[Trouble]:
        return [
            Trouble(lagg=operation.lagg, kind="refused", what=f"{operation.lagg}: {error.message}", fix=error.hint)
            for operation, error in self._refused.items()
        ]

    # ------------------------------------------------------------------------------------ drift

    async def watch(self, monitor: RtnlMonitor) -> None:
        """Have a look whenever something happens to an aggregation, its members or its VLANs."""
        while True:
            for event in await monitor.receive():
                if isinstance(event, Lost):
                    self._ctx.publish(KernelEventsLost(family="route"))
                if self._concerns_us(event):
                    self._dirty.set()

    def _concerns_us(self, event: RouteEvent) -> bool:
        if not isinstance(event, LinkEvent):
            return isinstance(event, Lost)
        link = event.link
        names = {name for wanted in self._settings.laggs for name in (wanted.name, *wanted.members)}
        indexes = {self._actual.links[name].index for name in names if name in self._actual.links}
        is_on_top = link.kind == "vlan" and link.parent_index in indexes
        return link.name in names or link.index in indexes or is_on_top

    async def look(self) -> None:
        """Tell at once what has happened, and put right what somebody else has changed."""
        while True:
            with trio.move_on_after(self._patience_s()):
                await self._dirty.wait()
                await trio.sleep(SETTLE_S)
            self._dirty = trio.Event()
            async with self._lock:
                await self._repair()

    def _patience_s(self) -> float:
        has_lacp = any(wanted.is_lacp for wanted in self._settings.laggs)
        patience_s = LACP_LOOK_S if has_lacp else math.inf
        if self._repair_due is not None:
            patience_s = min(patience_s, max(0.0, self._repair_due - trio.current_time()))
        # After a fight, have a look when it should be over, to take the alarm back.
        return min(patience_s, CALM_S) if self._pace.is_fight else patience_s

    async def _repair(self) -> None:
        plan = await self._look()
        todo = [operation for operation in plan.operations if operation not in self._refused]
        now = trio.current_time()
        due = self._repaired_at + self._pace.delay_s(now)
        self._repair_due = due if todo and now < due else None
        if not todo or self._repair_due is not None:
            self._tell(plan)
            return
        self._pace.repaired(now)
        self._repaired_at = now
        self._ctx.log.warning("drift_repaired", laggs=sorted({operation.lagg for operation in todo}))
        await self._reconcile()


def _by_key(troubles: Iterable[Trouble]) -> dict[str, Trouble]:
    return {f"lagg/{trouble.lagg}/{trouble.kind}": trouble for trouble in troubles}
