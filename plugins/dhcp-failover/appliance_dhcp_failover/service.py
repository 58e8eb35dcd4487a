"""The DHCP service: a pool per interface, replication between nodes, and what both mean for this node."""

from __future__ import annotations

import contextlib
import secrets
import time
from pathlib import Path
from typing import Any

import trio

from appliance.errors import RefusedError
from appliance.events import Health, PeerChanged, Request, RoleChanged, Status
from appliance.plugin import Context, Overflow, Started, Subscription
from appliance_dhcp_failover import report
from appliance_dhcp_failover.alarms import Alarms, judge
from appliance_dhcp_failover.control import KeaError
from appliance_dhcp_failover.events import FindLeases, GetDhcp, PoolChanged, ReleaseLease
from appliance_dhcp_failover.pool import Pool
from appliance_dhcp_failover.replicator import Replicator
from appliance_dhcp_failover.reporter import Reporter
from appliance_dhcp_failover.settings import PoolSettings, Settings

WATCH_S = 0.5
"""Between looks at what is told: alarms, status, demotion."""
CATCH_UP_S = 15.0
"""After its start a node is a worse candidate this long at most, until it has the leases of the others."""
FIRST_WORD_S = 5.0
"""After its start it waits this long for a word of the others."""
WEIGHT = 240
DOWN_WEIGHT = 100


async def run(ctx: Context, task_status: Started) -> None:
    """Run until told to stop; every Kea ends with it."""
    settings = ctx.config
    assert isinstance(settings, Settings)
    async with trio.open_nursery() as nursery:
        keeper = Keeper(ctx, nursery)
        with (
            ctx.subscribe(RoleChanged, overflow=Overflow.COALESCE) as roles,
            ctx.subscribe(PeerChanged, overflow=Overflow.COALESCE) as peers,
            ctx.serve(GetDhcp, keeper.get),
            ctx.serve(FindLeases, keeper.find),
            ctx.serve(ReleaseLease, keeper.release),
            ctx.on_reload(keeper.reload),
            keeper,
        ):
            keeper.adopt(settings)
            await nursery.start(keeper.replicator.run)
            nursery.start_soon(keeper.follow_roles, roles)
            nursery.start_soon(keeper.follow_peers, peers)
            nursery.start_soon(keeper.watch)
            task_status.started()
            await ctx.stopping.wait()
            nursery.cancel_scope.cancel(reason=f"{ctx.name} is stopping")


class Keeper:
    """Everything the service has. As a context manager it holds the node's demotions."""

    def __init__(self, ctx: Context, nursery: trio.Nursery) -> None:
        self._ctx, self._nursery = ctx, nursery
        self._settings = Settings(node=ctx.node.name)
        self._pools: dict[str, Pool] = {}
        self._scopes: dict[str, trio.CancelScope] = {}
        self._masters: dict[tuple[str, int], tuple[bool, str]] = {}
        self._alarms = Alarms(ctx.publish)
        self._reporter = Reporter(ctx.publish)
        self._stacks: dict[str, contextlib.ExitStack] = {}
        self._told: dict[str, PoolChanged] = {}
        self._status: Status | None = None
        self._begun = trio.current_time()
        self._has_caught_up = False
        self._password = secrets.token_urlsafe(24)
        self.replicator = Replicator(ctx, self._pools, secrets.token_hex(6))

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        for stack in self._stacks.values():
            stack.close()
        self._stacks.clear()

    # ------------------------------------------------------------------------------------ configuration

    async def reload(self, config: object) -> None:
        """Apply the difference: interfaces that are unchanged are not touched."""
        assert isinstance(config, Settings)
        await trio.lowlevel.checkpoint()
        self.adopt(config)

    def adopt(self, settings: Settings) -> None:
        """Take over a configuration."""
        self._settings = settings
        wanted = {pool.interface: pool for pool in settings.pools}
        for name in self._pools.keys() - wanted.keys():
            self._pools.pop(name)
            self._scopes.pop(name).cancel(reason="the interface is no longer served")
            self._told.pop(name, None)
            self._ctx.publish(PoolChanged(interface=name, state="gone", peer_state="off"))
        for name, each in wanted.items():
            if name not in self._pools:
                self._add(each)
            pool = self._pools[name]
            pool.follow(each)
            pool.set_master(*self._masters.get((name, each.vhid or 0), (False, "")))
        self.replicator.follow(settings.channel)
        self._tell()

    def _add(self, settings: PoolSettings) -> None:
        pool = Pool(
            self._ctx,
            settings,
            Path(self._ctx.state_dir) / settings.interface,
            password=self._password,
            share=self.replicator.share,
            changed=self._changed,
        )
        pool.granted, pool.released = self._reporter.granted, self._reporter.released
        scope = trio.CancelScope()
        self._pools[settings.interface], self._scopes[settings.interface] = pool, scope

        async def run_pool() -> None:
            with scope:
                await pool.run()

        self._nursery.start_soon(run_pool)

    # ------------------------------------------------------------------------------------ news

    async def follow_roles(self, roles: Subscription[RoleChanged]) -> None:
        """Who is MASTER."""
        async for role in roles:
            self._masters[role.interface, role.vhid] = (role.role.is_master, role.reason)
            pool = self._pools.get(role.interface)
            if pool is not None and pool.settings.vhid == role.vhid:
                pool.set_master(role.role.is_master, role.reason)

    async def follow_peers(self, peers: Subscription[PeerChanged]) -> None:
        """Who is alive."""
        async for peer in peers:
            if not peer.alive:
                self.replicator.lost(peer.peer)

    def _changed(self) -> None:
        self._tell()
        self.replicator.hurry()

    async def watch(self) -> None:
        """What time brings: alarms, demotion, summaries of events."""
        while True:
            await trio.sleep(WATCH_S)
            self._reporter.tick(trio.current_time())
            self._tell()

    def _tell(self) -> None:
        for name, pool in self._pools.items():
            told = PoolChanged(interface=name, state=str(pool.gate.state), peer_state=str(self.replicator.state(pool)))
            before = self._told.get(name)
            if before is None or before.peer_state != told.peer_state:
                pool.peer_since = time.time()
            if told != before:
                self._told[name] = told
                self._ctx.publish(told)
        self._alarms.follow(judge(self._pools, self.replicator))
        self._demote()
        worst = self._alarms.worst
        if worst is not None:
            status = Status(health=worst.health, summary=worst.what)
        else:
            summary = ", ".join(f"{name} {pool.gate.state}" for name, pool in self._pools.items())
            status = Status(health=Health.OK, summary=summary or "no interface is served")
        if status != self._status:
            self._status = status
            self._ctx.publish(status)

    def _demote(self) -> None:
        now = trio.current_time()
        wanted = {f"dhcp:{name}": DOWN_WEIGHT for name, pool in self._pools.items() if pool.gate.is_demoting(now)}
        if not self._has_caught_up and self._lacks_leases(now - self._begun):
            wanted["dhcp:leases"] = WEIGHT
        for reason in self._stacks.keys() - wanted.keys():
            self._stacks.pop(reason).close()
        for reason in wanted.keys() - self._stacks.keys():
            self._stacks[reason] = contextlib.ExitStack()
            self._stacks[reason].enter_context(self._ctx.demoted(reason, wanted[reason]))

    def _lacks_leases(self, age: float) -> bool:
        """Whether others may know of leases that this node has not got since its start, `age` seconds ago.

        Once it has them all it is never asked again: what it lacks later is what a slow peer has not taken in time,
        and no reason to hand over.
        """
        is_unsure = bool(self.replicator.links) and not self.replicator.is_heard and age < FIRST_WORD_S
        is_behind = self.replicator.is_behind or any(pool.is_catching_up for pool in self._pools.values())
        self._has_caught_up = self.replicator.is_heard and not is_behind
        return is_unsure or (is_behind and age < CATCH_UP_S)

    # ------------------------------------------------------------------------------------ requests

    async def get(self, asked: Request[dict[str, Any]]) -> dict[str, Any]:
        """`GetDhcp`."""
        assert isinstance(asked, GetDhcp)
        await trio.lowlevel.checkpoint()
        pools = [pool for name, pool in self._pools.items() if asked.interface in ("", name)]
        if asked.interface and not pools:
            raise RefusedError(
                f"{asked.interface} is not served", hint=f"Served are: {', '.join(self._pools) or 'none'}."
            )
        return report.document(self._settings, pools, self.replicator, leases=asked.leases)

    async def find(self, asked: Request[dict[str, Any]]) -> dict[str, Any]:
        """`FindLeases`."""
        assert isinstance(asked, FindLeases)
        await trio.lowlevel.checkpoint()
        return report.found(asked.text, list(self._pools.values()), self._settings.node)

    async def release(self, asked: Request[str]) -> str:
        """`ReleaseLease`."""
        assert isinstance(asked, ReleaseLease)
        for name, pool in self._pools.items():
            if pool.table.get(asked.address) is None:
                continue
            if not pool.gate.may_answer:
                raise RefusedError(
                    f"this node does not serve {name}: {pool.gate.reason}",
                    hint="Do it on the node that is MASTER there; 'appliance show carp' says which.",
                )
            try:
                await pool.release(asked.address)
            except KeaError as error:
                raise RefusedError(error.message, hint=error.hint) from None
            return f"{asked.address} on {name} is free; its client is not told and may ask for it again"
        raise RefusedError(f"there is no lease of {asked.address}", hint="'appliance show dhcp' lists all of them.")
