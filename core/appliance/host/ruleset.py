"""The node's nftables table: composed of what all plugins contribute, loaded, watched and counted.

It is a service like any other, so that a ruleset the kernel refuses refuses the whole change. Before the first load
of a node that has none in force nothing is forwarded; an orderly stop leaves the rules where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import TYPE_CHECKING

import trio

from appliance.config import Config, Model, ProvidesInterfaces, ProvidesVirtualHosts
from appliance.config.positions import locate
from appliance.config.redact import redact
from appliance.config.report import Report
from appliance.errors import ApplianceError, ConfigError, KernelError, Problem
from appliance.events import (
    Alarm,
    Count,
    GetCounters,
    GetRuleset,
    Health,
    NodeStarted,
    NodeStopping,
    Request,
    RulesetLoaded,
)
from appliance.net import nft
from appliance.net.nftset import NetfilterSocket
from appliance.net.ruleset import MARKER, Composer, Ruleset, Transaction, base_chain, transaction
from appliance.plugin.contributions import CrashPolicy, Service
from appliance.plugin.ruleset import TABLE, Fragment, Hook, Hooked, Rule, Set, Stage

if TYPE_CHECKING:
    from appliance.plugin.context import Context, Started

KEY = "ruleset"
CAPABILITY = "ruleset"
DEMOTION = 240
WATCH_S = 1.0
"""Between two looks whether somebody's ``flush ruleset`` took the rules away."""
LOAD_S = 18.0
"""50,000 rules take 2 to 3 s; the whole reload has 20."""
ALARM = "ruleset"
_CLOSED = f"""
table inet {TABLE} {{
    chain {base_chain(Hook.FORWARD)} {{
        type filter hook forward priority filter; policy drop;
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the service is told."""

    ruleset: Ruleset
    closed: str | None
    """Why rules are missing: nothing is forwarded then, and nothing new comes in from a WAN."""
    report: Callable[[], Report] = field(compare=False)
    """Names places in the configuration it was made of."""


def service(
    config: Config,
    fragments: Sequence[tuple[str, Fragment]],
    models: Mapping[str, type[Model]],
    *,
    closed: str | None = None,
    composer: Composer | None = None,
) -> Service | None:
    """The service that keeps these fragments in the kernel; none when there is nothing to keep.

    Args:
        config: The whole configuration.
        fragments: What its plugins contribute, each with its owner.
        models: Of all tables by name, which say what is secret in them.
        closed: Why some rules are missing; the node is closed as long as that is so.
        composer: Knows what was composed before.

    Raises:
        PluginError: The fragments do not fit together.
    """
    if closed is None and not any(_has_content(fragment) for _, fragment in fragments):
        return None
    core = [("core", common_sets(config)), *([("core", closing_rules(config))] if closed is not None else [])]
    ruleset = (composer or Composer()).compose([*core, *fragments])
    return Service(
        key=KEY,
        run=run,
        config=Settings(ruleset, closed, partial(_report, config, models)),
        on_crash=CrashPolicy.DEMOTE,
        provides=frozenset({CAPABILITY}),
    )


def _has_content(fragment: Fragment) -> bool:
    return bool(fragment.hooked or fragment.chains or fragment.sets or fragment.counters)


def common_sets(config: Config) -> Fragment:
    """What all plugins' rules may name: ``if_NAME``, the devices of each interface, and ``local_v4``, ``local_v6``."""
    provider = config.providing(ProvidesInterfaces)
    interfaces = provider.logical_interfaces() if provider else {}
    devices = {name: [each.device] for name, each in interfaces.items()}
    networks = [each.network for interface in interfaces.values() for each in interface.addresses]
    for table in config.all_providing(ProvidesVirtualHosts):
        for host in table.virtual_hosts().values():
            if host.interface in interfaces:
                devices[host.interface].append(host.device(interfaces[host.interface]))
            networks += [each.network for each in (*host.addresses, *host.aliases)]
    sets = [
        Set(name=f"if_{name}", key="ifname", elements=tuple(f'"{device}"' for device in dict.fromkeys(names)))
        for name, names in devices.items()
    ]
    for version, key in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        local = _collapsed(each for each in networks if each.version == version)
        sets.append(Set(name=f"local_v{version}", key=key, flags="interval", elements=local))
    return Fragment(sets=tuple(sets))


def closing_rules(config: Config) -> Fragment:
    """For a node that lacks rules: half a firewall must not be an open one."""
    provider = config.providing(ProvidesInterfaces)
    interfaces = provider.logical_interfaces() if provider else {}
    new = "ct state new meta l4proto { tcp, udp } counter name closed drop"
    wans = [Rule(text=f"iifname @if_{name} {new}") for name, each in interfaces.items() if each.gateways]
    forward = Hooked(hook=Hook.FORWARD, stage=Stage.NEVER, rules=(Rule(text="counter name closed drop"),))
    inward = Hooked(hook=Hook.INPUT, stage=Stage.NEVER, rules=tuple(wans))
    return Fragment(hooked=(forward, inward), counters=("closed",))


def _collapsed(networks: Iterable[IPv4Network | IPv6Network]) -> tuple[str, ...]:
    return tuple(str(each) for each in collapse_addresses(networks))  # type: ignore[type-var]


async def run(ctx: Context, task_status: Started) -> None:
    """Load the ruleset and keep it loaded."""
    await _Keeper(ctx).run(task_status)


class _Keeper:
    """One run of the service."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._loaded: Ruleset | None = None
        self._demotion = ExitStack()
        self._generation = 0
        self._lock = trio.Lock()

    @property
    def _settings(self) -> Settings:
        settings = self._ctx.config
        assert isinstance(settings, Settings)
        return settings

    async def run(self, task_status: Started) -> None:
        ctx = self._ctx
        with (
            ctx.serve(GetCounters, self._counters),
            ctx.serve(GetRuleset, self._text),
            ctx.on_reload(self._reload),
            ctx.subscribe(NodeStopping) as node_stopping,
            NetfilterSocket() as kernel,
            self._demotion,
        ):
            await self._first_load(kernel)
            self._say_whether_closed(self._settings)
            task_status.started()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, kernel)
                await ctx.stopping.wait()
                nursery.cancel_scope.cancel(reason="the ruleset service stops")
            try:
                node_stopping.receive_nowait()
            except trio.WouldBlock:
                await nft.delete_table("inet", TABLE)  # no plugin contributes anything any more

    async def _first_load(self, kernel: NetfilterSocket) -> None:
        try:
            await self._load(self._settings)
        except ApplianceError:
            if self._is_booting() and not kernel.has_set(TABLE, MARKER):
                self._ctx.log.error("forwarding_closed", hint="nothing is forwarded until the rules can be loaded")
                await nft.apply_text(_CLOSED)
            raise

    def _is_booting(self) -> bool:
        """Nothing protected the network before, and there is no earlier configuration to go back to."""
        with self._ctx.subscribe(NodeStarted) as started:
            try:
                started.receive_nowait()
            except trio.WouldBlock:
                return True
        return False

    async def _reload(self, wanted: object) -> None:
        assert isinstance(wanted, Settings)
        await self._load(wanted)
        self._say_whether_closed(wanted)

    async def _load(self, settings: Settings) -> None:
        """Bring this ruleset into the kernel.

        Raises:
            ConfigError: It was refused because of a rule, which is named by its line; nothing has been changed.
            KernelError: It was refused as a whole.
        """
        async with self._lock:
            plan = transaction(settings.ruleset, self._loaded)
            if plan.prepare:
                await self._apply(settings, plan, plan.prepare)
            await self._apply(settings, plan, plan.text)
            self._loaded = settings.ruleset
        self._generation += 1
        self._ctx.publish(RulesetLoaded(generation=self._generation, rules=settings.ruleset.rules))
        self._ctx.log.info("ruleset_loaded", rules=settings.ruleset.rules, generation=self._generation)

    async def _apply(self, settings: Settings, plan: Transaction, text: str) -> None:
        try:
            await nft.apply_text(text, deadline_s=LOAD_S)
        except KernelError as error:
            if plan.prepare and text is plan.text:
                with suppress(KernelError):
                    await nft.apply_text(plan.undo)
            line = error.line if isinstance(error, nft.NftError) else None
            origin = plan.origin(line, prepared=text is plan.prepare) if line is not None else ()
            if not origin:
                raise
            raise _located(settings, origin, error) from error

    async def _watch(self, kernel: NetfilterSocket) -> None:
        while True:
            await trio.sleep(WATCH_S)
            if self._lock.locked() or kernel.has_set(TABLE, MARKER):
                continue
            self._ctx.log.warning(
                "ruleset_gone", hint="another program removed the node's rules; they are loaded again"
            )
            self._loaded = None
            try:
                await self._load(self._settings)
            except ApplianceError as error:
                self._alarm(error.message, error.hint)
            else:
                self._say_whether_closed(self._settings)

    async def _counters(self, _: Request[Mapping[str, Count]]) -> Mapping[str, Count]:
        found = await nft.counters("inet", TABLE)
        return {name: Count(packets=packets, bytes=size) for name, (packets, size) in found.items()}

    async def _text(self, _: Request[str]) -> str:
        return self._loaded.text if self._loaded else ""

    def _say_whether_closed(self, settings: Settings) -> None:
        self._demotion.close()
        if settings.closed is None:
            self._alarm()
            return
        self._demotion.enter_context(self._ctx.demoted(KEY, DEMOTION))
        self._alarm(
            f"rules are missing, so nothing is forwarded and nothing new comes in from a WAN: {settings.closed}",
            "Correct the configuration (`appliance check`) and apply it: `appliance config reload`.",
        )

    def _alarm(self, what: str = "", fix: str = "") -> None:
        health = Health.FAIL if what else Health.OK
        what = what or "the firewall rules are loaded"
        self._ctx.publish(Alarm(key=ALARM, active=bool(fix), health=health, what=what, fix=fix))


def _located(settings: Settings, origin: tuple[str | int, ...], error: KernelError) -> ConfigError:
    complaint = error.message.removeprefix("nft refused: ").splitlines()[0].partition("Error: ")[2] or error.message
    return settings.report().refusal(
        [Problem(path=origin, message=f"nftables refuses what follows from this: {complaint}")]
    )


def _report(config: Config, models: Mapping[str, type[Model]]) -> Report:
    return Report(path=config.path, positions=locate(config.text), shown=redact(config.text, models))
