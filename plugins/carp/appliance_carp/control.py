"""Role control: switchover, maintenance, disable and enable, each waited for until the new role has settled."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

from appliance.errors import RefusedError
from appliance.events import HandoverMeasured, Reclaim, SetEnabled, SetMaintenance, Switchover
from appliance.events.base import Request
from appliance_carp.events import CommitStaged, GetCarp
from appliance_carp.herald import RESIGNED
from appliance_carp.report import report
from appliance_carp.station import Station
from appliance_carp.vocabulary import State, VhidKey

SETTLE_S = 10.0
"""Book timers settle a handover in at most 3.4 s; after this the answer says that it has not."""
_LOOK_THERE = "Look at 'appliance show ha' on the other nodes."
TAKEN_OVER_S = 1.0
"""A healthy peer follows a bow-out within milliseconds; after this it has not, and the addresses are taken back."""
_MAINTENANCE_FILE = "maintenance"
_DISABLED_FILE = "disabled"


def this_run() -> str:
    """What identifies this run of the node: a restart of only the heartbeat process keeps it."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    node = os.getppid()
    started = ""
    with contextlib.suppress(OSError):
        # Not the number alone: in a container a node gets the same one at every start. Field 22 is its start time.
        started = Path(f"/proc/{node}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{boot} {node} {started}"


class RoleControl:
    """Answers the role requests of one station."""

    def __init__(self, station: Station, now: Callable[[], float], after: Callable[[], None]) -> None:
        self._station = station
        self._now = now
        self._after = after
        self._one_at_a_time = trio.Lock()

    @staticmethod
    def wants_maintenance(state_dir: Path) -> bool:
        """Whether persistent maintenance was left on."""
        return (state_dir / _MAINTENANCE_FILE).exists()

    @staticmethod
    def was_disabled(state_dir: Path) -> bool:
        """Whether `ha disable` was given to this same run of the node."""
        path = state_dir / _DISABLED_FILE
        return path.exists() and path.read_text().strip() == this_run()

    async def get(self, request: Request[dict[str, object]]) -> dict[str, object]:
        """`GetCarp`."""
        assert isinstance(request, GetCarp)
        return report(self._station, self._now())

    async def reclaim(self, request: Request[str]) -> str:
        """`Reclaim`."""
        assert isinstance(request, Reclaim)
        if not self._station.machine.resigned:
            raise RefusedError("there is no switchover to end", hint="Nothing needs to be done.")
        self._station.perform(self._station.machine.reclaim(self._now()))
        self._settle()
        return "this node may become MASTER again"

    async def commit(self, request: Request[str]) -> str:
        """`CommitStaged`."""
        assert isinstance(request, CommitStaged)
        staging, now = self._station.staging, self._now()
        names = ", ".join(host.settings.name for host in staging.staged)
        if not names:
            return "nothing is staged: every virtual host is as configured"
        if not staging.consider(now, force=request.force):
            waiting = ", ".join(f"{name}, which {why}" for name, why in sorted(staging.waiting.items()))
            raise RefusedError(
                f"the change of {names} waits for {waiting}",
                hint="Bring it back or synchronize it; or repeat with --force.",
            )
        self._settle()
        return f"in force on this node: {names}"

    async def switchover(self, request: Request[str]) -> str:
        """`Switchover`."""
        assert isinstance(request, Switchover)
        async with self._one_at_a_time:
            masters = self._masters()
            if not masters:
                return "nothing to hand over: this node is MASTER of nothing"
            self._require_successor(force=request.force, doing="switch over")
            start = self._now()
            self._station.perform(self._station.machine.resign(start, reason="switchover requested"))
            self._settle()
            try:
                said = await self._handover(masters, start, SETTLE_S if request.force else TAKEN_OVER_S)
            except RefusedError:
                if request.force:
                    raise
                self._station.perform(self._station.machine.reclaim(self._now()))
                raise self._take_back() from None
            return f"{said}\n{RESIGNED}"

    async def set_maintenance(self, request: Request[str]) -> str:
        """`SetMaintenance`."""
        assert isinstance(request, SetMaintenance)
        async with self._one_at_a_time:
            station = self._station
            if station.maintenance == request.on:
                return f"maintenance is already {'on' if request.on else 'off'}"
            masters = self._masters()
            if request.on and masters:
                self._require_successor(force=request.force, doing="enter maintenance")
            start = self._put_maintenance(on=request.on)
            if not request.on:
                return "maintenance is off; this node takes part again"
            try:
                return "maintenance is on" + await self._handover_clause(masters, start, force=request.force)
            except RefusedError:
                self._put_maintenance(on=False)
                raise self._take_back() from None

    def _put_maintenance(self, *, on: bool) -> float:
        """Remember and apply it; answers with the time at which."""
        station, flag = self._station, self._station.ctx.state_dir / _MAINTENANCE_FILE
        if on:
            flag.write_text("on\n")
        else:
            flag.unlink(missing_ok=True)
        station.maintenance = on
        start = self._now()
        station.perform(station.machine.set_maintenance(on, start))
        self._settle()
        return start

    async def set_enabled(self, request: Request[str]) -> str:
        """`SetEnabled`."""
        assert isinstance(request, SetEnabled)
        async with self._one_at_a_time:
            station = self._station
            if station.enabled == request.on:
                return f"CARP is already {'enabled' if request.on else 'disabled'} on this node"
            masters = self._masters()
            if not request.on and masters:
                self._require_successor(force=request.force, doing="disable CARP")
            start = self._put_enabled(on=request.on)
            if request.on:
                return "CARP is enabled; this node takes part again"
            said = "CARP is disabled on this node until the next start"
            try:
                return said + await self._handover_clause(masters, start, force=request.force)
            except RefusedError:
                self._put_enabled(on=True)
                raise self._take_back() from None

    def _put_enabled(self, *, on: bool) -> float:
        """Remember and apply it; answers with the time at which."""
        station, flag = self._station, self._station.ctx.state_dir / _DISABLED_FILE
        if on:
            flag.unlink(missing_ok=True)
        else:
            flag.write_text(this_run() + "\n")
        station.enabled = on
        start = self._now()
        station.perform(station.machine.set_enabled(on, start))
        self._settle()
        return start

    def _take_back(self) -> RefusedError:
        """Nobody has followed: become MASTER again at once, without waiting for a timer; the error to raise."""
        station = self._station
        station.perform(station.machine.peer_died(self._now(), reason="nobody took over"))
        self._settle()
        return RefusedError(
            f"nobody took over within {TAKEN_OVER_S:g} s; this node has taken its addresses back", hint=_LOOK_THERE
        )

    def _masters(self) -> list[VhidKey]:
        return [each.key for each in self._station.machine.reports() if each.state is State.MASTER]

    def _require_successor(self, *, force: bool, doing: str) -> None:
        best = self._station.machine.best_peer()
        if force or (best is not None and not self._station.herald.peers.has_left(best.name)):
            return
        known = [f"{fact.peer}: {fact.summary}" for fact in self._station.herald.facts.values()]
        raise RefusedError(
            f"will not {doing}: no healthy peer would take over ({'; '.join(known) or 'no other node is heard'})",
            hint="Bring the other node up, or repeat with --force and accept the outage.",
        )

    def _settle(self) -> None:
        """Bring bus, peers and timer up to date after a command, which always changes the status line."""
        self._station.herald.roles_changed()
        self._after()

    async def _handover_clause(self, masters: Sequence[VhidKey], start: float, *, force: bool) -> str:
        """The same as an addition to what has been done; with `force` it was done in any case."""
        if not masters:
            return ""
        if not force:
            return "; " + await self._handover(masters, start, TAKEN_OVER_S)
        try:
            return "; " + await self._handover(masters, start, SETTLE_S)
        except RefusedError as error:
            return "; " + error.message

    async def _handover(self, keys: Sequence[VhidKey], start: float, within_s: float) -> str:
        """Wait until another node is heard as MASTER of every one of these, and say how long it took.

        Raises:
            RefusedError: Nobody is; also as soon as this node has had to become MASTER again.
        """
        hosts = [self._station.hosts[key] for key in keys if key in self._station.hosts]
        with trio.move_on_after(within_s):
            while any(host.heard_at <= start for host in hosts):
                await self._station.settled.wait()
                if set(keys) <= set(self._masters()):
                    raise RefusedError("nobody took over: this node is MASTER again", hint=_LOOK_THERE)
            took_ms = (max(host.heard_at for host in hosts) - start) * 1000
            sources = {host.best_since(start) for host in hosts}
            names = sorted({self._station.herald.peers.name_of(source) or source for source in sources})
            self._station.ctx.publish(HandoverMeasured(to=", ".join(names), duration_ms=took_ms))
            return f"{len(hosts)} virtual hosts handed over to {', '.join(names)} in {took_ms:.1f} ms"
        raise RefusedError(
            f"not settled after {within_s:g} s: nobody is heard as MASTER of all {len(hosts)} virtual hosts",
            hint=_LOOK_THERE,
        )
