"""The words of `machine`: what is to be done next, with which task, and what came of it. Values only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from appliance_xmlrpc_sync.preflight import Hello
from appliance_xmlrpc_sync.settings import OnDrift, Policy

# --- what is to be done -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class AskState:
    """Ask this node for its configuration (`GetConfig`); answered with a `ConfigState`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskSections:
    """Ask this node for its sections (`GetSections`); answered with them."""

    receiver: Mapping[str, tuple[str, ...]]
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AskChanges:
    """Ask this node what a push would change (`CompareSections`); answered with `SectionChanges`."""

    theirs: Mapping[str, Mapping[str, Any]]
    """What the peer has, by section."""
    receiver: Mapping[str, tuple[str, ...]]
    rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Call a method of the peer; answered with an `Answer`."""

    method: str
    """Without its prefix."""
    params: tuple[object, ...] = ()
    fresh: bool = False
    """Over a new connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a method said, and when by the clock of this node (seconds since the epoch)."""

    value: object
    sent: float
    received: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Run something in a thread: the canonical form of 10 MB takes a tenth of a second. Answered with its result."""

    run: Callable[[], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskClock:
    """Tell the time by a clock that does not jump; answered with seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """Wait."""

    seconds: float


Step = AskState | AskSections | AskChanges | AskClock | Call | Work | Sleep


# --- what comes of it -------------------------------------------------------------------------------------------


class Verdict(StrEnum):
    """How a look ended that did not fail."""

    IN_SYNC = "in-sync"
    PENDING = "pending"
    """The peer lacks something, and the policy is to wait for an operator."""
    UNCONFIRMED = "unconfirmed"
    """This node's own change waits to be confirmed; it travels when it is there to stay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a look."""

    verdict: Verdict
    revision: int
    """Of this node's configuration that was looked at."""
    pushed: tuple[str, ...] = ()
    """Sections that the peer has got."""
    kept: tuple[str, ...] = ()
    """Copies that the peer has made of what was changed there and is overwritten now."""
    again_s: float = 0.0
    """With `Verdict.UNCONFIRMED`: until it is decided."""


class SectionState(StrEnum):
    """How a section is on a peer."""

    IN_SYNC = "in-sync"
    PENDING = "pending"
    DRIFT = "drift"
    OFF = "off"


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionFact:
    """One section as `show sync` tells it."""

    state: SectionState
    who: str = ""
    """With `SectionState.DRIFT`: who has changed it there."""
    when: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreed:
    """That a peer had everything: while nothing on either side changes, its digests are all that is compared."""

    key: object
    """What this node's sections for the peer are made of."""
    digests: Mapping[str, str | None]
    """Of the peer; ``None``: it has no such section."""


@dataclass(slots=True, kw_only=True)
class Known:
    """What this node knows of a peer; kept over failures."""

    hello: Hello | None = None
    skew_s: float | None = None
    """How much the clock of the peer is ahead of this node's."""
    revision: int | None = None
    """Of the peer's configuration."""
    sections: dict[str, SectionFact] = field(default_factory=dict)
    agreed: Agreed | None = None
    """Since the last look, if that found nothing to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What to do with a peer."""

    own_name: str
    rank: int
    """1 for the first peer, 2 for the second."""
    policy: Policy = "auto"
    off: tuple[str, ...] = ()
    on_drift: OnDrift = "overwrite"
    confirm_s: float = 10.0
    is_asked: bool = False
    """An operator wants it now."""
    force: bool = False
    """An operator says that whatever was changed there is to be overwritten."""
    reason: str = "commit"
