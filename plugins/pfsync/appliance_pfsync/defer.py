"""Deferral: the first packet of a new forwarded flow waits until a peer has the flow's state, `DEFER_S` at most.

For asymmetric paths: the SYN leaves through one node, the SYN-ACK comes back through another one, which has to know the
flow by then. So does the first node have to know of the SYN-ACK before the client's ACK comes: to connection tracking
an ACK in SYN_SENT is invalid. Therefore a SYN-ACK waits in the same way.

Packets are stopped in POSTROUTING after the translation is decided. The entry of a new flow is not confirmed there and
not in the kernel's table; that happens at the very end of POSTROUTING, after the verdict. So there is no event to wait
for: the queue itself tells the entry, with both of its tuples.

Every failure lets packets pass: too many of them, no peer, a peer that does not answer, this process gone (``bypass``).
Only what is held in the very moment when this process dies is lost, as the kernel has it.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from appliance.net import nft
from appliance.net.conntrack import attributes as a
from appliance_pfsync.decode import Decoder
from appliance_pfsync.filters import LocalAddresses, exportable
from appliance_pfsync.flow import TCP, Flows, Op, Status
from appliance_pfsync.native.effects import PeerReport
from appliance_pfsync.ruleset import OWN_PROTOCOLS, TABLE, Statement

QUEUE = 240
"""Number of the NFQUEUE, as the IP protocol of pfsync. One user per network namespace."""
DEFER_S = 0.02
"""As net.pfsync.defer_delay of FreeBSD's pfsync(4)."""
HELD_MAX = 4096
"""Packets held at a time: what 200 000 new flows a second make in `DEFER_S`."""
TAKE_MAX = 256
"""Packets taken at once: about one and a half milliseconds of work."""

CHAIN = "deferred"
PRIORITY = 200
"""After the translation of sources (srcnat, 100), before the confirmation (the highest number there is)."""
_CREATE = a.NLM_F_CREATE | a.NLM_F_EXCL


class Queue(Protocol):
    """What is needed of `appliance.net.nfqueue.PacketQueue`."""

    def drain(self, max_packets: int) -> list[tuple[int, bytes]]: ...
    def accept(self, ids: Sequence[int]) -> None: ...


class Offers(Protocol):
    """What is needed of the protocol, see `appliance_pfsync.dialect`."""

    @property
    def peers(self) -> Sequence[PeerReport]: ...
    def offer(self, flows: Flows, now: float, *, ack_wanted: bool = False) -> int: ...


class _Held(NamedTuple):
    ticket: int
    until: float
    ids: list[int]


class Defer:
    """Which packets are held, and until when. All times are monotonic seconds; nothing here waits."""

    def __init__(self, queue: Queue, *, held_max: int = HELD_MAX) -> None:
        self.counters: Counter[str] = Counter()
        """``held``, and how that ended: ``confirmed``, ``expired`` or ``released`` (no peer, or this service stops);
        ``passed``: not a flow for peers; ``alone``: no peer is alive; ``overflow``: too many were held."""
        self._queue = queue
        self._held_max = held_max
        self._decoder = Decoder()
        self._waiting: deque[_Held] = deque()
        """In the order of their deadlines, which is that of their tickets."""
        self._count = 0

    def __len__(self) -> int:
        """Packets that are held."""
        return self._count

    def deadline(self) -> float:
        """When `expire` wants to be called; infinite while nothing is held."""
        return self._waiting[0].until if self._waiting else math.inf

    def take(self, protocol: Offers, local: LocalAddresses, now: float) -> bool:
        """Look at the packets that have come, and offer their flows; whether there is something to send then."""
        packets = self._queue.drain(TAKE_MAX)
        if not packets:
            return False
        if not any(peer.alive for peer in protocol.peers):
            self.release_all()
            self._pass([number for number, _ in packets], "alone")
            return False
        room = max(0, self._held_max - self._count)
        self._pass([number for number, _ in packets[room:]], "overflow")
        return self._offer(packets[:room], protocol, local, now)

    def _offer(self, packets: list[tuple[int, bytes]], protocol: Offers, local: LocalAddresses, now: float) -> bool:
        batch = self._decoder.decode(b"".join([_message(number, entry) for number, entry in packets]))
        ticket, told = 0, set[int]()
        for flows, numbers in ((batch.flows4, batch.pids4), (batch.flows6, batch.pids6)):
            flows["op"][(flows["status"] & int(Status.CONFIRMED)) != 0] = Op.UPDATE  # a SYN-ACK
            chosen = exportable(flows, local, early=True)
            if chosen.any():
                ticket = protocol.offer(flows[chosen], now, ack_wanted=True)
                told.update(numbers[chosen].tolist())
        self._pass([number for number, _ in packets if number not in told], "passed")
        if told:
            self._waiting.append(_Held(ticket, now + DEFER_S, [number for number, _ in packets if number in told]))
            self._count += len(told)
            self.counters["held"] += len(told)
        return bool(told)

    def release(self, ticket: int) -> None:
        """A peer has everything up to this ticket in its kernel."""
        while self._waiting and self._waiting[0].ticket <= ticket:
            self._let_go("confirmed")

    def expire(self, now: float) -> None:
        """Let go what has waited long enough."""
        while self._waiting and self._waiting[0].until <= now:
            self._let_go("expired")

    def release_all(self) -> None:
        """Let go everything."""
        while self._waiting:
            self._let_go("released")

    def _let_go(self, why: str) -> None:
        held = self._waiting.popleft()
        self._count -= len(held.ids)
        self._pass(held.ids, why)

    def _pass(self, ids: list[int], why: str) -> None:
        if ids:
            self.counters[why] += len(ids)
            self._queue.accept(ids)

    def stop(self) -> None:
        """Let go everything, also what nobody has looked at yet."""
        self.release_all()
        while packets := self._queue.drain(TAKE_MAX):
            self._pass([number for number, _ in packets], "released")


def _message(number: int, entry: bytes) -> bytes:
    """A packet's entry as the event that would report it, with the number of the packet as the sender's port."""
    return a.HEADER.pack(a.BODY + len(entry), a.CT_NEW, _CREATE, 0, number) + a.FAMILY.pack(0, 0, 0) + entry


# --- the rules --------------------------------------------------------------------------------------------------

_CHAIN: Statement = {"family": "inet", "table": TABLE, "name": CHAIN}
_BASE: Statement = {**_CHAIN, "type": "filter", "hook": "postrouting", "prio": PRIORITY, "policy": "accept"}
_SYN_ACK = 0x12


async def load(number: int = QUEUE) -> None:
    """Make the rules that stop packets, or make them anew. After `ruleset.load`, and after the queue has been bound.

    Raises:
        KernelError: nft refused, for example because this kernel has no ``queue`` for it; nothing has been changed.
    """
    # Forwarded. Its source address would not tell: after SNAT it is one of the node's own.
    is_forwarded = _match("!=", _meta("iif"), 0)
    queue: Statement = {"queue": {"num": number, "flags": "bypass"}}
    new = [
        _match("!=", _meta("l4proto"), f"@{OWN_PROTOCOLS}"),
        _match("in", _ct("state"), "new"),
        _match("==", {"&": [_ct("status"), int(Status.CONFIRMED)]}, 0),
        is_forwarded,
        queue,
    ]
    flags: Statement = {"payload": {"protocol": "tcp", "field": "flags"}}
    syn_ack = [
        _match("==", _meta("l4proto"), TCP),
        _match("==", {"&": [flags, _SYN_ACK]}, _SYN_ACK),
        _match("==", _ct("direction"), "reply"),
        is_forwarded,
        queue,
    ]
    place: Statement = {"family": "inet", "table": TABLE, "chain": CHAIN}
    rules = [{"add": {"rule": {**place, "expr": expressions}}} for expressions in (new, syn_ack)]
    await nft.apply({"nftables": [{"add": {"chain": _BASE}}, {"flush": {"chain": _CHAIN}}, *rules]})


async def remove(defer: Defer) -> None:
    """Stop no more packets, let go those that are held, and take the chain away.

    In this order: the kernel drops what is held when a chain goes.

    Raises:
        KernelError: nft refused; what was held has been let go.
    """
    table: Statement = {"add": {"table": {"family": "inet", "name": TABLE}}}
    try:
        await nft.apply({"nftables": [table, {"add": {"chain": _BASE}}, {"flush": {"chain": _CHAIN}}]})
    finally:
        defer.stop()
    await nft.apply({"nftables": [{"add": {"chain": _BASE}}, {"delete": {"chain": _CHAIN}}]})


def _meta(key: str) -> Statement:
    return {"meta": {"key": key}}


def _ct(key: str) -> Statement:
    return {"ct": {"key": key}}


def _match(how: str, left: Statement, right: object) -> Statement:
    return {"match": {"op": how, "left": left, "right": right}}
