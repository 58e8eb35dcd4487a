"""One virtual host at run time: its keys, stamps, counters and what it has heard, without I/O.

Also where a change of VHID, password or addresses is staged: `transaction` decides, here each edition has its voice,
which is what is needed to send and to understand its adverts.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Container
from dataclasses import dataclass, field

from appliance_carp.ledger import Ledger
from appliance_carp.settings import VipSettings
from appliance_carp.stamp import SPEAKS_FAST, Stamper, Verdict, Witness, wall_ticks
from appliance_carp.transaction import Edition, Stance, Transaction
from appliance_carp.vocabulary import VhidKey, VhidSettings
from appliance_carp.wire import Advert, Key, encode

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
class Voice:
    """What it takes to speak and to understand one edition."""

    settings: VipSettings
    key: Key
    stamper: Stamper
    witness: Witness

    def shares_stamps(self, settings: VipSettings) -> bool:
        """Whether its stamps are those of other settings, too."""
        mine = self.settings
        return (mine.password, mine.vhid, mine.fast) == (settings.password, settings.vhid, settings.fast)


@dataclass(slots=True, kw_only=True)
class PeerSeen:
    """The last advert of one source."""

    advskew: int
    at: float


@dataclass(slots=True)
class VirtualHost:
    """Everything about one VHID that is neither election nor kernel."""

    settings: VipSettings
    """In force: what the configuration says, except that what the digest covers may still be the former."""
    slot: int
    """Its place in the ledger."""
    ledger: Ledger
    wanted: VipSettings = field(init=False)
    """What the configuration says."""
    transaction: Transaction = field(init=False)
    voices: dict[Edition, Voice] = field(default_factory=dict)
    """One for each accepted edition."""
    counters: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTERS, 0))
    seen: dict[str, PeerSeen] = field(default_factory=dict)
    heard_at: float = 0.0
    """When the last authenticated advert of another node came in."""
    send_failures: int = 0
    """Failed sends in a row; negative: good ones in a row while still counted as broken."""
    broken: bool = False
    _pardon_at: float = math.inf
    _pardon_s: float = PARDON_S

    def __post_init__(self) -> None:
        self.wanted = self.settings
        self.transaction = Transaction(self.settings.edition)
        self._tune()

    @property
    def voice(self) -> Voice:
        """That of the edition in force."""
        return self.voices[self.transaction.active]

    @property
    def stamper(self) -> Stamper:
        """Of the edition in force."""
        return self.voice.stamper

    @property
    def fingerprint(self) -> bytes:
        """Of the edition in force."""
        return self.transaction.active.mark

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

    # --- changing ------------------------------------------------------------------------------------------

    def propose(self, settings: VipSettings, now: float) -> None:
        """Take new settings: what the digest covers is staged, everything else is in force at once."""
        self.wanted = settings
        edition = settings.edition
        same = edition == self.transaction.active
        self.settings = settings if same else settings.with_digest_of(self.settings)
        self.transaction.want(edition, now)
        self._tune()

    def switch(self, now: float) -> None:
        """Put in force what is staged."""
        former = self.stamper
        self.settings = self.wanted
        self.transaction.switch(now)
        self._tune()
        self.stamper.heard(former.sequence)

    def restore(self, former: VipSettings, now: float) -> None:
        """Understand an edition that an earlier process has used or promised to understand."""
        self.transaction.restore(former.edition, now)
        self._tune(former)

    def drop(self, peers: Collection[Stance], now: float) -> bool:
        """Give up editions that nobody sends any more; whether there were any."""
        if not self.transaction.drop(peers, now):
            return False
        self._tune()
        return True

    def _tune(self, *former: VipSettings) -> None:
        """Bring the voices in line with the editions: what has the same password and VHID shares its stamps."""
        old = self.voices
        known = {each.edition: each for each in (*former, *(voice.settings for voice in old.values()))}
        known |= {each.edition: each for each in (self.wanted, self.settings)}
        self.voices = {}
        for edition in self.transaction.accepted:
            settings = known[edition]
            like = [each for each in (*old.values(), *self.voices.values()) if each.shares_stamps(settings)]
            self.voices[edition] = self._voice(settings, like[0] if like else None, old.get(edition))

    def _voice(self, settings: VipSettings, like: Voice | None, old: Voice | None) -> Voice:
        key = old.key if old is not None else Key(settings.password, settings.vhid, settings.all_addresses)
        if like is not None:
            return Voice(settings, key, like.stamper, like.witness)
        floor = old.stamper.sequence if old is not None else 0
        stamper = Stamper(settings.password, settings.vhid, SPEAKS_FAST if settings.fast else 0, floor)
        return Voice(settings, key, stamper, Witness(settings.password, settings.vhid, stamper))

    @property
    def is_changing(self) -> bool:
        """Whether other editions than that in force are accepted."""
        return len(self.voices) > 1

    # --- adverts -------------------------------------------------------------------------------------------

    def sending(self, peers: Collection[Stance]) -> Voice:
        """What to send with: the edition in force, unless a living peer would not understand it."""
        return self.voices[self.transaction.sending(peers)]

    def authenticates(self, advert: Advert) -> Voice | None:
        """Which of the accepted editions an advert carries, if any."""
        return next(
            (
                voice
                for edition, voice in self.voices.items()
                if edition.vhid == advert.vhid and voice.key.verifies(advert)
            ),
            None,
        )

    def judge(self, voice: Voice, advert: Advert, source: str, own_sources: Container[str]) -> Verdict:
        """Who sent an authenticated advert; counts what is not a peer's."""
        verdict = voice.witness.judge(advert.counter, source, own_sources)
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

    def payload(self, voice: Voice, *, source: str, advbase: int, advskew: int, demote: int, unix_time: float) -> bytes:
        """The 36 bytes of the next advert, stamped for its source address."""
        counter = voice.stamper.next(source, wall_ticks(unix_time))
        self.ledger.stamp(self.slot, voice.stamper.sequence)
        return encode(voice.key, advskew=advskew, advbase=advbase, demote=demote, counter=counter)

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
