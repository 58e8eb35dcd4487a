"""The native protocol as the service sees it: datagrams and time in, effects and datagrams out.

- Every node says hello to everybody once a second; sessions come from that (`greeting`). All else goes from one
  node to one other: a numbered, acknowledged stream in each direction (`peer`, `sending`, `receiving`).
- Live records go to every peer at once. A peer that misses something which can no longer be repeated asks for a
  bulk update (`bulk`), and an audit follows (`audit`), which also finds what ended meanwhile (`memory`).
- A node asks every peer for a bulk update when it meets it first, and again when it returns while one failed.
- A restarted node has a new boot id and takes the place of its former life. Whoever has the name of a node that is
  still heard is refused.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from appliance_pfsync.flow import Flows, key_hashes
from appliance_pfsync.native.audit import Auditor
from appliance_pfsync.native.circle import Circle
from appliance_pfsync.native.deliver import END, REQUEST, Courier, pack_ages
from appliance_pfsync.native.effects import (
    BulkDone,
    BulkFailed,
    BulkWanted,
    Effect,
    FlowsInjected,
    Hashes,
    PeerDown,
    PeerReport,
    PeerUp,
)
from appliance_pfsync.native.greeting import Greeter, Known
from appliance_pfsync.native.header import (
    AGE_BYTES,
    DATA,
    DATAGRAM_MAX,
    HELLO,
    MAGIC,
    OUTER,
    REPAIR,
    Kind,
    Malformed,
    payload_room,
)
from appliance_pfsync.native.keys import Keyring
from appliance_pfsync.native.live import Packer
from appliance_pfsync.native.memory import Memory
from appliance_pfsync.native.peer import Peer
from appliance_pfsync.native.sending import window_datagrams
from appliance_pfsync.native.session import Session
from appliance_pfsync.settings import PfsyncSettings

IP_HEADER_BYTES = {4: 20, 6: 40}
TIDY_S = 1.0
_FAR = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class PeeringSettings:
    """Sizes and times; the defaults are those of the product."""

    payload_max: int = 1500 - 20 - 8
    """Bytes of the largest datagram, without its IP header."""
    hello_s: float = 1.0
    dead_s: float = 3.5
    """Silence after which a peer is down: three lost hellos are forgiven."""
    bulk_timeout_s: float = 60.0
    """Seconds without progress after which a bulk update is given up."""
    lonely_s: float = 5.0
    """Seconds after which nobody is expected to have states for us."""
    audit_s: float = 30.0
    """Between two comparisons with a peer; 0 for none."""
    versions: tuple[int, int] = (1, 1)
    """Lowest and highest version of the protocol that is spoken."""

    @classmethod
    def of(cls, settings: PfsyncSettings) -> PeeringSettings:
        """Those of a configured service."""
        return cls(
            payload_max=settings.mtu - IP_HEADER_BYTES[settings.family],
            bulk_timeout_s=settings.bulk_timeout_s,
            audit_s=settings.audit_s,
        )


class Peering:
    """Everything between this node and its peers. All times are monotonic seconds; nothing here raises or waits."""

    def __init__(
        self, settings: PeeringSettings, *, node: str, keyring: Keyring | None, random_bytes: Callable[[int], bytes]
    ) -> None:
        """Prepare; the first `tick` begins.

        Args:
            settings: Sizes and times.
            node: This node's name.
            keyring: Secrets of the cluster; `None` is the explicit choice of plain datagrams.
            random_bytes: A cryptographically secure source, such as `secrets.token_bytes`.
        """
        self.settings = settings
        self.node = node
        self.states = 0
        """How many states this node has, told to the peers; set by the service now and then."""
        self._room = payload_room(min(settings.payload_max, DATAGRAM_MAX))
        self._counters: Counter[str] = Counter()
        self._memory = Memory()
        self._auditor = Auditor(node=node, audit_s=settings.audit_s, payload_max=self._room, memory=self._memory)
        self._courier = Courier(self._memory, self._auditor, self._counters)
        self._packer = Packer(self._room)
        greeter = Greeter(node=node, versions=settings.versions, keyring=keyring, random_bytes=random_bytes)
        self._circle = Circle(greeter, hello_s=settings.hello_s, dead_s=settings.dead_s, make=self._make_peer)
        self._serial = self._tickets = self._ticket_wanted = 0
        self._later: list[Effect] = []
        """Of calls that return none."""
        self._now = -_FAR
        self._tidy_at = self._lonely_at = _FAR

    @property
    def is_owner(self) -> bool:
        """Whether this node carries the traffic; set by the service, see `Memory.is_owner`."""
        return self._memory.is_owner

    @is_owner.setter
    def is_owner(self, value: bool) -> None:
        self._memory.is_owner = value

    # --- driving -------------------------------------------------------------------------------------------

    def tick(self, now: float) -> list[Effect]:
        """Do what is due."""
        now = self._advance(now)
        effects, self._later = self._later, []
        if now >= self._tidy_at:
            self._memory.tidy(now)
            self._tidy_at = now + TIDY_S
        for peer in self._circle.silent(now):
            self._auditor.forget(peer.name)
            self._note_feeds()
            effects.append(PeerDown(peer.name, peer.address))
        for peer in self._circle.alive:
            if peer.fetch.tick(peer.name, now):
                peer.send(Kind.BULK_REQUEST, REQUEST.pack(peer.fetch.request))
        if now >= self._lonely_at:
            self._lonely_at = _FAR
            effects.append(BulkFailed("", "no peer has been heard", lonely=True))
        effects += self._auditor.tick(self._circle.alive, now)
        return effects + self._results()

    def _advance(self, now: float) -> float:
        if self._now == -_FAR:
            self._memory.begin(now)
            self._auditor.begin(now)
            self._circle.hello_at, self._tidy_at = now, now + TIDY_S
            self._lonely_at = now + self.settings.lonely_s
        self._now = max(self._now, now)
        return self._now

    def deadline(self) -> float:
        """When to call `tick` at the latest."""
        if self._later:
            return self._now
        return min(self._tidy_at, self._lonely_at, self._auditor.deadline(), self._circle.deadline())

    def outgoing(self) -> list[tuple[str, bytes]]:
        """Datagrams with their destinations, empty for everybody. Ask after every other call."""
        now = self._now
        if now == -_FAR:
            return []
        self._pack_live()
        datagrams = []
        if self._circle.hello_at <= now:
            datagrams.append(("", self._circle.say(self.states, now)))
        for peer in self._circle.peers.values():
            address = peer.address
            datagrams += [(address, datagram) for datagram in peer.drain(now)]
        return datagrams

    def receive(self, datagram: bytes, source: str, now: float) -> list[Effect]:
        """Take a datagram; one that is not valid changes nothing and is counted."""
        now = self._advance(now)
        try:
            if len(datagram) > DATAGRAM_MAX:
                raise Malformed("oversized")
            if len(datagram) < OUTER.size:
                raise Malformed("malformed")
            magic, what, _, _, session_id, counter = OUTER.unpack_from(datagram)
            if magic != MAGIC:
                raise Malformed("badver")
            if what == DATA:
                peer = self._circle.by_session.get(session_id)
                if peer is None:
                    raise Malformed("badkey")
                return self._data(peer, datagram, session_id, counter, source)
            if what == HELLO:
                return self._met(self._circle.hear(datagram, source, now))
            raise Malformed("malformed")
        except Malformed as malformed:
            self._counters[malformed.reason] += 1
            return []

    def _data(self, peer: Peer, datagram: bytes, session_id: int, counter: int, source: str) -> list[Effect]:
        now = self._now
        frames = peer.take(datagram, session_id, counter, now)
        peer.address = source
        effects = self._met(self._circle.heard(peer, now))
        for frame in frames:
            effects += self._courier.deliver(peer, frame, now)
            if frame.kind == Kind.CLEAR:
                self._restart_feeds()
            elif frame.kind == Kind.BULK_END:
                effects += self._results()
        if peer.tickets:
            effects.append(FlowsInjected(peer.name, peer.tickets))
            peer.tickets = 0
        return effects

    # --- peers ---------------------------------------------------------------------------------------------

    def _make_peer(self, known: Known, session: Session, former: Peer | None) -> Peer:
        self._pack_live()  # what has been offered before is part of the bulk update that this peer will ask for
        self._auditor.forget(known.name)
        self._serial += 1
        peer = Peer(
            name=known.name,
            boot=known.boot,
            address=known.address,
            session=session,
            serial=self._serial,
            window=window_datagrams(self.settings.payload_max),
            timeout_s=self.settings.bulk_timeout_s,
            counters=former.counters if former else Counter(),
        )
        peer.losses = former.losses if former else 0
        self._want(peer)
        return peer

    def _met(self, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            if isinstance(effect, PeerUp):
                peer = self._circle.peers[effect.peer]
                if peer.fetch.has_failed:
                    self._want(peer)
                self._note_feeds()
        return effects

    @property
    def peers(self) -> tuple[PeerReport, ...]:
        """Every peer, by name."""
        return tuple(peer.report(self._now) for _, peer in sorted(self._circle.peers.items()))

    @property
    def counters(self) -> dict[str, int]:
        """What has been counted, of all peers together."""
        total = self._counters.copy()
        for peer in self._circle.peers.values():
            total.update(peer.counters)
        total["refused"] = self._circle.refused
        return dict(total)

    def set_keyring(self, keyring: Keyring | None, now: float) -> None:
        """Take new secrets without a gap."""
        self._later += self._circle.set_keyring(keyring, self._advance(now))

    # --- live ----------------------------------------------------------------------------------------------

    def offer(self, flows: Flows, now: float, *, ack_wanted: bool = False) -> int:
        """Send records of one family to every peer; a ticket for `FlowsInjected` if that is wanted."""
        self._advance(now)
        self._tickets += 1
        if len(flows):
            if ack_wanted:
                self._ticket_wanted = self._tickets
            if self._packer.offer(flows, ack_wanted=ack_wanted):
                self._pack_live()
        return self._tickets

    def _pack_live(self) -> None:
        taken = self._packer.take()
        if not taken:
            return
        now, peers = self._now, self._circle.peers.values()
        for size, blob, items in taken:
            self._memory.note(blob, size, now, own=True)
            for peer in peers:
                peer.send_all(items)
        for peer in self._circle.alive:
            peer.out.mark(now, self._ticket_wanted)
        self._ticket_wanted = 0

    def injected(self, peer: str, token: int, now: float) -> None:
        """Everything up to this token is in the kernel."""
        of = self._circle.peers.get(peer)
        if of is not None:
            of.injected(token, self._advance(now))

    def clear(self, now: float) -> None:
        """Tell every peer to remove what is replicated."""
        now = self._advance(now)
        self._tell(Kind.CLEAR)
        self._memory.note_cleared(now)
        self._restart_feeds()

    def lost_events(self, now: float) -> None:
        """This node's kernel could not tell everything: the tables are compared soon."""
        now = self._advance(now)
        self._tell(Kind.LOST)
        self._auditor.soon(now, twice=True)

    def _tell(self, kind: Kind) -> None:
        self._pack_live()
        for peer in self._circle.peers.values():
            peer.send(kind)

    # --- bulk ----------------------------------------------------------------------------------------------

    def request_bulk(self, now: float) -> None:
        """Ask every peer for all its states; see `bulk` for what is reported when."""
        now = self._advance(now)
        for peer in self._circle.alive:
            self._want(peer)
        if not self._circle.alive:
            self._lonely_at = now

    def _want(self, peer: Peer) -> None:
        peer.fetch.want(self._now)
        self._lonely_at = _FAR

    def _results(self) -> list[Effect]:
        """What bulk updates came to, once none is wanted any more."""
        fetches = [peer.fetch for peer in self._circle.peers.values()]
        if any(fetch.is_wanted for fetch in fetches):
            return []
        results = [fetch.result for fetch in fetches if fetch.result is not None]
        for fetch in fetches:
            fetch.result = None
        return sorted(results, key=lambda result: not isinstance(result, BulkDone))

    @property
    def bulk_targets(self) -> tuple[str, ...]:
        """Peers that want a bulk update and have not got it yet."""
        return tuple(peer.name for peer in self._circle.peers.values() if peer.feed is not None)

    def room_for_bulk(self, peer: str) -> int:
        """How many records may be offered to it now; 0 also when it wants none."""
        of = self._circle.peers.get(peer)
        if of is None or of.feed is None:
            return 0
        return max(0, of.room()) * (self._room // 64)

    def offer_bulk(self, peer: str, flows: Flows, now: float) -> None:
        """Send records of a dump to a peer that wants them."""
        now = self._advance(now)
        of = self._circle.peers.get(peer)
        if of is None or of.feed is None or not len(flows):
            return
        self._pack_live()
        hashes = key_hashes(flows)
        stale = self._memory.touched_since(hashes, of.feed.since)
        of.feed.count += self._send_snapshot(of, flows[~stale], hashes[~stale], 0)

    def _send_snapshot(self, peer: Peer, flows: Flows, hashes: Hashes, flags: int) -> int:
        ages = self._memory.begun_ago(hashes, self._now)
        size = flows.dtype.itemsize
        kind = Kind.BULK4 if size == 60 else Kind.BULK6
        step = self._room // (size + AGE_BYTES)
        for first in range(0, len(flows), step):
            part = flows[first : first + step]
            peer.send(kind, part.tobytes() + pack_ages(ages[first : first + step]), len(part), flags)
        return len(flows)

    def end_bulk(self, peer: str, now: float) -> None:
        """The dump has been offered to the end."""
        self._advance(now)
        of = self._circle.peers.get(peer)
        if of is not None and of.feed is not None:
            of.send(Kind.BULK_END, END.pack(of.feed.request, min(of.feed.count, 0xFFFFFFFF)))
            of.feed = None
            self._note_feeds()

    def _note_feeds(self) -> None:
        self._memory.record(bool(self.bulk_targets))

    def _restart_feeds(self) -> None:
        """What a dump under way has read is not true any more."""
        for peer in self._circle.peers.values():
            if peer.feed is not None:
                peer.feed.since = self._now
                self._later.append(BulkWanted(peer.name))

    # --- audit ---------------------------------------------------------------------------------------------

    def request_audit(self, now: float) -> None:
        """Compare with every peer soon."""
        now = self._advance(now)
        self._auditor.soon(now, twice=False)
        for peer in self._circle.alive:
            if peer.name < self.node:
                peer.send(Kind.AUDIT_PLEASE)

    def audit_snapshot(self, hashes: Hashes, now: float) -> list[Effect]:
        """The answer to `AuditWanted`: the key hashes of all exportable flows."""
        return self._auditor.snapshot(hashes, self._advance(now))

    def offer_repair(self, peer: str, flows: Flows, now: float) -> None:
        """The answer to `AuditSend`: the flows as they are now, one family."""
        self._advance(now)
        of = self._circle.peers.get(peer)
        if of is not None and of.alive and len(flows):
            self._pack_live()
            self._send_snapshot(of, flows, key_hashes(flows), REPAIR)
