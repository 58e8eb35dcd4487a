"""The service ``upgrade``: serves the paired node, and leads an upgrade of the cluster that was begun here."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import trio

from appliance.control import client
from appliance.errors import ApplianceError
from appliance.events import GetPairing, Health, KeysChanged, Pairing, Status
from appliance.plugin import Context, NoProvider, Overflow, ProviderFailed, Started, Subscription
from appliance.rpc import Listen, Server, server_tls
from appliance_images import health, slots
from appliance_images.cluster.channel import LIMITS, Methods, Peer
from appliance_images.cluster.events import GetUpgrade, UpgradeCluster
from appliance_images.cluster.leader import Leader
from appliance_images.cluster.local import Local
from appliance_images.cluster.settings import Settings

ASK_S = 5.0
RETRY_S = 2.0
"""Until the pairing is asked for again."""


async def run(ctx: Context, task_status: Started) -> None:
    """Serve and lead until told to stop."""
    settings = ctx.config
    assert isinstance(settings, Settings)
    try:
        machine = slots.this_machine()
    except ApplianceError as error:
        # The same configuration serves a node that was installed in another way: it just cannot be upgraded like this.
        ctx.publish(Status(health=Health.WARN, summary=error.message))
        task_status.started()
        await ctx.stopping.wait()
        return
    local = Local(machine, lambda words: health.answer(client.DEFAULT_SOCKET, words))
    await serve(ctx, settings, local, task_status, keys=slots.trusted(machine))


async def serve(ctx: Context, settings: Settings, local: Local, task_status: Started, *, keys: list[Path]) -> None:
    """As `run`, for any machine."""
    leader = Leader(ctx, settings, local, keys)
    await leader.load()
    with (
        ctx.subscribe(KeysChanged, overflow=Overflow.COALESCE) as news,
        ctx.serve(UpgradeCluster, leader.begin),
        ctx.serve(GetUpgrade, leader.told),
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leader.run)
            nursery.start_soon(_follow_pairing, ctx, settings, local, leader, news)
            task_status.started()
            await ctx.stopping.wait()
            nursery.cancel_scope.cancel(reason="the service stops")
    local.close()


async def _follow_pairing(
    ctx: Context, settings: Settings, local: Local, leader: Leader, news: Subscription[KeysChanged]
) -> None:
    """Serve whoever is paired; anew whenever that changes."""
    while True:
        pairing = await _pairing(ctx)
        peers = pairing.peers if pairing is not None else ()
        async with trio.open_nursery() as nursery:
            leader.peer = None
            if pairing is not None and peers:
                await _listen(ctx, settings, local, pairing, nursery)
                leader.peer = Peer(peers[0], pairing, settings) if len(peers) == 1 else None
            leader.peers = tuple(peer.name for peer in peers)
            ctx.publish(_status(peers))
            with trio.move_on_after(RETRY_S if pairing is None else float("inf")):
                await news.receive()
            nursery.cancel_scope.cancel(reason="the pairing changed")


async def _listen(ctx: Context, settings: Settings, local: Local, pairing: Pairing, nursery: trio.Nursery) -> None:
    tls = server_tls(pairing.certificate, pairing.key, [each.certificate for each in pairing.peers])
    methods = Methods(ctx, local, {peer.fingerprint: peer for peer in pairing.peers}).table()
    known = frozenset(peer.address for peer in pairing.peers)
    for address in settings.addresses:
        where = Listen(address=address, port=settings.port, device=settings.device)
        await nursery.start(Server(where, tls, methods, log=ctx.log, limits=LIMITS, known=known).run)


async def _pairing(ctx: Context) -> Pairing | None:
    with suppress(NoProvider, ProviderFailed, ApplianceError, trio.TooSlowError):
        with trio.fail_after(ASK_S):
            return await ctx.call(GetPairing())
    return None


def _status(peers: tuple[object, ...]) -> Status:
    if len(peers) == 1:
        return Status(summary="ready")
    what = (
        "this node is not paired"
        if not peers
        else f"this node is paired with {len(peers)} others, and two make a cluster"
    )
    return Status(health=Health.WARN, summary=f"{what}: the cluster cannot be upgraded from here")
