"""BSD's pfsync as the service sees it: datagrams and time in, effects and datagrams out.

What BSD has no message for is solved like this:

- Peers have no names: their source address is their name.
- Who is there is told by `presence.py`. Whoever is heard for the first time, or again, is asked for everything.
- Nothing is confirmed and nothing repeated. Events of the kernel that were lost (`lost_events`) are made good
  by telling everybody the whole table again, with `BulkWanted` for the target ``""``. States that ended meanwhile
  stay on the peers until they expire.
- There is no audit. `AuditWanted` still comes every `audit_s`, because its snapshot finds the flows whose
  timeouts packets have renewed; the service offers those, and they go out as UPD_C.
- A full update of a state that is known sets the timeout to what it says; pf would start its own anew.
- CLR from a peer deletes what that creator made, never everything, so it becomes DELETE records; `Cleared` does
  not occur.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping

from appliance_pfsync.bsd import records, wire
from appliance_pfsync.bsd.actions import FORMS, Action, Bus
from appliance_pfsync.bsd.announcer import Announcer
from appliance_pfsync.bsd.bulk import Request
from appliance_pfsync.bsd.feeds import EVERYBODY, Feeds
from appliance_pfsync.bsd.identities import Identities
from appliance_pfsync.bsd.intake import Intake
from appliance_pfsync.bsd.presence import KEEPALIVE_S, Presence, Seen
from appliance_pfsync.bsd.queue import Outbox
from appliance_pfsync.bsd.records import Record
from appliance_pfsync.bsd.tickets import Tickets
from appliance_pfsync.bsd.wire import Identity, Section
from appliance_pfsync.flow import Flows
from appliance_pfsync.native.effects import (
    AuditWanted,
    BulkDone,
    BulkFailed,
    BulkWanted,
    Effect,
    FlowsReceived,
    Hashes,
    PeerReport,
)
from appliance_pfsync.native.keys import Keyring
from appliance_pfsync.settings import PfsyncSettings

REANNOUNCE_S = 5.0
"""Between two re-announcements of the whole table."""
UNCONFIRMED_MAX = 1 << 16
_NATIVE = 0x4E
_COUNTERS = ("badact", "badlen", "badstate", "badval", "badver", "hdrops", "onomem", "stale")
"""Of pfsyncstats; badif, badttl and oerrors are those of the link."""


class BsdPeering:
    """Everything between this node and its peers. All times are monotonic seconds; nothing here raises or waits."""

    def __init__(self, settings: PfsyncSettings, *, random_bytes: Callable[[int], bytes]) -> None:
        """Prepare; the first `tick` begins.

        Args:
            settings: The dialect is ``settings.version``.
            random_bytes: A source such as `secrets.token_bytes`, for the creatorid.
        """
        self.form = FORMS[settings.version]
        self.states = 0
        """Not told to anybody: BSD has no place for it."""
        self.is_owner = True
        """Makes no difference: BSD deletes what its peer says."""
        self._settings = settings
        self._empty_bytes = len(wire.build(self.form, {}))
        self._counters: Counter[str] = Counter(dict.fromkeys(_COUNTERS, 0))
        self._suffix = "" if settings.family == 4 else "6"
        self._identities = Identities(random_bytes)
        self._outbox = Outbox(self.form, settings.mtu, settings.maxupd, self._counters)
        self._presence = Presence()
        self._tickets = Tickets()
        self._ticket = self._token = 0
        self._request = Request(
            self.form, mtu=settings.mtu, limit=settings.max_states, timeout_s=settings.bulk_timeout_s
        )
        self._request_began = math.inf
        self._feeds = Feeds(self._outbox, self._identities.creator, settings.mtu)
        self._announcer = Announcer(self._identities, self._outbox, self._counters)
        self._unconfirmed: deque[tuple[int, Identity]] = deque(maxlen=UNCONFIRMED_MAX)
        self._is_started = False
        self._audit_at = math.inf
        self._reannounce_at = math.inf
        self._reannounced_at = -math.inf

    # --- driving ---------------------------------------------------------------------------------------------

    @property
    def creator(self) -> int:
        """This node's creatorid."""
        return self._identities.creator

    @property
    def counters(self) -> Mapping[str, int]:
        """pfsyncstats by their names; iacts and oacts with the name of the action."""
        return self._counters

    def receive(self, datagram: bytes, source: str, now: float) -> list[Effect]:
        """Take a datagram whose TTL has been checked."""
        why = wire.refused(self.form, datagram)
        if why:
            self._counters[why] += 1
            return self._presence.refused(source, _foreign(datagram[0]), now) if why == "badver" else []
        self._counters[f"ipackets{self._suffix}"] += 1
        found = list(wire.sections(self.form, datagram, self._counters))
        effects = self._presence.heard(source, now, is_keepalive=len(datagram) == self._empty_bytes)
        if effects and self._is_started and not self._request.is_open:
            # It may have states that were made while it was not heard, or while nobody was.
            self.request_bulk(now)
        intake = Intake(self.form, self._identities, self._outbox, self._counters, now)
        after: list[Effect] = []
        for section in found:
            self._counters[f"iacts_{section.action.name.lower()}"] += len(section.messages)
            intake.is_bulk |= self._request.is_running(source)
            intake.take(section)
            after += self._control(section, source, now)
        effects += self._flows(intake, source, now)
        self._settle(now)
        return effects + after

    def _control(self, section: Section, source: str, now: float) -> list[Effect]:
        """What is not about states."""
        effects: list[Effect] = []
        match section.action:
            case Action.INS_ACK:
                names = map(wire.unpack_identity, section.messages)
                effects += self._tickets.acknowledged(source, names, now)
            case Action.UPD | Action.UPD_1301 | Action.UPD_1500:
                self._request.progressed(source, len(section.messages), now)
            case Action.UPD_REQ if wire.pack_identity(wire.BULK_REQUEST) in section.messages:
                self._feeds.begin(source, now)
                effects.append(BulkWanted(source))
            case Action.BUS:
                for message in section.messages:
                    effects += self._bus(message, source, now)
            case _:
                pass
        return effects

    def _bus(self, message: bytes, source: str, now: float) -> list[Effect]:
        _, age_s, status = wire.unpack_bus(message)
        if status == Bus.START:
            self._request.started(source, now)
        if status != Bus.END:
            return []
        effects = self._request.ended(source, age_s, now)
        seen = self._presence.find(source)
        for effect in effects:
            if isinstance(effect, BulkDone) and seen is not None:
                seen.last_bulk_at, seen.last_bulk_count = now, effect.count
        return effects

    def _flows(self, intake: Intake, source: str, now: float) -> list[Effect]:
        groups: dict[tuple[int, bool], list[Record]] = {}
        for record, is_bulk in intake.records():
            groups.setdefault((record.family, is_bulk), []).append(record)
        effects: list[Effect] = []
        for (family, is_bulk), found in groups.items():
            self._token += 1
            effects.append(FlowsReceived(source, records.array(found, family), is_bulk, self._token))
        names = [known.state.identity for known in intake.acks if known.pair.record is not None]
        if effects:
            self._unconfirmed += [(self._token, name) for name in names]
        else:
            self._confirm(names, now)
        return effects

    def tick(self, now: float) -> list[Effect]:
        """Time has passed."""
        effects: list[Effect] = []
        if not self._is_started:
            self._is_started = True
            self._audit_at = now + self._settings.audit_s if self._settings.audit_s else math.inf
            self.request_bulk(now)
        effects += self._presence.tick(now)
        effects += self._tick_request(now)
        self._feeds.tick(now)
        if now >= self._audit_at:
            self._audit_at = now + self._settings.audit_s
            effects.append(AuditWanted())
        if now >= self._reannounce_at:
            self._reannounce_at, self._reannounced_at = math.inf, now
            self._feeds.begin(EVERYBODY, now)
            effects.append(BulkWanted(EVERYBODY))
        if now >= self._outbox.flush_at:
            self._outbox.flush(now)
        if now - self._outbox.sent_at >= KEEPALIVE_S:
            self._outbox.send(EVERYBODY, {}, now)
        self._tickets.expire(now)
        self._announcer.remind(now)
        self._settle(now)
        return effects

    def _tick_request(self, now: float) -> list[Effect]:
        is_lonely = all(seen.heard_at < self._request_began for seen in self._presence.all)
        effects = self._request.tick(now, is_lonely=is_lonely)
        if any(isinstance(effect, BulkFailed) for effect in effects):
            effects += self._presence.unanswered(self._request_began)
        return effects

    def _settle(self, now: float) -> None:
        """Send what does not wait."""
        if self._request.is_due:
            self._request.is_due = False
            self._outbox.ask(wire.BULK_REQUEST, now)
            self._outbox.is_urgent = True
        if self._outbox.is_urgent:
            self._outbox.flush(now)

    def deadline(self) -> float:
        """When to call `tick` at the latest."""
        if not self._is_started:
            return -math.inf
        return min(
            self._outbox.flush_at,
            self._outbox.sent_at + KEEPALIVE_S,
            self._request.deadline,
            self._presence.deadline,
            self._audit_at,
            self._reannounce_at,
            self._feeds.deadline,
        )

    def outgoing(self) -> list[tuple[str, bytes]]:
        """What is to be sent now; ask after every other call. The destination ``""`` is everybody."""
        return self._outbox.take()

    # --- live ------------------------------------------------------------------------------------------------

    def offer(self, flows: Flows, now: float, *, ack_wanted: bool = False) -> int:
        """Tell the peers about flows of one family; a ticket for `FlowsInjected`."""
        self._ticket += 1
        names = self._announcer.offer(flows, now, ack_wanted=ack_wanted)
        if ack_wanted:
            self._tickets.add(self._ticket, names, now)
        self._settle(now)
        return self._ticket

    def injected(self, peer: str, token: int, now: float) -> None:
        """Everything up to this token is in the kernel: peers that hold packets back may let them go."""
        names = []
        while self._unconfirmed and self._unconfirmed[0][0] <= token:
            names.append(self._unconfirmed.popleft()[1])
        self._confirm(names, now)

    def _confirm(self, names: Iterable[Identity], now: float) -> None:
        for name in names:
            self._outbox.message(Action.INS_ACK, wire.pack_identity(name), now)
            self._outbox.is_urgent = True
        self._settle(now)

    def clear(self, now: float) -> None:
        """The operator flushed the states."""
        self._announcer.clear(now)
        self._settle(now)

    def lost_events(self, now: float) -> None:
        """The kernel could not report everything: the next `tick` asks for the whole table, for everybody."""
        self._reannounce_at = max(now, self._reannounced_at + REANNOUNCE_S)

    # --- bulk ------------------------------------------------------------------------------------------------

    def request_bulk(self, now: float) -> None:
        """Ask every peer for all of its states."""
        self._request.begin(now)
        self._request_began = now
        self._settle(now)

    @property
    def bulk_targets(self) -> tuple[str, ...]:
        """Whose bulk update has been wanted and not ended; ``""`` for a re-announcement to everybody."""
        return self._feeds.targets

    def room_for_bulk(self, peer: str) -> int:
        """Flows that may be handed over now; `tick` makes more room."""
        return self._feeds.room(peer)

    def offer_bulk(self, peer: str, flows: Flows, now: float) -> None:
        """A part of the table for a peer that wants it."""
        if self._feeds.is_on(peer):
            self._feeds.add(peer, self._announcer.whole(flows, now), now)
            self._settle(now)

    def end_bulk(self, peer: str, now: float) -> None:
        """That was the table."""
        self._feeds.end(peer, now)

    # --- what BSD does not have --------------------------------------------------------------------------------

    def request_audit(self, now: float) -> None:
        """Nothing: BSD compares no tables."""

    def audit_snapshot(self, hashes: Hashes, now: float) -> list[Effect]:
        """Nothing; see `AuditWanted` above."""
        return []

    def offer_repair(self, peer: str, flows: Flows, now: float) -> None:
        """Nothing."""

    def set_keyring(self, keyring: Keyring | None, now: float) -> None:
        """Nothing: BSD's pfsync is neither authenticated nor encrypted."""

    @property
    def peers(self) -> tuple[PeerReport, ...]:
        """Everybody who was heard."""
        return tuple(map(self._report, self._presence.all))

    def _report(self, seen: Seen) -> PeerReport:
        return PeerReport(
            name=seen.address,
            address=seen.address,
            version=self.form.version,
            secured=False,
            alive=seen.is_alive,
            lag_s=None,
            states=None,
            bulk=self._request.state_of(seen.address),
            last_bulk_at=seen.last_bulk_at,
            last_bulk_count=seen.last_bulk_count,
            losses=0,
            counters=dict(seen.counters),
        )


def _foreign(version: int) -> str:
    return "it speaks the form of our own nodes" if version == _NATIVE else f"it speaks version {version}"
