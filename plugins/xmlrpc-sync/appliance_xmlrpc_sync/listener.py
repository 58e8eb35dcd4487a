"""The service "listener": serves the paired nodes and introduces new ones."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance.events import ConfigApplied, GetKeys, GetPairing, Health, Pairing, Request, Status
from appliance.events.doctor import ExaminePeers
from appliance.identity.remedy import PAIR
from appliance.identity.store import IdentityStore
from appliance.plugin import Context, Overflow, Started, Subscription
from appliance.rpc import Listen, Method, Server
from appliance_xmlrpc_sync.accounts import Accounts
from appliance_xmlrpc_sync.events import (
    AwaitPairing,
    GetPeers,
    GetReceived,
    OpenPairing,
    PairingOpen,
    PairWith,
    RemovePeer,
    ResetIdentity,
    RotatePairing,
)
from appliance_xmlrpc_sync.examining import METHOD as DOCTOR
from appliance_xmlrpc_sync.examining import Examinations
from appliance_xmlrpc_sync.facts import Facts
from appliance_xmlrpc_sync.introductions import Introductions
from appliance_xmlrpc_sync.methods import Methods, received
from appliance_xmlrpc_sync.receiver import Here, Receiver
from appliance_xmlrpc_sync.rotating import METHOD, Rotations
from appliance_xmlrpc_sync.settings import ListenerSettings
from appliance_xmlrpc_sync.sharing import SharedKeys
from appliance_xmlrpc_sync.station import Station
from appliance_xmlrpc_sync.window import PairingDesk

WATCH_S = 2.0
"""Between looks whether the servers listen."""
TXN_BYTES = 8


async def run(ctx: Context, task_status: Started) -> None:
    """Serve until told to stop."""
    settings = ctx.config
    assert isinstance(settings, ListenerSettings)
    coalesce = Overflow.COALESCE
    with (
        ctx.subscribe(ConfigApplied, overflow=coalesce) as looked,
        ctx.subscribe(ConfigApplied, overflow=coalesce) as applied,
    ):
        facts = Facts(ctx, looked)
        here = Here(
            name=ctx.node.name,
            role=ctx.node.role,
            peers=settings.peers,
            on_drift=settings.on_drift,
            primary=settings.primary,
        )
        introductions = Introductions(ctx, settings, IdentityStore(ctx.state_dir))
        station = Station(ctx, here, facts, Receiver(lambda: secrets.token_hex(TXN_BYTES)), introductions.names)
        accounts = Accounts(settings.accounts)
        methods = Methods(ctx.node, facts=facts, station=station, introductions=introductions, accounts=accounts)
        rotations = Rotations(ctx, settings, introductions, accounts)
        examinations = Examinations(ctx, settings, introductions)
        table = {**methods.table(), METHOD: rotations.rotate, DOCTOR: examinations.doctor}
        await station.load()
        await introductions.read()
        async with trio.open_nursery() as nursery:
            desk = PairingDesk(ctx, settings, introductions, nursery)
            with ExitStack() as stack:
                _Requests(ctx, settings, introductions, desk, rotations).serve(stack)

                async def get_received(_: Request[dict[str, Any]]) -> dict[str, Any]:
                    return await received(ctx.node, facts, station)

                stack.enter_context(ctx.serve(GetReceived, get_received))
                stack.enter_context(ctx.serve(ExaminePeers, examinations.peers))
                stack.enter_context(ctx.serve(GetKeys, SharedKeys(introductions).answer))

                async def get_pairing(_: Request[Pairing]) -> Pairing:
                    return introductions.pairing()

                stack.enter_context(ctx.serve(GetPairing, get_pairing))
                introductions.tell_keys()  # not before somebody answers
                nursery.start_soon(_observe, station, applied)
                await nursery.start(_serve_peers, ctx, settings, introductions, table, accounts)
                task_status.started()
                await ctx.stopping.wait()
                nursery.cancel_scope.cancel()


async def _observe(station: Station, applied: Subscription[ConfigApplied]) -> None:
    async for _ in applied:
        await station.observe()


# --- the server for paired nodes -----------------------------------------------------------------------------


async def _serve_peers(
    ctx: Context,
    settings: ListenerSettings,
    introductions: Introductions,
    methods: Mapping[str, Method],
    accounts: Accounts,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Serve; anew whenever it changes who is trusted, so that nobody keeps a connection who is not."""
    first = True
    while True:
        changed = introductions.changed
        async with trio.open_nursery() as nursery:
            servers = _servers(ctx, settings, introductions, methods, accounts)
            for server in servers:
                await nursery.start(server.run)
            nursery.start_soon(_tell, ctx, introductions, servers)
            if first:
                task_status.started()
                first = False
            await changed.wait()
            nursery.cancel_scope.cancel()


def _servers(
    ctx: Context,
    settings: ListenerSettings,
    introductions: Introductions,
    methods: Mapping[str, Method],
    accounts: Accounts,
) -> list[Server]:
    if not introductions.peers:
        return []
    tls = introductions.server_tls()
    return [
        Server(
            Listen(address=address, port=settings.port, device=settings.device),
            tls,
            methods,
            log=ctx.log,
            authenticate=accounts.authenticate if accounts else None,
            known=frozenset(peer.address for peer in introductions.peers),
        )
        for address in settings.addresses
    ]


async def _tell(ctx: Context, introductions: Introductions, servers: list[Server]) -> None:
    """Keep the summary of the service true."""
    told = None
    while True:
        now = _status(introductions, servers)
        if now != told:
            ctx.publish(now)
            told = now
        await trio.sleep(WATCH_S)


def _status(introductions: Introductions, servers: list[Server]) -> Status:
    if introductions.problem is not None:
        return Status(health=Health.FAIL, summary=introductions.problem.message)
    if not servers:
        return Status(health=Health.WARN, summary="this node is not paired with any other", fix=PAIR)
    waiting = sorted({server.waiting_for for server in servers if not server.port} - {""})
    if waiting:
        return Status(health=Health.WARN, summary=f"does not listen: {', '.join(waiting)}")
    names = ", ".join(peer.name for peer in introductions.peers)
    return Status(summary=f"listens for {names}")


# --- requests ------------------------------------------------------------------------------------------------


class _Requests:
    """What the commands about pairing ask."""

    def __init__(
        self,
        ctx: Context,
        settings: ListenerSettings,
        introductions: Introductions,
        desk: PairingDesk,
        rotations: Rotations,
    ) -> None:
        self._ctx, self._settings, self._introductions, self._desk = ctx, settings, introductions, desk
        self._rotations = rotations

    def serve(self, stack: ExitStack) -> None:
        """Answer while the stack lasts."""
        stack.enter_context(self._ctx.serve(OpenPairing, self._open))
        stack.enter_context(self._ctx.serve(AwaitPairing, self._await))
        stack.enter_context(self._ctx.serve(PairWith, self._pair_with))
        stack.enter_context(self._ctx.serve(GetPeers, self._peers))
        stack.enter_context(self._ctx.serve(RemovePeer, self._remove))
        stack.enter_context(self._ctx.serve(ResetIdentity, self._reset))
        stack.enter_context(self._ctx.serve(RotatePairing, self._rotate))

    async def _open(self, _: Request[PairingOpen]) -> PairingOpen:
        return await self._desk.open()

    async def _await(self, asked: Request[dict[str, Any]]) -> dict[str, Any]:
        assert isinstance(asked, AwaitPairing)
        return await self._desk.wait(asked.window)

    async def _pair_with(self, asked: Request[dict[str, Any]]) -> dict[str, Any]:
        assert isinstance(asked, PairWith)
        port = asked.port or self._settings.pairing_port
        peer = await self._introductions.pair_with(asked.address, port, asked.code.value)
        return {
            "peer": peer.name,
            "fingerprint": peer.certificate.fingerprint,
            "address": peer.address,
            "own_fingerprint": self._introductions.fingerprint,
        }

    async def _peers(self, _: Request[dict[str, Any]]) -> dict[str, Any]:
        problem: ApplianceError | None = self._introductions.problem
        return {
            "node": self._ctx.node.name,
            "fingerprint": self._introductions.fingerprint,
            "listening": self._desk.is_open,
            "error": problem.message if problem else "",
            "remedy": problem.hint if problem else "",
            "peers": [
                {
                    "name": peer.name,
                    "address": peer.address,
                    "fingerprint": peer.certificate.fingerprint,
                    "paired_at": peer.paired_at,
                }
                for peer in self._introductions.peers
            ],
        }

    async def _remove(self, asked: Request[dict[str, Any]]) -> dict[str, Any]:
        assert isinstance(asked, RemovePeer)
        await self._introductions.remove(asked.name)
        said = f"{asked.name} is not trusted any more; remove this node there, too"
        if self._introductions.peers:
            said += f". {asked.name} still knows the pairing secret of the others: 'appliance pair rotate' replaces it"
        return {"result": said}

    async def _reset(self, _: Request[dict[str, Any]]) -> dict[str, Any]:
        await self._introductions.reset()
        return {"result": f"this node has a new identity, {self._introductions.fingerprint}; pair it again"}

    async def _rotate(self, _: Request[dict[str, Any]]) -> dict[str, Any]:
        return {"result": await self._rotations.lead()}
