"""Facts about the node itself: its life, its services, its configuration, what is wrong with it."""

from __future__ import annotations

from enum import StrEnum

from appliance.events.base import SOURCE, Event, event


class Health(StrEnum):
    """How a source sees itself."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@event(retain=())
class NodeStarted(Event):
    """The node is up: configuration applied, every service asked to start."""

    node: str
    version: str


@event()
class NodeStopping(Event):
    """An orderly exit has begun."""

    reason: str


@event(retain="service")
class ServiceStarted(Event):
    """A service reported that it is ready (sockets open, addresses known)."""

    service: str
    """Full name, ``plugin/key``."""


@event()
class ServiceStopped(Event):
    """A service ended because it was asked to."""

    service: str
    reason: str


@event()
class ServiceCrashed(Event):
    """A service ended with an error. Its retained facts have been withdrawn before this."""

    service: str
    error: str
    """One line: exception type and text."""
    distribution: str
    restart_in_s: float | None
    """``None``: its crash budget is spent, it stays down."""


@event()
class Retracted(Event):
    """A retained fact is no longer held because its source stopped or crashed."""

    event_type: str
    """``module:qualname`` of the event class."""
    key: tuple[object, ...]
    source: str


@event(retain=())
class ConfigApplied(Event):
    """A configuration is in force."""

    revision: int
    tables: tuple[str, ...]
    """Tables that changed with it."""
    who: str = ""
    """By whom: `console`, `SIGHUP`, the name of another node."""


@event()
class ConfigRefused(Event):
    """A change was refused or rolled back; the previous configuration is in force."""

    reason: str


@event()
class KernelEventsLost(Event):
    """The kernel dropped notifications (ENOBUFS); whoever mirrors its state has to read it anew."""

    family: str
    """``"route"`` or ``"conntrack"``."""


@event()
class LoopStalled(Event):
    """One task kept the event loop from running for too long."""

    task: str
    stall_s: float
    """This time."""
    stalls: int
    """How often since it was told last, this time included: it is told at most every ten seconds."""
    total_s: float
    """How long all of these times together."""


@event(retain=SOURCE)
class Status(Event):
    """A service's own summary, shown by `show services` and `show ha`. One per source."""

    health: Health = Health.OK
    summary: str = ""
    fix: str = ""
    """What somebody can do about it, also about what is not wrong: `show ha` says both then."""


@event(retain="key")
class Alarm(Event):
    """Something is wrong and somebody should act. Cleared by publishing it with ``active=False``."""

    key: str
    """Stable identity, e.g. ``"carp/lan/1/bad-auth"``."""
    active: bool = True
    health: Health = Health.WARN
    what: str
    fix: str
