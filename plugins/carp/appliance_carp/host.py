"""One virtual host at run time: its keys, stamps, counters and what it has heard, without I/O.

Also where a change of password or addresses is bridged: for `CHANGE_WINDOW_S` both the old and the new
digest are accepted, and as long as a living peer still has the old address set the old one is sent, so
that two nodes can be reconfigured one after the other without a change of roles.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from appliance_carp.ledger import Ledger
from appliance_carp.settings import VipSettings
from appliance_carp.stamp import SPEAKS_FAST, Stamper, Verdict, Witness, wall_ticks
from appliance_carp.vocabulary import VhidKey, VhidSettings
from appliance_carp.wire import Advert, Key, encode

CHANGE_WINDOW_S = 60.0
"""How long the other node may take to get the same change."""
PEERS_SHOWN = 8
"""Sources remembered for `show carp`, the latest ones."""
COUNTERS = (
    "sent",
    "received",
    "bad_auth",
    "bad_ttl",
    "bad_sum",
    "bad_version",
    "bad_length",
    "replayed",
    "stale",
    "looped",
    "foreign",
    "send_errors",
    "late_timer",
    "transitions",
)
"""FreeBSD's carpstats in words, plus what only we can tell."""
SEND_ERRORS_MAX = 3
"""FreeBSD demotes after three failed sends in a row and recovers after three good ones (sc_sendad_errors)."""

PARDON_S = 30.0
"""A node that is not MASTER sends nothing, so nothing can show that sending works again: after this it is believed."""
PARDON_MAX_S = 3600.0
"""Each time that this was wrong it takes twice as long, up to here: a node must not take over and fail for ever."""


@dataclass(slots=True)
class _Previous:
    key: Key
    fingerprint: bytes
    until: float


@dataclass(slots=True, kw_only=True)
class PeerSeen:
    """The last advert of one source."""

    advskew: int
    at: float


@dataclass(slots=True)
class VirtualHost:
    """Everything about one VHID that is neither election nor kernel."""

    settings: VipSettings
    slot: int
    """Its place in the ledger."""
    ledger: Ledger
    key: Key = field(init=False)
    fingerprint: bytes = field(init=False)
    """Of the address set in force (see `VipSettings.fingerprint`), hashed once."""
    stamper: Stamper = field(init=False)
    witness: Witness = field(init=False)
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    seen: dict[str, PeerSeen] = field(default_factory=dict)
    heard_at: float = 0.0
    """When the last authenticated advert of another node came in."""
    send_failures: int = 0
    """Failed sends in a row; negative: good ones in a row while still counted as broken."""
    broken: bool = False
    _pardon_at: float = math.inf
    _pardon_s: float = PARDON_S
    _previous: _Previous | None = None

    def __post_init__(self) -> None:
        self._prepare()
        self.stamper = Stamper(self.settings.password, self.settings.vhid, SPEAKS_FAST if self.settings.fast else 0)
        self.witness = Witness(self.settings.password, self.settings.vhid, self.stamper)

    def _prepare(self) -> None:
        self.fingerprint = self.settings.fingerprint
        self.key = Key(self.settings.password, self.settings.vhid, self.settings.all_addresses)

    @property
    def vhid_key(self) -> VhidKey:
        """Logical interface and VHID."""
        return self.settings.key

    @property
    def election(self) -> VhidSettings:
        """The settings as the machine wants them."""
        return VhidSettings(
            key=self.settings.key,
            advbase=self.settings.advbase,
            advskew=self.settings.advskew,
            families=self.settings.families,
            fast=self.settings.fast,
            dead_ratio=self.settings.dead_ratio,
        )

    def change(self, settings: VipSettings, now: float, *, bridged: bool) -> None:
        """Take new settings; `bridged` keeps the old digest alive because peers of our kind are heard."""
        old, self.settings = self.settings, settings
        same_digest = old.password == settings.password and old.fingerprint == settings.fingerprint
        if not same_digest:
            if bridged:
                self._previous = _Previous(self.key, old.fingerprint, now + CHANGE_WINDOW_S)
            self._prepare()
        if old.password != settings.password or old.fast != settings.fast:
            floor = self.stamper.sequence
            capabilities = SPEAKS_FAST if settings.fast else 0
            self.stamper = Stamper(settings.password, settings.vhid, capabilities, floor)
            self.witness = Witness(settings.password, settings.vhid, self.stamper)

    def settle_change(self, peer_fingerprints: Iterable[bytes], now: float) -> bool:
        """Drop the old digest once every living peer has the new set or the window is over; whether it was."""
        previous = self._previous
        if previous is None:
            return False
        behind = previous.fingerprint != self.settings.fingerprint and previous.fingerprint in set(peer_fingerprints)
        if now < previous.until and (behind or previous.fingerprint == self.settings.fingerprint):
            return False
        self._previous = None
        return True

    def sending_key(self, peer_fingerprints: Iterable[bytes]) -> Key:
        """The digest to send with: the old one while a peer still needs it."""
        previous = self._previous
        if previous is not None and previous.fingerprint in set(peer_fingerprints):
            return previous.key
        return self.key

    @property
    def is_changing(self) -> bool:
        """Whether an old digest is still accepted."""
        return self._previous is not None

    def authenticates(self, advert: Advert, now: float) -> bool:
        """Whether the advert carries our digest, or the previous one within its window."""
        if self.key.verifies(advert):
            return True
        previous = self._previous
        return previous is not None and now < previous.until and previous.key.verifies(advert)

    def judge(self, advert: Advert, source: str, own_sources: Container[str]) -> Verdict:
        """Who sent an authenticated advert; counts what is not a peer's."""
        verdict = self.witness.judge(advert.counter, source, own_sources)
        name = {Verdict.REPLAY: "replayed", Verdict.STALE: "stale", Verdict.LOOP: "looped"}.get(verdict)
        if name:
            self.counters[name] += 1
        return verdict

    def note_peer(self, source: str, advskew: int, now: float) -> None:
        """Remember a peer's advert for the status."""
        self.heard_at = now
        if source not in self.seen and len(self.seen) >= PEERS_SHOWN:
            del self.seen[min(self.seen, key=lambda each: self.seen[each].at)]
        self.seen[source] = PeerSeen(advskew=advskew, at=now)

    def best_since(self, at: float) -> str:
        """Of the sources heard since then, the one that goes before the others: of two new masters it will stay."""
        heard = {source: seen for source, seen in self.seen.items() if seen.at > at}
        return min(heard, key=lambda source: (heard[source].advskew, -heard[source].at), default="")

    def payload(self, key: Key, *, source: str, advbase: int, advskew: int, demote: int, unix_time: float) -> bytes:
        """The 36 bytes of the next advert, stamped for its source address."""
        counter = self.stamper.next(source, wall_ticks(unix_time))
        self.ledger.stamp(self.slot, self.stamper.sequence)
        return encode(key, advskew=advskew, advbase=advbase, demote=demote, counter=counter)

    def sent(self, ok: bool) -> bool:
        """Count a send; whether the verdict on the sender has changed (see `SEND_ERRORS_MAX`)."""
        if ok:
            self.counters["sent"] += 1
            self.send_failures = min(0, self.send_failures) - 1 if self.broken else 0
            self._pardon_s = self._pardon_s if self.broken else PARDON_S
        else:
            self.counters["send_errors"] += 1
            self.send_failures = max(0, self.send_failures) + 1
        was, flip = self.broken, SEND_ERRORS_MAX
        if self.send_failures >= flip:
            self.broken = True
        elif self.send_failures <= -flip:
            self.broken, self.send_failures = False, 0
        self._pardon_at = math.inf
        return self.broken != was

    def pardon(self, now: float) -> bool:
        """To be asked again and again while it is broken and sends nothing: whether it counts as mended by now."""
        if self._pardon_at == math.inf:
            self._pardon_at = now + self._pardon_s
        if now < self._pardon_at:
            return False
        self._pardon_at = math.inf
        self._pardon_s = min(2 * self._pardon_s, PARDON_MAX_S)
        self.broken, self.send_failures = False, 0
        return True
