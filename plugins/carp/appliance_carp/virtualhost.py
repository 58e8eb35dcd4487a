"""What the machine remembers about one VHID: its state, its timers and the master it believes in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from appliance_carp.election import Own, Verdict, effective_skew, fast_skew, interval_s
from appliance_carp.vocabulary import Heard, State, VhidSettings

PATIENCE = 1.5
"""Silent for so many of its intervals: a master has missed at least one advert, whatever the jitter."""
FAST_SPREAD_S = 0.05
"""At sub-second speed own skew 0..255 spreads the dead intervals of several backups over this."""
STAND_BY_S = 0.05
"""A node that goes before us hears the same farewell and speaks within milliseconds; with this it may be busy, too."""
FORGIVEN_MAX = 2
"""Dead timers that fire late are re-armed so often in a row; a node that is always late must still serve."""


@dataclass(slots=True)
class Master:
    """The node whose adverts we follow, per address family."""

    source: str
    own_kind: bool
    advbase: int
    advskew: int
    demote: int
    verdict: Verdict
    heard_at: float

    @property
    def interval_s(self) -> float:
        return interval_s(self.advbase, self.advskew)

    def is_silent(self, now: float) -> bool:
        """Whether it has missed an advert."""
        return now - self.heard_at > PATIENCE * self.interval_s


@dataclass(slots=True)
class VirtualHost:
    """One VHID. Only the machine changes it; the methods here compute or arm, they decide nothing."""

    settings: VhidSettings
    state: State = State.INIT
    reason: str = "not started"
    since: float = 0.0
    masters: dict[int, Master] = field(default_factory=dict)
    """By family; empty until an advert was heard as BACKUP."""
    dead_at: dict[int, float] = field(default_factory=dict)
    """By family; only as BACKUP."""
    armed_at: float = 0.0
    advert_at: float = math.inf
    release_at: float = math.inf
    release_to: State = State.BACKUP
    announce_in: int = 0
    """Announce again after so many adverts."""
    reassert_at: float = -math.inf
    """When the budget for answers to inferior adverts is full again (a leaky bucket)."""
    slow_until: float = -math.inf
    """Somebody without sub-second adverts was heard; until then we speak slowly."""
    slow_source: str = ""
    is_fast: bool = False
    """The last advert we sent was a sub-second one."""
    forgiven: int = 0

    @property
    def due(self) -> float:
        """The next time something happens by itself."""
        if self.state is State.BACKUP:
            return min(self.dead_at.values(), default=math.inf)
        if self.state is State.MASTER:
            return self.advert_at
        return self.release_at if self.state is State.RELEASING else math.inf

    def own(self, demotion: int, demote: int) -> Own:
        """How we stand in this VHID."""
        settings = self.settings
        return Own(settings.advbase, effective_skew(settings.advskew, demotion), demote, settings.dead_ratio)

    def timing(self, demotion: int, *, fast: bool) -> tuple[int, int]:
        """Return (advbase, advskew) as sent."""
        skew = effective_skew(self.settings.advskew, demotion)
        return (0, fast_skew(skew)) if fast else (self.settings.advbase, skew)

    def dead_s(self, family: int) -> float:
        """Return how long silence of the master is tolerated (FreeBSD: with our own, undemoted skew)."""
        settings = self.settings
        master = self.masters.get(family)
        if master is not None and master.own_kind and master.advbase == 0:
            return settings.dead_ratio * master.interval_s + settings.advskew / 255 * FAST_SPREAD_S
        if settings.advbase == 0:
            return settings.dead_ratio * interval_s(0, settings.advskew)
        return settings.dead_ratio * settings.advbase + settings.advskew / 256

    def expected_interval_s(self) -> float:
        """Return the time between adverts of the master, ours when none is known."""
        known = [master.interval_s for master in self.masters.values()]
        return min(known) if known else interval_s(self.settings.advbase, self.settings.advskew)

    def arm(self, now: float) -> None:
        """Start the dead timers of a new BACKUP."""
        self.armed_at = now
        self.forgiven = 0
        self.dead_at = {family: now + self.dead_s(family) for family in self.settings.families}

    def stand_by(self, now: float) -> None:
        """Forget the master, and take over in a moment unless another one speaks."""
        self.masters.clear()
        self.dead_at = dict.fromkeys(self.settings.families, now + STAND_BY_S)

    def believe(self, heard: Heard, verdict: Verdict, now: float) -> None:
        """Re-arm the dead timer of the family; adopt the sender unless a better master is still heard."""
        current = self.masters.get(heard.family)
        if current is None or current.source == heard.source or self._is_replaced(current, heard, now):
            self.masters[heard.family] = Master(
                heard.source, heard.own_kind, heard.advbase, heard.advskew, heard.demote, verdict, now
            )
        self.forgiven = 0
        self.dead_at[heard.family] = now + self.dead_s(heard.family)

    @staticmethod
    def _is_replaced(current: Master, heard: Heard, now: float) -> bool:
        """Whether another sender is the master now: it goes before the one we knew, or that one fell silent."""
        theirs = (heard.demote if heard.own_kind else 0, interval_s(heard.advbase, heard.advskew))
        known = (current.demote if current.own_kind else 0, current.interval_s)
        return theirs <= known or current.is_silent(now)

    def missed_advert(self, now: float) -> bool:
        """Whether no family has been heard for more than an interval."""
        if not self.masters:
            return now - self.armed_at > PATIENCE * self.expected_interval_s()
        return all(master.is_silent(now) for master in self.masters.values())
