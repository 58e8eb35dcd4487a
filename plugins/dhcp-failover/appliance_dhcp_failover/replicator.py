"""Leases between the nodes: calls over mutually authenticated TLS with the identities that pairing made.

Each node serves the others and calls them; who is MASTER does not matter here. A change is told to all nodes that are
up, at once, and whoever waits for it goes on when all have it or have lost their claim to be waited for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import trio

from appliance.errors import ApplianceError
from appliance.events import GetPairing, KeysChanged, PairedNode, Pairing
from appliance.plugin import Context, NoProvider, Overflow, ProviderFailed
from appliance.rpc import (
    Caller,
    Client,
    Fault,
    FaultCode,
    Limits,
    Listen,
    RpcError,
    Server,
    Target,
    Timeouts,
    Value,
    client_tls,
    expect,
    server_tls,
)
from appliance_dhcp_failover import leases, wire
from appliance_dhcp_failover.link import Greet, Link, PeerState, Pull, Rest
from appliance_dhcp_failover.pool import Pool
from appliance_dhcp_failover.settings import ChannelSettings
from appliance_dhcp_failover.wire import BadMessage, Change, Hello, PoolSummary

ACK_S = 0.5
"""How long a client's answer waits for another node; a healthy one needs some milliseconds."""
QUEUE_MAX = 4096
"""Changes that wait for one node."""
RETRY_S = 2.0
"""Until the pairing is asked for again."""
ASK_S = 5.0
TIMEOUTS = Timeouts(connect_s=0.5, handshake_s=1.0, send_stall_s=1.0, answer_s=2.0, read_stall_s=1.0, idle_s=20.0)
LIMITS = Limits(body_max=wire.MESSAGE_MAX * 2, method_s=10.0)


@dataclass(slots=True)
class _Parcel:
    """A change on its way to one node."""

    change: Change
    refused: list[Change] = field(default_factory=list)
    done: trio.Event = field(default_factory=trio.Event)


class _Peer:
    """One other node: its link, and what waits for it."""

    def __init__(self, node: PairedNode, pairing: Pairing, channel: ChannelSettings, boot: str) -> None:
        self.node = node
        self.link = Link(boot, trio.current_time())
        tls = client_tls(pairing.certificate, pairing.key, [node.certificate])
        target = Target(address=node.address, port=channel.port, device=channel.device)
        # Two connections: a page must not hold up a client.
        self.changes = Client(target, tls=tls, timeouts=TIMEOUTS)
        self.pages = Client(target, tls=tls, timeouts=TIMEOUTS)
        self.send, self.receive = trio.open_memory_channel[_Parcel](QUEUE_MAX)

    async def aclose(self) -> None:
        """Close both connections."""
        with trio.move_on_after(0.5, shield=True):
            await self.changes.aclose()
            await self.pages.aclose()


class Replicator:
    """All other nodes.

    Args:
        ctx: Of the service.
        pools: By logical interface; read, never changed.
        boot: Another text at every start of the service.
    """

    def __init__(self, ctx: Context, pools: Mapping[str, Pool], boot: str) -> None:
        self._ctx, self._pools, self._boot = ctx, pools, boot
        self._channel: ChannelSettings | None = None
        self._peers: dict[str, _Peer] = {}
        self._renewed = trio.Event()
        self.problem = ""
        """Why there is no replication although it is configured; for people."""
        self.nonsense = 0
        """Messages that were none."""
        self.conflicts = 0
        """Leases that another node had given to another client."""

    @property
    def links(self) -> Mapping[str, Link]:
        """What is known of the other nodes, by the names of their certificates."""
        return {name: peer.link for name, peer in self._peers.items()}

    def state(self, pool: Pool) -> PeerState:
        """How the other nodes are with respect to a pool: the worst."""
        if self._channel is None or pool.settings.peer is None:
            return PeerState.OFF
        found = {peer.link.state for peer in self._peers.values()}
        order = (PeerState.UNREACHABLE, PeerState.SYNCHRONIZING, PeerState.SYNCHRONIZED)
        return next((state for state in order if state in found), PeerState.UNREACHABLE)

    @property
    def is_heard(self) -> bool:
        """Whether any other node can be reached."""
        return any(peer.link.up for peer in self._peers.values())

    @property
    def is_behind(self) -> bool:
        """Whether a node that can be reached has leases that this one has not fetched yet."""
        return any(peer.link.up and not peer.link.has_all_of_theirs for peer in self._peers.values())

    def lost(self, name: str) -> None:
        """The heartbeats say that this node is dead: do not wait for it. If it is not, the next hello says so."""
        peer = self._peers.get(name)
        if peer is not None and peer.link.up:
            self._fail(peer, "its heartbeats have ended")

    def hurry(self) -> None:
        """Something that hellos tell has changed."""
        for peer in self._peers.values():
            peer.link.hurry(trio.current_time())

    # ------------------------------------------------------------------------------------ the service

    def follow(self, channel: ChannelSettings | None) -> None:
        """Other settings."""
        if channel != self._channel:
            self._channel = channel
            self._renewed.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Replicate for ever; anew whenever it changes who is trusted."""
        is_first = True
        with self._ctx.subscribe(KeysChanged, overflow=Overflow.COALESCE) as news:
            while True:
                self._renewed = trio.Event()
                pairing = await self._pairing() if self._channel is not None else None
                async with trio.open_nursery() as nursery:
                    await self._begin(pairing, nursery)
                    if is_first:
                        task_status.started()
                        is_first = False
                    with trio.move_on_after(RETRY_S if self.problem else float("inf")):
                        await self._change(news)
                    nursery.cancel_scope.cancel(reason="the pairing or the settings changed")
                await self._forget()

    async def _change(self, news: Any) -> None:
        async with trio.open_nursery() as nursery:

            async def renewed() -> None:
                await self._renewed.wait()
                nursery.cancel_scope.cancel(reason="the settings changed")

            nursery.start_soon(renewed)
            await news.receive()
            nursery.cancel_scope.cancel(reason="the pairing changed")

    async def _pairing(self) -> Pairing | None:
        try:
            with trio.fail_after(ASK_S):
                pairing = await self._ctx.call(GetPairing())
        except (NoProvider, trio.TooSlowError):
            self.problem = "the service that pairs the nodes does not answer"
            return None
        except ProviderFailed as error:
            self.problem = f"the pairing cannot be had: {error}"
            return None
        except ApplianceError as error:
            self.problem = error.message
            return None
        self.problem = "" if pairing.peers else "this node is not paired with any other"
        return pairing if pairing.peers else None

    async def _begin(self, pairing: Pairing | None, nursery: trio.Nursery) -> None:
        channel = self._channel
        if pairing is None or channel is None:
            return
        try:
            tls = server_tls(pairing.certificate, pairing.key, [each.certificate for each in pairing.peers])
            self._peers = {each.name: _Peer(each, pairing, channel, self._boot) for each in pairing.peers}
        except ApplianceError as error:
            self.problem = error.message
            return
        methods = {wire.HELLO: self._hello, wire.CHANGES: self._take, wire.PAGE: self._page}
        known = frozenset(each.address for each in pairing.peers)
        for address in channel.addresses:
            where = Listen(address=address, port=channel.port, device=channel.device)
            server = Server(where, tls, methods, log=self._ctx.log, limits=LIMITS, known=known)
            await nursery.start(server.run)
        for peer in self._peers.values():
            nursery.start_soon(self._keep, peer)
            nursery.start_soon(self._deliver, peer)

    async def _forget(self) -> None:
        peers, self._peers = self._peers, {}
        for peer in peers.values():
            await peer.aclose()

    # ------------------------------------------------------------------------------------ calling

    async def share(self, change: Change) -> list[Change]:
        """Tell a change to all nodes that are up; returns what they have given to others instead.

        Comes back when all have it, after little more than `ACK_S` at the latest.
        """
        parcels: list[_Parcel] = []
        for peer in self._peers.values():
            parcel = _Parcel(change)
            if peer.link.up and _post(peer, parcel):
                parcels.append(parcel)
            else:
                peer.link.missed()
        for parcel in parcels:
            await parcel.done.wait()
        return [each for parcel in parcels for each in parcel.refused]

    async def _deliver(self, peer: _Peer) -> None:
        """Send what waits for a node, as much at a time as there is."""
        waiting: list[_Parcel] = []
        try:
            while True:
                waiting = [await peer.receive.receive()]
                waiting += _waiting(peer, wire.CHANGES_MAX - 1)
                await self._send(peer, waiting)
                for parcel in waiting:
                    parcel.done.set()
        finally:
            # Nobody may wait for a node that is no longer one of the cluster.
            for parcel in (*waiting, *_waiting(peer, QUEUE_MAX)):
                parcel.done.set()
            peer.receive.close()

    async def _send(self, peer: _Peer, parcels: list[_Parcel]) -> None:
        if not peer.link.up:
            peer.link.missed()
            return
        message = wire.encode_changes([each.change for each in parcels], time.time(), self._ctx.node.name)
        try:
            with trio.fail_after(ACK_S):
                answer = await peer.changes.call(wire.CHANGES, message)
            refused = wire.decode_changes(answer, time.time())
        except trio.TooSlowError:
            self._fail(peer, f"it has not taken a lease in {ACK_S:g} s")
        except (RpcError, Fault, BadMessage) as error:
            self._fail(peer, _said(error))
        else:
            self.conflicts += len(refused)
            for parcel in parcels:
                of = parcel.change
                parcel.refused = [
                    each for each in refused if (each.interface, each.lease.address) == (of.interface, of.lease.address)
                ]

    async def _keep(self, peer: _Peer) -> None:
        """Greet a node and fetch its leases, for ever."""
        while True:
            match peer.link.todo(trio.current_time()):
                case Greet():
                    await self._greet(peer)
                case Pull(epoch):
                    await self._pull(peer, epoch)
                case Rest():
                    # Short, because a hello from there or a failed delivery may bring something to do.
                    await trio.sleep(0.05)

    async def _greet(self, peer: _Peer) -> None:
        sent, begun = time.time(), trio.current_time()
        try:
            answer = await peer.pages.call(wire.HELLO, wire.encode_hello(self._own_hello(peer.link)))
            hello = wire.decode_hello(answer)
        except (RpcError, Fault, BadMessage) as error:
            self._fail(peer, _said(error))
            return
        taken = trio.current_time() - begun
        was_up = peer.link.up
        digests = {name: pool.table.digest(sent) for name, pool in self._pools.items()}
        peer.link.greeted(hello, hello.wall - sent - taken / 2, digests, trio.current_time())
        if not was_up:
            self._ctx.log.info("dhcp_peer_up", peer=peer.node.name)

    async def _pull(self, peer: _Peer, epoch: str) -> None:
        begun, taken = trio.current_time(), 0
        try:
            for name, summary in dict(peer.link.pools).items():
                if name in self._pools:
                    taken += await self._pull_pool(peer, self._pools[name], they_serve=summary.state == "serving")
        except (RpcError, Fault, BadMessage) as error:
            self._fail(peer, _said(error))
            return
        peer.link.fetched(epoch)
        peer.link.hurry(trio.current_time())
        seconds = round(trio.current_time() - begun, 3)
        self._ctx.log.info("dhcp_leases_fetched", peer=peer.node.name, changed=taken, seconds=seconds)

    async def _pull_pool(self, peer: _Peer, pool: Pool, *, they_serve: bool) -> int:
        after, taken = "", 0
        while True:
            raw = await peer.pages.call(wire.PAGE, wire.encode_ask(pool.settings.interface, after))
            table, following = wire.decode_page(raw, time.time())
            for lease in table:
                mine = pool.table.get(lease.address)
                if leases.is_better(lease, mine, now=time.time(), they_serve=they_serve):
                    pool.take(lease)
                    taken += 1
            await pool.settled()
            if not following or following == after:
                return taken
            after = following

    def _fail(self, peer: _Peer, why: str) -> None:
        if peer.link.up:
            self._ctx.log.warning("dhcp_peer_lost", peer=peer.node.name, why=why)
        peer.link.failed(why, trio.current_time())

    def _own_hello(self, link: Link) -> Hello:
        now = time.time()
        return Hello(
            node=self._ctx.node.name,
            wall=now,
            epoch=link.epoch,
            pulled=link.pulled,
            pools={
                name: PoolSummary(state=str(pool.gate.state), leases=len(pool.table), digest=pool.table.digest(now))
                for name, pool in self._pools.items()
                if pool.settings.peer is not None
            },
        )

    # ------------------------------------------------------------------------------------ being called

    def _caller(self, caller: Caller) -> _Peer:
        for peer in self._peers.values():
            if peer.node.fingerprint == caller.fingerprint:
                return peer
        raise Fault(FaultCode.PRIVILEGE, "this node is not paired with the caller")

    async def _hello(self, params: list[Value], caller: Caller) -> object:
        expect(params, bytes)
        peer = self._caller(caller)
        try:
            hello = wire.decode_hello(params[0])
        except BadMessage as error:
            raise self._nonsense(error) from None
        await trio.lowlevel.checkpoint()
        if not peer.link.up:
            peer.link.hurry(trio.current_time())  # it lives
        peer.link.heard(hello)
        return wire.encode_hello(self._own_hello(peer.link))

    async def _take(self, params: list[Value], caller: Caller) -> object:
        expect(params, bytes)
        self._caller(caller)
        await trio.lowlevel.checkpoint()
        now = time.time()
        try:
            changes = wire.decode_changes(params[0], now)
        except BadMessage as error:
            raise self._nonsense(error) from None
        refused: list[Change] = []
        for change in changes:
            pool = self._pools.get(change.interface)
            if pool is None or pool.settings.peer is None:
                continue  # not configured here (yet): nothing that we could serve
            mine = pool.table.get(change.lease.address)
            we_serve = pool.gate.may_answer
            if mine is not None and leases.is_conflict(change.lease, mine, now=now, we_serve=we_serve):
                refused.append(Change(interface=change.interface, lease=mine))
                continue
            if change.gone:
                pool.drop(change.lease.address)
            else:
                pool.take(change.lease)
        return wire.encode_changes(refused, now, self._ctx.node.name)

    async def _page(self, params: list[Value], caller: Caller) -> object:
        expect(params, bytes)
        self._caller(caller)
        await trio.lowlevel.checkpoint()
        try:
            interface, after = wire.decode_ask(params[0])
            pool = self._pools.get(interface)
            table, following = pool.table.page(after, time.time()) if pool is not None else ([], "")
        except ValueError as error:
            raise self._nonsense(error) from None
        return wire.encode_page(table, following, time.time(), self._ctx.node.name)

    def _nonsense(self, error: ValueError) -> Fault:
        self.nonsense += 1
        return Fault(FaultCode.PARAMETERS, str(error)[:200])


def _post(peer: _Peer, parcel: _Parcel) -> bool:
    """Whether there was room for it."""
    try:
        peer.send.send_nowait(parcel)
    except (trio.WouldBlock, trio.BrokenResourceError):
        return False
    return True


def _waiting(peer: _Peer, most: int) -> list[_Parcel]:
    """What waits for a node now."""
    found: list[_Parcel] = []
    while len(found) < most:
        try:
            found.append(peer.receive.receive_nowait())
        except (trio.WouldBlock, trio.ClosedResourceError):
            break
    return found


def _said(error: Exception) -> str:
    return error.message if isinstance(error, ApplianceError) else str(error)
