"""The service "sender": every peer has this node's shared configuration, or an operator is told why not.

One task per peer, so that one that hangs does not hold up the others. A commit on this node waits for none of them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance.events import ConfigApplied, Event, Health, Request, Status
from appliance.plugin import Context, Overflow, Started, Subscription
from appliance_xmlrpc_sync import diff, report
from appliance_xmlrpc_sync.alarms import Alarms
from appliance_xmlrpc_sync.causes import failure_of
from appliance_xmlrpc_sync.events import PeersPaired
from appliance_xmlrpc_sync.peersync import PeerSync
from appliance_xmlrpc_sync.requests import DiffSync, GetSync, SyncNow
from appliance_xmlrpc_sync.settings import SenderSettings
from appliance_xmlrpc_sync.vocabulary import Known, Task


async def run(ctx: Context, task_status: Started) -> None:
    """Run until told to stop. A push that is under way is then left to roll back, or to have arrived."""
    sender = Sender(ctx)
    async with trio.open_nursery() as nursery:
        with (
            ctx.subscribe(ConfigApplied, PeersPaired, overflow=Overflow.COALESCE) as facts,
            ctx.serve(GetSync, sender.answer),
            ctx.serve(SyncNow, sender.now),
            ctx.serve(DiffSync, sender.diff),
            ctx.on_reload(sender.reload),
        ):
            sender.start(_settings(ctx.config), nursery)
            nursery.start_soon(sender.follow, facts)
            task_status.started()
            await ctx.stopping.wait()
            nursery.cancel_scope.cancel(reason=f"{ctx.name} is stopping")


def _settings(config: object) -> SenderSettings:
    assert isinstance(config, SenderSettings)
    return config


class Sender:
    """All peers."""

    def __init__(self, ctx: Context) -> None:
        self.ctx = ctx
        self.settings = SenderSettings(interface="", device="", addresses=())
        self.revision: int | None = None
        """Of this node's configuration."""
        self._peers: dict[str, tuple[PeerSync, trio.CancelScope]] = {}
        self._nursery: trio.Nursery | None = None
        self._alarms = Alarms(ctx.publish)
        self._status: Status | None = None
        self._in_sync = ctx.metrics.gauge("in_sync", "1 while the peer has this node's configuration", ("peer",))
        self._pushes = ctx.metrics.counter("pushes_total", "Configurations that a peer has got", ("peer",))

    @property
    def peers(self) -> list[PeerSync]:
        """In the order of the configuration."""
        return [peer for peer, _scope in self._peers.values()]

    def start(self, settings: SenderSettings, nursery: trio.Nursery) -> None:
        """Begin with a configuration."""
        self._nursery = nursery
        self._adopt(settings)

    async def reload(self, config: object) -> None:
        """Take a new configuration; what is known of peers that stay is kept."""
        await trio.lowlevel.checkpoint()
        self._adopt(_settings(config))
        for peer in self.peers:
            peer.changed()

    def _adopt(self, settings: SenderSettings) -> None:
        assert self._nursery is not None
        self.settings = settings
        for address in [each for each in self._peers if each not in settings.peers]:
            peer, scope = self._peers.pop(address)
            scope.cancel(reason="the peer is no longer configured")
            self._in_sync.set(0.0, peer=peer.address)
        before, self._peers = self._peers, {}
        for address in settings.peers:
            if address in before:
                self._peers[address] = before[address]
            else:
                self._peers[address] = PeerSync(self, address), trio.CancelScope()
                self._nursery.start_soon(self._run_peer, *self._peers[address])
        self._alarms.keep(settings.peers)
        self._tell_status()

    async def _run_peer(self, peer: PeerSync, scope: trio.CancelScope) -> None:
        with scope:
            await peer.run()

    async def follow(self, facts: Subscription[Event]) -> None:
        """Changes of the configuration, and of pairings."""
        async for fact in facts:
            if isinstance(fact, ConfigApplied):
                self.revision = fact.revision
            for peer in self.peers:
                peer.changed()

    def task_of(self, peer: PeerSync, *, is_asked: bool, force: bool) -> Task:
        """What to do with a peer now."""
        settings = self.settings
        return Task(
            own_name=self.ctx.node.name,
            rank=settings.peers.index(peer.address) + 1 if peer.address in settings.peers else 1,
            policy=settings.policy,
            off=settings.off,
            on_drift=settings.on_drift,
            confirm_s=settings.confirm_s,
            is_asked=is_asked,
            force=force,
            reason="sync now" if is_asked else "commit",
        )

    # --- telling ----------------------------------------------------------------------------------------------

    def tell(self, peer: PeerSync) -> None:
        """A look at this peer has ended."""
        failure, address = peer.failure, peer.address
        if failure is None:
            self._alarms.clear(f"{address}/failing")
        elif not failure.is_passing or not peer.pace.is_quick:
            self._alarms.failed(address, peer.label, failure)
        self._alarms.skew(address, peer.label, peer.known.skew_s)
        self._in_sync.set(float(report.peer_state(peer, self.revision) == "in-sync"), peer=address)
        if failure is None and peer.outcome is not None and peer.outcome.pushed:
            self._pushes.inc(peer=address)
        self._tell_status()

    def _tell_status(self) -> None:
        states = [report.peer_state(peer, self.revision) for peer in self.peers]
        failing = [peer for peer in self.peers if peer.failure is not None]
        if failing:
            first = failing[0]
            assert first.failure is not None
            status = Status(health=Health.WARN, summary=f"{first.label}: {first.failure.what.splitlines()[0]}")
        elif not states:
            status = Status(summary="this node sends its configuration to nobody")
        else:
            pairs = zip(self.peers, states, strict=True)
            status = Status(summary=", ".join(f"{peer.label} {state}" for peer, state in pairs))
        if status != self._status:
            self._status = status
            self.ctx.publish(status)

    def _document(self) -> dict[str, Any]:
        return report.document(
            self.peers,
            self.settings,
            node=self.ctx.node,
            revision=self.revision,
            now=trio.current_time(),
            wall=time.time(),
        )

    async def answer(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """`GetSync`."""
        assert isinstance(request, GetSync)
        await trio.lowlevel.checkpoint()
        return self._document()

    async def now(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """`SyncNow`."""
        assert isinstance(request, SyncNow)
        async with trio.open_nursery() as nursery:
            for peer in self.peers:
                nursery.start_soon(_look_now, peer, request.force)
        return self._document()

    async def diff(self, request: Request[dict[str, Any]]) -> dict[str, Any]:
        """`DiffSync`."""
        assert isinstance(request, DiffSync)
        found: dict[str, Mapping[str, Any]] = {}

        async def look(peer: PeerSync) -> None:
            task = self.task_of(peer, is_asked=True, force=False)
            # What is known stays as the last look found it.
            known = Known()
            try:
                sections = await peer.attempt(lambda: diff.exchange(task, known))
            except ApplianceError as error:
                failure = failure_of(error, peer.label)
                found[peer.address] = {"error": failure.what, "remedy": failure.fix, "sections": []}
            else:
                found[peer.address] = {"error": None, "remedy": None, "sections": sections}

        async with trio.open_nursery() as nursery:
            for peer in self.peers:
                nursery.start_soon(look, peer)
        peers = [
            {"peer": peer.label, "address": peer.address, **found[peer.address]}
            for peer in self.peers
            if peer.address in found
        ]
        return {"node": self.ctx.node.name, "peers": peers}


async def _look_now(peer: PeerSync, force: bool) -> None:
    await peer.look_now(force=force)
