"""Leads an upgrade of the cluster: looks, does what comes next, remembers; also after a restart, until it is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from appliance.errors import ApplianceError, RefusedError
from appliance.events import Request
from appliance.identity.files import read_private, write_private
from appliance.plugin import Context
from appliance_images import bundle
from appliance_images.cluster import record as records
from appliance_images.cluster import steps
from appliance_images.cluster.channel import Peer, hand_over
from appliance_images.cluster.events import UpgradeCluster, UpgradeStep
from appliance_images.cluster.local import Local
from appliance_images.cluster.record import Phase, Record, Report, start_of
from appliance_images.cluster.settings import Settings
from appliance_images.cluster.steps import Action

FILE = "upgrade.json"
FILE_MAX = 256 << 10
LOOK_S = 3.0
"""Between two looks."""
REPORT_S = 30.0
"""For a node to say how it is; it may be a slow machine that has just started."""


class Leader:
    """The upgrade that was begun on this node, if there is one.

    Args:
        ctx: Of the service.
        settings: Of the service.
        local: This machine.
        keys: Public keys of whoever may make upgrades.
        wall: Time of day.
    """

    def __init__(
        self, ctx: Context, settings: Settings, local: Local, keys: list[Path], *, wall: Callable[[], float] = time.time
    ) -> None:
        self._ctx, self._settings, self._local, self._keys, self._wall = ctx, settings, local, keys, wall
        self._path = ctx.state_dir / FILE
        self._record: Record | None = None
        self._sent = ""
        self._begun = trio.Event()
        self.peer: Peer | None = None
        """The other node, while there is exactly one."""
        self.peers: tuple[str, ...] = ()

    async def load(self) -> None:
        """Read what is remembered from before the service started."""
        try:
            raw = await trio.to_thread.run_sync(lambda: read_private(self._path, size_max=FILE_MAX))
            self._record = records.decode(raw) if raw is not None else None
        except ApplianceError as error:
            self._ctx.log.error("upgrade_forgotten", error=error.message)

    # --- what is asked ----------------------------------------------------------------------------------------

    async def told(self, _: Request[dict[str, Any]]) -> dict[str, Any]:
        """`GetUpgrade`."""
        record = self._record
        if record is None:
            return {"phase": "none", "notes": []}
        return {
            "phase": str(record.phase),
            "version": record.version,
            "nodes": {each.node: {"version": each.version, "slot": each.slot} for each in (record.peer, record.own)},
            "sent": self._sent,
            "why": record.why,
            "notes": [{"at": when, "what": what} for when, what in record.notes],
        }

    async def begin(self, asked: Request[dict[str, Any]]) -> dict[str, Any]:
        """`UpgradeCluster`.

        Raises:
            RefusedError: Something is not as it has to be; nothing was changed.
        """
        assert isinstance(asked, UpgradeCluster)
        if self._record is not None and not self._record.phase.is_over:
            raise RefusedError(
                f"an upgrade is under way: {self._record.phase}", hint="`appliance image upgrade-status` shows it."
            )
        path = Path(asked.file)
        version, own, peer = await self._examine(path)
        plan = [
            f"{peer.node} ({peer.role}, {peer.version}) is given {version}, restarts, and has to prove healthy",
            f"it takes over from {own.node} ({own.role}, {own.version})",
            f"{own.node} restarts with {version}, and has to prove healthy",
        ]
        if not asked.dry_run:
            made = Record(file=str(path), version=version, own=start_of(own), peer=start_of(peer))
            await self._keep(made.become(Phase.SEND, self._wall(), f"{peer.node} is sent {version}"))
            self._begun.set()
        return {"begun": not asked.dry_run, "plan": plan}

    async def _examine(self, path: Path) -> tuple[str, Report, Report]:
        peer = self.peer
        if peer is None:
            who = ", ".join(self.peers) or "nobody"
            raise RefusedError(
                f"this node is paired with {who}, and has to be paired with one other node",
                hint="`appliance pair` pairs two nodes; `appliance show services` says whether the service runs.",
            )

        def opened() -> bundle.Upgrade:
            with bundle.opened(path, self._keys) as upgrade:
                return upgrade

        upgrade = await trio.to_thread.run_sync(opened)
        own = await trio.to_thread.run_sync(self._local.report)
        theirs = await peer.report()
        for report in (own, theirs):
            if not report.is_ready:
                what = "; ".join(report.problems) or "its system has not proved healthy yet"
                raise RefusedError(f"{report.node} is not ready: {what}", hint="Put that right first.")
        if own.role not in ("MASTER", "NONE"):
            raise RefusedError(
                f"{own.node} is {own.role}; the upgrade begins with the node that carries nothing",
                hint=f"Begin it on {theirs.node}, which is {theirs.role}.",
            )
        await peer.examine(upgrade)
        return upgrade.about.version, own, theirs

    # --- what is done -----------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Go on with what was begun, for ever."""
        while True:
            record = self._record
            if record is None or record.phase.is_over:
                self._begun = trio.Event()
                await self._begun.wait()
                continue
            await self._step(record)
            await trio.sleep(LOOK_S)

    async def _step(self, record: Record) -> None:
        own = await self._report(self._own)
        if own is None:
            return  # the node has just started
        theirs = await self._report(self.peer.report) if self.peer is not None else None
        after, action = steps.following(record, own, theirs, self._wall(), self._settings.patience_s)
        await self._keep(after)
        if action is None:
            return
        try:
            await self._perform(action, after)
        except ApplianceError as error:
            self._ctx.log.warning("upgrade_action_failed", action=str(action), error=error.message)
            await self._keep(steps.failed(after, action, error.message, self._wall()))
        else:
            await self._keep(steps.succeeded(after, action, self._wall()))

    async def _own(self) -> Report:
        return await trio.to_thread.run_sync(self._local.report)

    async def _report(self, ask: Callable[[], Any]) -> Report | None:
        with trio.move_on_after(REPORT_S):
            try:
                found = await ask()
            except (ApplianceError, OSError) as error:
                self._ctx.log.info("upgrade_no_report", error=str(error))
                return None
            assert isinstance(found, Report)
            return found
        return None

    async def _perform(self, action: Action, record: Record) -> None:
        peer = self.peer
        if peer is None and action in (Action.SEND, Action.RESTART_PEER, Action.SEND_BACK):
            raise ApplianceError("this node is not paired any more", hint="Pair it again with `appliance pair`.")
        match action:
            case Action.SEND:
                assert peer is not None
                await peer.send(Path(record.file), self._keys, self._progress)
            case Action.RESTART_PEER:
                assert peer is not None
                await peer.restart()
            case Action.WRITE:
                await trio.to_thread.run_sync(self._local.add, Path(record.file))
            case Action.SWITCH:
                await hand_over(self._ctx)
            case Action.RESTART_OWN:
                await trio.to_thread.run_sync(self._local.restart)
            case Action.SEND_BACK:
                assert peer is not None
                await peer.back(record.peer.slot)
            case Action.KEEP_OWN:
                await trio.to_thread.run_sync(self._local.keep, record.own.slot)

    def _progress(self, at: int, size: int) -> None:
        self._sent = f"{100 * at // size} %"

    async def _keep(self, record: Record) -> None:
        """Remember; on disk when this returns, because a restart may follow."""
        before = self._record
        if record == before:
            return
        await trio.to_thread.run_sync(write_private, self._path, records.encode(record))
        self._record = record
        for _, what in (note for note in record.notes if before is None or note not in before.notes):
            self._ctx.log.info("upgrade_step", phase=str(record.phase), what=what)
            self._ctx.publish(UpgradeStep(phase=str(record.phase), what=what))
