"""One peer: its session, both halves of its stream, and what is going on with it."""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterator

from appliance_pfsync.native.bulk import Feed, Fetch
from appliance_pfsync.native.effects import PeerReport
from appliance_pfsync.native.header import ACK_WANTED, INNER, UNSEQUENCED, Kind, Malformed
from appliance_pfsync.native.receiving import RANGES_MAX, Frame, Inbound
from appliance_pfsync.native.sending import Item, Outbound
from appliance_pfsync.native.session import Session

CREDIT = 128
"""Datagrams that may be ahead of this node's kernel before bulk records wait: some 10 ms of its work."""
CREDIT_MAX = 4096
ROOM_MAX = 32
"""Datagrams of bulk records that are taken at once: less than a millisecond of work."""
HELD_PER_S = 10_000
_RANGE = struct.Struct("!QI")
_U16, _U32 = 0xFFFF, 0xFFFFFFFF
_FAR = math.inf


class Peer:
    """A node with which this one has a session."""

    def __init__(
        self,
        *,
        name: str,
        boot: int,
        address: str,
        session: Session,
        serial: int,
        window: int,
        timeout_s: float,
        counters: Counter[str],
    ) -> None:
        """Begin with nothing sent.

        Args:
            name: Its node name.
            boot: Names its life.
            address: Where it is.
            session: The keys.
            serial: Of this object; makes tokens of different sessions different.
            window: Datagrams retained, and kept out of order.
            timeout_s: See `Fetch`.
            counters: What happened with it, also in earlier sessions.
        """
        self.name, self.boot, self.address = name, boot, address
        self.session = session
        self.base = serial << 64
        self.counters = counters
        self.out = Outbound(window, counters)
        self.inn = Inbound(window, counters)
        self.fetch = Fetch(timeout_s)
        self.feed: Feed | None = None
        self.alive = True
        self.heard_at = 0.0
        self.states: int | None = None
        self.losses = 0
        self.tickets = 0
        """The newest ticket that has been confirmed since this was last looked at; 0 for none."""
        self._credit = CREDIT

    # --- in ------------------------------------------------------------------------------------------------

    def take(self, datagram: bytes, session_id: int, counter: int, now: float) -> list[Frame]:
        """Open a datagram; what can be delivered now, in order.

        Raises:
            Malformed: It changes nothing.
        """
        inner = self.session.open(datagram, session_id, counter)
        kind, flags, records, number, ack, behind, pending, credit, held = INNER.unpack_from(inner)
        if not behind <= number or not number or pending > ack:
            raise Malformed("malformed")
        self._credit = min(credit, CREDIT_MAX)
        ticket = self.out.heard(ack, pending, held / HELD_PER_S, now)
        if ticket:
            self.tickets = ticket
        if kind < UNSEQUENCED:
            return self.inn.take(Frame(kind, flags, records, number, inner), number - behind, now)
        if kind == Kind.NACK:
            self._repeat(inner, now)
        elif kind == Kind.PROBE:
            self.inn.ack_at = now
        return self.inn.passed(number - behind, number - 1, now)

    def _repeat(self, inner: bytes, now: float) -> None:
        payload = inner[INNER.size :]
        if len(payload) % _RANGE.size or len(payload) > RANGES_MAX * _RANGE.size:
            self.counters["malformed"] += 1
            return
        self.out.asked(_RANGE.iter_unpack(payload), now)

    # --- out -----------------------------------------------------------------------------------------------

    def send(self, kind: int, payload: bytes = b"", count: int = 0, flags: int = 0) -> None:
        """Queue a datagram; to a silent peer nothing is sent, and it will notice the gap."""
        if self.alive:
            self.out.add(kind, payload, count, flags)
        else:
            self.out.skip()

    def send_all(self, items: list[Item]) -> None:
        """Queue datagrams that other peers get as well."""
        if self.alive:
            self.out.add_all(items)
        else:
            self.out.skip()

    def room(self) -> int:
        """Datagrams that may be queued now without delaying live records."""
        return min(self._credit - self.out.ahead, ROOM_MAX) if self.alive else 0

    def drain(self, now: float) -> Iterator[bytes]:
        """Everything that is to be sent now, sealed."""
        if not self.alive:
            return
        out, inn, seal = self.out, self.inn, self.session.seal
        due = out.take_due(now)
        if inn.nack_at <= now:
            yield seal(self._bare(Kind.NACK, now, b"".join(_RANGE.pack(*each) for each in inn.missing(now))))
        if out.probe_at <= now:
            out.probed(now)
            yield seal(self._bare(Kind.PROBE, now))
        if due:
            ack, pending, held, first, pack = *self._said(now), out.first, INNER.pack
            for number, (kind, flags, count, payload) in due:
                behind = max(number - first, 0)
                yield seal(pack(kind, flags, count, number, ack, behind, pending, CREDIT, held) + payload)
        elif inn.ack_at <= now:
            yield seal(self._bare(Kind.ACK, now))

    def _bare(self, kind: Kind, now: float, payload: bytes = b"") -> bytes:
        """A datagram without a number of its own."""
        ack, pending, held = self._said(now)
        number = self.out.last + 1
        behind = min(number - self.out.first, _U32)
        return INNER.pack(kind, 0, 0, number, ack, behind, pending, CREDIT, held) + payload

    def _said(self, now: float) -> tuple[int, int, int]:
        ack, pending, held_s = self.inn.report(now)
        self.inn.reported()
        return ack, min(pending, _U32), max(0, min(int(held_s * HELD_PER_S), _U16))

    # --- the kernel ----------------------------------------------------------------------------------------

    def injected(self, token: int, now: float) -> None:
        """Everything up to this token is in the kernel. Tokens of earlier sessions mean nothing."""
        self.inn.injected(token - self.base, now)

    def delivered(self, frame: Frame, now: float, *, to_kernel: bool) -> None:
        """A frame has been acted on, or is on its way into the kernel."""
        if to_kernel:
            self.inn.owe_flows(frame.number, at_once=bool(frame.flags & ACK_WANTED))
        else:
            self.inn.owe(now, at_once=bool(frame.flags & ACK_WANTED))

    # --- life ----------------------------------------------------------------------------------------------

    def fall_silent(self) -> None:
        """It is not heard any more."""
        self.alive = False
        self.out.give_up()
        if self.feed is not None:
            self.feed = None
            self.out.skip()  # the peer must not wait for the rest
        self.fetch.fail(self.name, "it has fallen silent")

    def return_(self, now: float) -> None:
        """It is heard again: both sides find out what was missed."""
        self.alive = True
        self.out.probe_at = now

    def deadline(self, dead_s: float) -> float:
        """When something is due."""
        if not self.alive:
            return _FAR
        return min(self.out.probe_at, self.inn.ack_at, self.inn.nack_at, self.heard_at + dead_s, self.fetch.deadline())

    def report(self, now: float) -> PeerReport:
        """For `show pfsync`."""
        return PeerReport(
            name=self.name,
            address=self.address,
            version=self.session.version,
            secured=self.session.is_secured,
            alive=self.alive,
            lag_s=self.out.lag_s(now),
            states=self.states,
            bulk=str(self.fetch.phase),
            last_bulk_at=self.fetch.last_at,
            last_bulk_count=self.fetch.last_count,
            losses=self.losses,
            counters=dict(self.counters),
        )
