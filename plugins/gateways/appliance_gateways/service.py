"""The gateways service: probes, and what follows from them for maps, routes, connections and this node's demotion.

Verdicts come from the probers and are told at once; maps and routes are brought in line by one task, so that no two
changes overlap. Nothing polls the kernel: what others remove is noticed by notifications.
"""

from __future__ import annotations

import contextlib
import math
import time
from typing import Any, NamedTuple

import trio

from appliance.errors import KernelError
from appliance.events import (
    AddressesChanged,
    Event,
    Health,
    LinkChanged,
    PeerChanged,
    Request,
    Retracted,
    Role,
    RoleChanged,
    RulesetLoaded,
    Status,
)
from appliance.net import kernel as capabilities
from appliance.net import nft
from appliance.plugin import Context, Overflow, Started, Subscription
from appliance.plugin.ruleset import TABLE
from appliance_gateways import groups, kernel, report, routing
from appliance_gateways.alarms import Alarms
from appliance_gateways.demotion import demotions
from appliance_gateways.events import GatewayChanged, GetGateways
from appliance_gateways.monitor import Reading
from appliance_gateways.monitor import Status as GatewayStatus
from appliance_gateways.prober import Prober
from appliance_gateways.settings import GatewaySettings, Settings

SETTLE_S = 0.05
"""Changes come in bursts, such as a device that takes all its routes along."""
AGAIN_S = (1.0, 2.0, 5.0, 15.0, 60.0)
"""When what the kernel refused is tried again; the last for ever."""

Maps = dict[str, tuple[int, ...]]
"""The number of the gateway of each slot, by name of the map; none: no member is usable."""

_PEER = f"{PeerChanged.__module__}:{PeerChanged.__qualname__}"


async def run(ctx: Context, task_status: Started) -> None:
    """Run until told to stop; rules and routes are then removed."""
    capabilities.net_admin().require("routing by gateway")
    with kernel.Router() as router, kernel.Watch() as watch:
        keeper = Keeper(ctx, router)
        async with trio.open_nursery() as nursery:
            with (
                ctx.subscribe(
                    LinkChanged, AddressesChanged, RulesetLoaded, RoleChanged, overflow=Overflow.COALESCE
                ) as facts,
                ctx.subscribe(PeerChanged, Retracted, capacity=1024) as peers,
                ctx.serve(GetGateways, keeper.answer),
                ctx.on_reload(keeper.reload),
                keeper,
            ):
                keeper.configure(_settings(ctx.config), nursery)
                await keeper.apply()
                task_status.started()
                nursery.start_soon(keeper.follow_facts, facts)
                nursery.start_soon(keeper.follow_peers, peers)
                nursery.start_soon(keeper.follow_kernel, watch)
                nursery.start_soon(keeper.keep_applied)
                await ctx.stopping.wait()
                nursery.cancel_scope.cancel(reason=f"{ctx.name} is stopping")
        for why in router.make(()):
            ctx.log.warning("not_removed", what=why)


class _Held(NamedTuple):
    """A demotion of this node."""

    weight: int
    stack: contextlib.ExitStack


def _settings(config: object) -> Settings:
    assert isinstance(config, Settings)
    return config


class Keeper:
    """Everything the service knows and keeps in line. As a context manager it holds the node's demotions."""

    def __init__(self, ctx: Context, router: kernel.Router) -> None:
        self._ctx, self._router = ctx, router
        self._settings = Settings()
        self._alarms = Alarms(ctx.publish)
        self._probers: dict[str, tuple[Prober, trio.CancelScope]] = {}
        self._nursery: trio.Nursery | None = None
        self._told: dict[str, GatewayStatus] = {}
        self._since: dict[str, float] = {}
        self._links: dict[str, bool] = {}
        self._roles: dict[tuple[str, int], Role] = {}
        self._peers: dict[str, int] = {}
        self._demoting: dict[str, _Held] = {}
        self._defaults: dict[int, str] = {}
        self._is_loaded = False
        self._filled: Maps = {}
        self._considered: tuple[Maps, dict[int, str]] = {}, {}
        self._to_end: set[int] = set()
        self._dirty = trio.Event()
        self._lock = trio.Lock()
        self._attempts = 0
        self._status: Status | None = None
        self._loss = ctx.metrics.gauge("loss_percent", "Lost probes of the window", ("gateway",))
        self._latency = ctx.metrics.gauge("latency_ms", "Average round trip", ("gateway",))
        self._up = ctx.metrics.gauge("up", "1 unless the gateway is down", ("gateway",))

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        for held in self._demoting.values():
            held.stack.close()
        self._demoting.clear()

    # ------------------------------------------------------------------------------------ configuration

    def configure(self, settings: Settings, nursery: trio.Nursery) -> None:
        """Start with a configuration."""
        self._nursery = nursery
        self._adopt(settings)

    async def reload(self, config: object) -> None:
        """Apply the difference; gateways that are unchanged keep their history."""
        self._adopt(_settings(config))
        await self.apply()

    def _adopt(self, settings: Settings) -> None:
        self._settings = settings
        names = {each.name for each in settings.gateways}
        for name in self._probers.keys() - names:
            _prober, scope = self._probers.pop(name)
            scope.cancel(reason="the gateway is no longer configured")
            self._told.pop(name, None)
            self._ctx.publish(GatewayChanged(name=name, status="gone"))
        for gateway in settings.gateways:
            if gateway.name in self._probers:
                self._probers[gateway.name][0].follow(gateway)
            else:
                self._start(gateway)
            prober = self._probers[gateway.name][0]
            prober.link(up=self._links.get(gateway.interface, True))
            self._tell_role(prober)
        empty = {f"{group.name}/empty" for group in settings.groups}
        self._alarms.keep({"kernel"} | empty | {f"{name}/down" for name in names})
        self._reconsider()

    def _start(self, gateway: GatewaySettings) -> None:
        assert self._nursery is not None
        # 16 bits tell probers of this node apart, 64 those of other programs and nodes.
        prober = Prober(
            gateway,
            identifier=self._ctx.random.randrange(1, 0x10000),
            cookie=self._ctx.random.randbytes(8),
            changed=lambda: self._measured(gateway.name),
        )
        scope = trio.CancelScope()
        self._probers[gateway.name] = prober, scope
        self._nursery.start_soon(self._run_prober, prober, scope)
        self._measured(gateway.name)

    async def _run_prober(self, prober: Prober, scope: trio.CancelScope) -> None:
        with scope:
            await prober.run()

    def _tell_role(self, prober: Prober) -> None:
        target = prober.settings.target
        if target is not None and target.vhid is not None:
            role = self._roles.get((prober.settings.interface, target.vhid))
            prober.role(is_master=role is Role.MASTER)

    # ------------------------------------------------------------------------------------ verdicts

    @property
    def _readings(self) -> dict[str, Reading]:
        return {name: prober.reading for name, (prober, _scope) in self._probers.items()}

    def _measured(self, name: str) -> None:
        """A prober may know something new."""
        found = self._probers.get(name)
        if found is None:
            return  # it is being made
        reading = found[0].reading
        self._up.set(float(reading.status is not GatewayStatus.DOWN), gateway=name)
        self._loss.set(reading.loss or 0.0, gateway=name)
        self._latency.set(reading.latency_ms or 0.0, gateway=name)
        if self._told.get(name) is not reading.status:
            self._changed(name, found[0], reading)
        # A group may look at loss or latency of a gateway that is not down: compare what would follow.
        consider = self._wanted_maps(), self._choose_defaults()
        if consider != self._considered:
            self._considered = consider
            self._reconsider()

    def _changed(self, name: str, prober: Prober, reading: Reading) -> None:
        before, now = self._told.get(name), reading.status
        self._told[name], self._since[name] = now, time.time()
        self._ctx.publish(GatewayChanged(name=name, status=str(now), loss=reading.loss, latency=reading.latency_ms))
        self._ctx.log.info(
            "gateway_changed", gateway=name, was=str(before), status=str(now), loss=reading.loss, why=prober.reason
        )
        if now is GatewayStatus.DOWN:
            what = f"the gateway {name} is down" + (f": {prober.reason}" if prober.reason else "")
            fix = "Look at 'appliance show gateways' on the other node, too: if it is up there, check cable and switch."
            self._alarms.set(f"{name}/down", what, fix, health=Health.FAIL)
            if self._settings.kill_states and before is not None:
                self._to_end.add(prober.settings.number)
        else:
            self._alarms.clear(f"{name}/down")
            self._to_end.discard(prober.settings.number)
        self._reconsider()

    def _reconsider(self) -> None:
        """Everything that follows from verdicts and peers."""
        self._demote()
        for group in self._settings.groups:
            tier, _live = groups.live_members(group, self._readings)
            if tier is None:
                what = f"no gateway of the group {group.name} is usable; its connections take the default route"
                fix = "Bring one of its gateways up: 'appliance show gateways' says what is wrong with each."
                self._alarms.set(f"{group.name}/empty", what, fix, health=Health.FAIL)
            else:
                self._alarms.clear(f"{group.name}/empty")
        self._tell_status()
        self._dirty.set()

    def _demote(self) -> None:
        down = {
            each.name: each.demote
            for each in self._settings.gateways
            if self._told.get(each.name) is GatewayStatus.DOWN
        }
        wanted = demotions(down, self._demoting, self._peers)
        for name, held in list(self._demoting.items()):
            if name not in wanted or held.weight != down[name]:
                del self._demoting[name]
                held.stack.close()
                self._ctx.log.info("demotion_ended", gateway=name)
        for name in sorted(wanted - self._demoting.keys()):
            stack = contextlib.ExitStack()
            stack.enter_context(self._ctx.demoted(f"gateway:{name}", down[name]))
            self._demoting[name] = _Held(down[name], stack)
            self._ctx.log.warning("demoted", gateway=name, weight=down[name])

    def _tell_status(self) -> None:
        worst = self._alarms.worst
        if worst is not None:
            status = Status(health=worst.health, summary=worst.what)
        else:
            poor = [name for name, told in self._told.items() if told in (GatewayStatus.LOSS, GatewayStatus.LATENCY)]
            summary = ", ".join(f"{name} {told}" for name, told in self._told.items()) or "no gateways"
            status = Status(health=Health.WARN if poor else Health.OK, summary=summary)
        if status != self._status:
            self._status = status
            self._ctx.publish(status)

    async def answer(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """`GetGateways`."""
        assert isinstance(request, GetGateways)
        await trio.lowlevel.checkpoint()
        seen = {
            name: report.Seen(
                reading=prober.reading,
                reason=prober.reason,
                error=prober.last_error,
                since=self._since[name],
                is_demoting=name in self._demoting,
            )
            for name, (prober, _scope) in self._probers.items()
        }
        return report.document(self._settings, seen, self._defaults, self._alarms.troubles("kernel"))

    # ------------------------------------------------------------------------------------ the kernel

    def _wanted_maps(self) -> Maps:
        numbers = {each.name: each.number for each in self._settings.gateways}
        readings = self._readings
        return {
            group.map_name: tuple(numbers[name] for name in groups.slots(group, readings))
            for group in self._settings.groups
        }

    def _choose_defaults(self) -> dict[int, str]:
        chosen = {}
        for version in (4, 6):
            group = self._settings.group(self._settings.default(version))
            best = groups.best(group, self._readings) if group is not None else None
            name = routing.choose_default(self._settings, version, best, self._defaults.get(version))
            if name is not None:
                chosen[version] = name
        return chosen

    async def apply(self) -> None:
        """Bring routes and maps in line, then end connections of gateways that died."""
        async with self._lock:
            self._dirty = trio.Event()
            troubles = self._apply_routes()
            troubles += await self._apply_maps()
            troubles += await self._end_connections()
            self._attempts = self._attempts + 1 if troubles else 0
            # Once may be a moment in the middle of a reload, when the ruleset is not the one that belongs to it.
            if self._attempts > 1:
                what = "; ".join(dict.fromkeys(troubles))
                fix = (
                    "It is tried again; `ip rule`, `ip route show table all proto 74` and `nft list ruleset` show more."
                )
                self._alarms.set("kernel", what, fix, health=Health.FAIL)
            elif not troubles:
                self._alarms.clear("kernel")
            for trouble in troubles:
                self._ctx.log.warning("kernel_refused", what=trouble)
            self._tell_status()

    def _apply_routes(self) -> list[str]:
        self._defaults = self._choose_defaults()
        devices = {each.device for each in self._settings.gateways}
        troubles = [why for why in map(kernel.accept_asymmetry, sorted(devices)) if why]
        indexes = self._router.indexes(devices)
        return troubles + self._router.make(routing.wanted(self._settings, indexes, self._defaults))

    async def _apply_maps(self) -> list[str]:
        if not self._is_loaded:
            return []  # the maps come with the ruleset
        wanted = self._wanted_maps()
        todo = {name: marks for name, marks in wanted.items() if self._filled.get(name) != marks}
        if not todo:
            self._filled = wanted
            return []
        try:
            await nft.apply(refill(todo))
        except KernelError as error:
            return [f"the maps of groups cannot be filled: {error.message}"]
        self._filled = wanted
        return []

    async def _end_connections(self) -> list[str]:
        """Of gateways that died; a node that carries none of them leaves them to the one that does."""
        troubles: list[str] = []
        if self._roles and Role.MASTER not in self._roles.values():
            return troubles
        for number in sorted(self._to_end):
            try:
                # The kernel walks through its whole table, which can take a tenth of a second.
                await trio.to_thread.run_sync(kernel.end_connections, number)
            except KernelError as error:
                troubles.append(error.message)
            else:
                self._ctx.log.info("connections_ended", number=number)
                self._to_end.discard(number)
        return troubles

    async def keep_applied(self) -> None:
        """Apply whatever has changed, and again what was refused."""
        while True:
            again_s = AGAIN_S[min(self._attempts, len(AGAIN_S)) - 1] if self._attempts else math.inf
            with trio.move_on_after(again_s):
                await self._dirty.wait()
            await self.apply()
            await trio.sleep(SETTLE_S)

    # ------------------------------------------------------------------------------------ what others say

    async def follow_facts(self, facts: Subscription[Event]) -> None:
        """Links, addresses, roles, and the ruleset."""
        async for fact in facts:
            match fact:
                case LinkChanged(interface=interface, up=up):
                    self._links[interface] = up
                    for prober in self._on(interface):
                        prober.link(up=up)
                case RoleChanged(interface=interface, vhid=vhid, role=role):
                    self._roles[interface, vhid] = role
                    for prober in self._on(interface):
                        self._tell_role(prober)
                case RulesetLoaded():
                    self._is_loaded, self._filled = True, {}
                case _:
                    pass
            self._dirty.set()

    def _on(self, interface: str) -> list[Prober]:
        return [prober for prober, _scope in self._probers.values() if prober.settings.interface == interface]

    async def follow_peers(self, peers: Subscription[Event]) -> None:
        """Who could take over."""
        async for fact in peers:
            match fact:
                case PeerChanged(peer=peer, alive=True, demotion=demotion):
                    self._peers[peer] = demotion
                case PeerChanged(peer=peer):
                    self._peers.pop(peer, None)
                case Retracted(event_type=kind, key=(str() as peer,)) if kind == _PEER:
                    self._peers.pop(peer, None)
                case _:
                    continue
            self._demote()

    async def follow_kernel(self, watch: kernel.Watch) -> None:
        """Rules and routes that others remove are put back."""
        while True:
            await watch.removed()
            self._dirty.set()
            # A fight with another program costs two repairs a second at most.
            await trio.sleep(0.5)


def refill(maps: Maps) -> dict[str, object]:
    """The transaction that gives maps other contents: at no moment is one of them empty."""
    commands: list[object] = []
    for name, marks in maps.items():
        where = {"family": "inet", "table": TABLE, "name": name}
        commands.append({"flush": {"map": where}})
        if marks:
            elements = [[slot, mark] for slot, mark in enumerate(marks)]
            commands.append({"add": {"element": {**where, "elem": elements}}})
    return {"nftables": commands}
