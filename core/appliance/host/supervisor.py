"""Hosts all services of a node and changes what runs, disturbing only what changed.

`apply` is a diff by name and configuration (``==``). It reports the first thing that goes wrong, but what
it started stays supervised: at boot a service that is late or crashes is tried again, and after a refused
change the caller simply applies the old list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from appliance.errors import ApplianceError, PluginError
from appliance.host.order import providers, ranks
from appliance.host.unit import HEALTHY_S, SEE, ServiceState, Surroundings, Unit, WantedService
from appliance.logs import logger
from appliance.plugin.node import Node

if TYPE_CHECKING:
    from appliance.bus import EventBus
    from appliance.host.spares import Spares
    from appliance.metrics import MetricsRegistry


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedServices:
    """What an `apply` did, by full names in the order of the list."""

    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    reloaded: tuple[str, ...] = ()
    restarted: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceReport:
    """How one service is, for `show services`."""

    name: str
    plugin: str
    distribution: str
    state: ServiceState
    since_s: float
    """How long it has been in this state."""
    restarts: int
    pid: int | None
    """Its own process, when it is isolated and runs."""
    error: str | None
    """Why it crashed last, or ``None``."""


class Supervisor:
    """One nursery per service inside one nursery for all; one failing service disturbs nobody."""

    def __init__(
        self,
        bus: EventBus,
        *,
        node: Node,
        state_dir: Path,
        metrics: MetricsRegistry,
        seed: int | None = None,
        spares: Spares | None = None,
    ) -> None:
        self.stop_requested = trio.Event()
        """Set when a service with `CrashPolicy.STOP_NODE` crashed."""
        self.stop_reason: str | None = None
        """Why the node should stop."""
        self._units: dict[str, Unit] = {}
        self._nursery: trio.Nursery | None = None
        self._lock = trio.Lock()
        self._moved = trio.Event()
        self._closing: str | None = None
        self._applying: trio.CancelScope | None = None
        self._around = Surroundings(
            bus=bus,
            node=node,
            state_dir=state_dir,
            metrics=metrics,
            seed=seed,
            spares=spares,
            logger=lambda name: logger(service=name),
            moved=self._something_moved,
            may_start=self._may_start,
            leave=self._leave,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Host the services until cancelled; `apply` says which."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            task_status.started()
            await trio.sleep_forever()

    def services(self) -> tuple[ServiceReport, ...]:
        """All services, in the order of the last applied list."""
        now = trio.current_time()
        return tuple(_report(unit, now) for unit in self._units.values())

    async def apply(self, wanted: Sequence[WantedService]) -> AppliedServices:
        """Make exactly these services run; equal ones are not disturbed.

        Raises:
            PluginError: The list itself is wrong; nothing was changed.
            ApplianceError: A service did not become ready or refused its new configuration. What
                succeeded stays; apply the previous list to go back.
        """
        targets = {item.name: item for item in wanted}
        if len(targets) != len(wanted):
            raise PluginError(
                f"two services have the same name: {_twice(wanted)}", hint="give each its own Service.key"
            )
        ranks({name: item.service for name, item in targets.items()})
        async with self._lock:
            if self._closing is None:
                with trio.CancelScope() as self._applying:
                    return await self._apply(targets)
        raise ApplianceError(f"the services were not changed: {self._closing}", hint="the node is stopping")

    async def stop(self, reason: str) -> None:
        """Stop all services, those first that nobody needs. An `apply` under way gives up."""
        self._closing = reason
        if self._applying is not None:
            self._applying.cancel(reason=reason)
        async with self._lock:
            await self._stop_units(dict.fromkeys(self._units, reason))

    async def _apply(self, targets: dict[str, WantedService]) -> AppliedServices:
        old = self._units
        gone = [name for name in old if name not in targets]
        new = [name for name in targets if name not in old]
        changed = [name for name, item in targets.items() if name in old and _differs(old[name], item)]
        reload = [name for name in changed if _can_reload(old[name], targets[name])]
        restart = [name for name in changed if name not in reload]
        unchanged = [name for name in targets if name in old and name not in changed]

        for name in restart:
            old[name].has_heir = True
        await self._stop_units(
            dict.fromkeys(gone, "it is no longer configured")
            | dict.fromkeys(restart, "restart with a changed configuration")
        )
        fresh = {
            name: Unit(targets[name], self._around, predecessor=old.get(name))
            for name in targets
            if name not in old or name in restart
        }
        for name in unchanged:
            old[name].wanted = targets[name]
        for name in reload:
            old[name].reloading = True
        self._units = {name: fresh.get(name) or old[name] for name in targets}
        await self._change(fresh, {name: targets[name] for name in reload})
        return AppliedServices(
            started=tuple(new),
            stopped=tuple(gone),
            reloaded=tuple(reload),
            restarted=tuple(restart),
            unchanged=tuple(unchanged),
        )

    async def _change(self, fresh: dict[str, Unit], reload: dict[str, WantedService]) -> None:
        """Start the fresh units and hand the others their configuration; all at once, ordered by needs."""
        assert self._nursery is not None, "Supervisor.run() has to be started first"
        failures: dict[str, ApplianceError] = {}
        touched = frozenset((*fresh, *reload))
        for unit in fresh.values():
            self._nursery.start_soon(unit.run, name=f"supervise {unit.name}")
        try:
            async with trio.open_nursery() as nursery:
                for unit in fresh.values():
                    nursery.start_soon(self._await_ready, unit, failures)
                for name, item in reload.items():
                    nursery.start_soon(self._reload, self._units[name], item, touched, failures)
        finally:
            for name in reload:
                self._units[name].reloading = False
        if failures:
            raise _combined([failures[name] for name in self._units if name in failures])

    async def _await_ready(self, unit: Unit, failures: dict[str, ApplianceError]) -> None:
        await self._until(lambda: unit.settled or unit.ended.is_set() or self._is_blocked(unit))
        if unit.state is ServiceState.RUNNING:
            return
        if unit.error is not None:
            why = unit.error
        elif unit.is_stopping():
            why = f"it was stopped: {unit.stop_reason}"
        else:
            why = f"it waits for {', '.join(sorted(other.name for other in self._missing(unit)))}"
        failures[unit.name] = ApplianceError(f"service {unit.name} did not become ready: {why}", hint=SEE)

    async def _reload(
        self, unit: Unit, item: WantedService, touched: frozenset[str], failures: dict[str, ApplianceError]
    ) -> None:
        """Hand a running service its new configuration, after what it needs has changed."""
        needed = [other for other in self._providers(unit) if other.name in touched]
        await self._until(lambda: not any(other.reloading or _is_pending(other) for other in needed))
        try:
            await unit.reload(item)
        except ApplianceError as error:
            failures[unit.name] = error
        finally:
            unit.reloading = False
            self._something_moved()

    async def _stop_units(self, reasons: Mapping[str, str]) -> None:
        """Stop these units, each with its reason, whoever needs others first.

        Raises:
            ApplianceError: One does not let itself be cancelled.
        """
        order = ranks({name: unit.service for name, unit in self._units.items()})
        for rank in reversed(order):
            async with trio.open_nursery() as nursery:
                for name in rank:
                    if name in reasons:
                        nursery.start_soon(self._units[name].stop, reasons[name])
        stuck = [name for name in reasons if not self._units[name].ended.is_set()]
        if stuck:
            raise ApplianceError(
                f"service {', '.join(stuck)} does not stop: it swallows its cancellation",
                hint="restart the node, and report it to the author of the plugin",
            )

    def _providers(self, unit: Unit) -> list[Unit]:
        services = {name: other.service for name, other in self._units.items()}
        return [self._units[name] for name in providers(unit.name, services)] if unit.name in services else []

    def _missing(self, unit: Unit) -> list[Unit]:
        """The units it still has to wait for; one that has failed for good is not waited for."""
        ready = (ServiceState.RUNNING, ServiceState.FAILED, ServiceState.STOPPED)
        waiting = [other for other in self._providers(unit) if other.state not in ready]
        return [
            other
            for other in waiting
            if other.state is not ServiceState.BACKOFF or unit.service.needs & other.service.provides
        ]

    def _is_blocked(self, unit: Unit) -> bool:
        """Whether it waits for something that has crashed and is being tried again."""
        return unit.state is ServiceState.WAITING and any(
            other.state is ServiceState.BACKOFF or self._is_blocked(other) for other in self._missing(unit)
        )

    async def _may_start(self, unit: Unit) -> None:
        await self._until(lambda: unit.is_stopping() or not self._missing(unit))

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._moved.wait()

    def _something_moved(self) -> None:
        self._moved.set()
        self._moved = trio.Event()

    def _leave(self, reason: str) -> None:
        self.stop_reason = self.stop_reason or reason
        self.stop_requested.set()


def _differs(unit: Unit, item: WantedService) -> bool:
    """Whether the unit has to change to become `item`."""
    return (
        unit.is_stopping()
        or unit.uncertain
        or unit.service.config != item.service.config
        or unit.service.isolation != item.service.isolation
    )


def _can_reload(unit: Unit, item: WantedService) -> bool:
    return (
        unit.state is ServiceState.RUNNING
        and unit.context is not None
        and unit.context.reload_handler is not None
        and unit.service.isolation == item.service.isolation
    )


def _is_pending(unit: Unit) -> bool:
    """Whether its first attempt is still under way."""
    return not unit.settled and not unit.ended.is_set()


def _combined(errors: Sequence[ApplianceError]) -> ApplianceError:
    if len(errors) == 1:
        return errors[0]
    return ApplianceError("; ".join(error.message for error in errors), hint=errors[0].hint)


def _twice(wanted: Sequence[WantedService]) -> str:
    names = [item.name for item in wanted]
    return ", ".join(sorted({name for name in names if names.count(name) > 1}))


def _report(unit: Unit, now: float) -> ServiceReport:
    pid = unit.context.pid if unit.context is not None else None
    recovered = unit.state is ServiceState.RUNNING and now - unit.since >= HEALTHY_S
    return ServiceReport(
        name=unit.name,
        plugin=unit.wanted.plugin,
        distribution=unit.wanted.distribution,
        state=unit.state,
        since_s=now - unit.since,
        restarts=unit.restarts,
        pid=pid,
        error=None if recovered else unit.error,
    )
