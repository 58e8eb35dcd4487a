"""What this plugin tells, and the requests it answers."""

from __future__ import annotations

from typing import Any

from appliance.events import Event, Request, event, request


@event()
class SessionOpened(Event):
    """Somebody logged in over SSH."""

    user: str
    source: str
    """Address of the client."""
    interface: str
    """Logical interface."""
    key: str
    """Fingerprint of the key that was shown."""


@event()
class SessionClosed(Event):
    """A session over SSH ended."""

    user: str
    source: str
    lasted_s: float


@event()
class LoginRefused(Event):
    """Somebody could not log in over SSH. At most ten a minute are told; `unreported` counts the rest."""

    user: str
    """As whom; what a stranger typed."""
    source: str
    interface: str
    unreported: int = 0
    """Further ones since the last that was told."""


@request
class GetSsh(Request[dict[str, Any]]):
    """What ``show ssh`` prints."""


@request
class EndSession(Request[str]):
    """End a session; answers with a sentence for people.

    Raises:
        RefusedError: There is no session of this number.
    """

    number: int
