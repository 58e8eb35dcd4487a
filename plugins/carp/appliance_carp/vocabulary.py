"""The words the election machine speaks: settings, what was heard, what is to be done.

Everything here is a value. `machine` consumes settings, `Heard` adverts and `PeerView`s and answers with
effects; the service performs the effects in the order of the list and never interprets them further.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeAlias

VhidKey: TypeAlias = tuple[str, int]
"""(logical interface, vhid): the identity of one virtual host on this node."""

BOW_OUT_BASE = 255
"""advbase of a farewell; every CARP takes over at once because it is slower than its own dead interval."""
BOW_OUT_SKEW = 255
"""255/255: the whole node lets go of its group (OpenBSD's bow-out)."""
LONE_SKEW = 254
"""255/254: only this VHID is let go. BSD and ucarp do not see a difference; our own nodes leave siblings alone."""


class State(Enum):
    """Where one VHID is. The allowed moves are `transitions.TRANSITIONS`."""

    INIT = "INIT"
    """No link (or not started, or stopped): not taking part."""
    BACKUP = "BACKUP"
    MASTER = "MASTER"
    RELEASING = "RELEASING"
    """The bow-out is sent, traffic is still forwarded for `hold_s`, adverts are ignored. People see BACKUP."""
    DISABLED = "DISABLED"
    """Switched off by the operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VhidSettings:
    """What the configuration says about one VHID, as far as the election cares."""

    key: VhidKey
    advbase: int = 1
    advskew: int = 0
    families: frozenset[int] = frozenset({4})
    """{4}, {6} or {4, 6}: one advert per family and interval."""
    fast: bool = False
    """May speak sub-second adverts (advbase 0) when everybody who listens can."""
    dead_ratio: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """All VHIDs of this node: they move together."""

    vhids: tuple[VhidSettings, ...]
    preempt: bool = False
    preempt_delay_s: float = 0.0
    """A recovered node takes nothing back before this time (state tables are still being copied)."""
    hold_s: float = 0.02
    """How long the old master keeps forwarding after its bow-out."""
    late_s: float = 0.02
    """A dead timer served later than this (or a quarter interval) proves nothing: we were stalled ourselves."""
    maintenance: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One advert that passed checksum, TTL, digest and `stamp.Witness`."""

    key: VhidKey
    family: int
    source: str
    advbase: int
    advskew: int
    demote: int = 0
    own_kind: bool = False
    """Verdict.OWN_KIND: the sender is one of us, its demote byte means something."""
    via_sync: bool = False
    """A copy of a bow-out that came over the sync interface."""
    own_source: str = ""
    """Our own source address on that interface and family; breaks ties between own-kind nodes."""

    @property
    def is_farewell(self) -> bool:
        """Whether the sender lets go of this VHID."""
        return self.advbase == BOW_OUT_BASE and self.advskew >= LONE_SKEW

    @property
    def is_bow_out(self) -> bool:
        """Whether the sender lets go of its whole group."""
        return self.advbase == BOW_OUT_BASE and self.advskew == BOW_OUT_SKEW


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerView:
    """What the hellos of one peer say about it."""

    name: str
    alive: bool
    enabled: bool = True
    maintenance: bool = False
    demotion: int = 0
    """Total, not the byte."""
    fast: bool = False
    serves: frozenset[VhidKey] = frozenset()
    """VHIDs it could be MASTER of now: configured, link up, not disabled."""
    skews: Mapping[VhidKey, int] = field(default_factory=dict)
    """Its configured advskew of each VHID."""
    sources: frozenset[str] = frozenset()
    """All its source addresses (CARP and sync interfaces): how an advert is attributed to a node."""


# --- effects -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendAdvert:
    """Send one advert now."""

    key: VhidKey
    family: int
    advbase: int
    advskew: int
    demote: int
    copy_to_sync: bool = False
    """Send the same advert over the sync interface as well."""
    only_sync: bool = False
    """The interface of this VHID has no link: send the copy only."""
    parting: bool = False
    """The virtual MAC is the better master's already: do not make the switches believe that it is here."""


@dataclass(frozen=True, slots=True)
class Activate:
    """Open the gate: addresses on, forwarding on."""

    key: VhidKey


@dataclass(frozen=True, slots=True)
class Deactivate:
    """Close the gate; from the return of this effect on nothing leaves with the virtual MAC."""

    key: VhidKey


@dataclass(frozen=True, slots=True)
class Announce:
    """GARP and unsolicited NA for every address of the VHID."""

    key: VhidKey


@dataclass(frozen=True, slots=True)
class Changed:
    """The state moved; comes after the effects that made it true."""

    key: VhidKey
    old: State
    new: State
    reason: str


@dataclass(frozen=True, slots=True)
class Count:
    """Add one to a counter of the VHID."""

    key: VhidKey
    counter: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something for the log."""

    event: str
    fields: Mapping[str, str | int | float] = field(default_factory=dict)


Effect: TypeAlias = SendAdvert | Activate | Deactivate | Announce | Changed | Count | Note


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `show carp` tells about one VHID."""

    key: VhidKey
    state: State
    reason: str
    """Why it is in this state."""
    since: float
    """`now` of the last change."""
    master: str
    """Source address of the master we believe in, "" when none is known; ours is "" too."""
    peer: str
    """Name of that master, "" when its hellos are not heard."""
    advbase: int
    """As we send it or would send it now, demotion and profile included."""
    advskew: int
    demote: int
    fast: bool
    """Whether we are sending sub-second adverts."""
    dead_at: float | None
    """When we would take over if nothing is heard; None unless BACKUP."""
