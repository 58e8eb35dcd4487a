"""HTTP Basic authentication with a memory for failures.

The check itself (scrypt) is the caller's and runs in a thread, one at a time: passwords cannot be tried in
parallel, and checks do not eat the machine. After `FREE_FAILURES` failures with a user a source waits, twice as
long after each further one. A source is a pinned certificate, whatever address it calls from.
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import trio

from appliance.rpc.faults import Fault

FREE_FAILURES = 5
"""Somebody mistypes, or two nodes are being given a new password."""
FIRST_WAIT_S = 1.0
WAIT_MAX_S = 60.0
FORGET_S = 900.0
"""After which a source starts afresh."""
SOURCES_MAX = 256
"""Remembered pairs of source and user."""
CREDENTIALS_MAX = 1024
"""Characters of user and password together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end of a connection."""

    address: str
    fingerprint: str
    """SHA-256 of its certificate, as `appliance.rpc.tls.fingerprint`; empty: it has shown none."""


Authenticate = Callable[[str, str, Peer], bool]
"""Whether user and password are right. Called in a thread. May raise a `Fault`: known, and not allowed."""


class Outcome(Enum):
    """What came of a check."""

    ACCEPTED = "accepted"
    WRONG = "wrong"
    LOCKED = "locked"
    FORBIDDEN = "forbidden"
    TOO_SLOW = "too slow"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome, and what goes with it."""

    outcome: Outcome
    user: str = ""
    wait_s: float = 0.0
    """Until the next attempt, with `Outcome.LOCKED`."""
    reason: str = ""
    """With `Outcome.FORBIDDEN`."""


def parse_basic(header: bytes) -> tuple[str, str] | None:
    """User and password of an ``Authorization`` header, `None` if it has none."""
    scheme, _, packed = header.strip().partition(b" ")
    if scheme.lower() != b"basic" or len(packed) > 4 * CREDENTIALS_MAX:
        return None
    try:
        text = base64.b64decode(packed.strip(), validate=True).decode()
    except ValueError:
        return None
    user, colon, password = text.partition(":")
    return (user, password) if colon and len(text) <= CREDENTIALS_MAX else None


def basic(user: str, password: str) -> bytes:
    """The ``Authorization`` header of a client.

    Raises:
        ValueError: The user has a colon, which would end it.
    """
    if ":" in user:
        raise ValueError("a user cannot have a colon in its name")
    return b"Basic " + base64.b64encode(f"{user}:{password}".encode())


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 in which a host picks IPv6 addresses at will."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address


class Backoff:
    """Failures by source; forgets by itself and never grows beyond `SOURCES_MAX`. Times in seconds."""

    def __init__(self) -> None:
        self._sources: dict[str, tuple[int, float]] = {}

    def wait_s(self, source: str, now: float) -> float:
        """How long a source has still to wait."""
        failures, last = self._sources.get(source, (0, now))
        if failures < FREE_FAILURES or now - last > FORGET_S:
            return 0.0
        wait = min(FIRST_WAIT_S * 2.0 ** min(failures - FREE_FAILURES, 16), WAIT_MAX_S)
        return max(last + wait - now, 0.0)

    def failed(self, source: str, now: float) -> int:
        """Remember a failure; how many there were."""
        failures, last = self._sources.pop(source, (0, now))
        failures = 1 if now - last > FORGET_S else failures + 1
        if len(self._sources) >= SOURCES_MAX:
            self._forget_one(now)
        self._sources[source] = (failures, now)
        return failures

    def succeeded(self, source: str) -> None:
        """Forget the failures of a source."""
        self._sources.pop(source, None)

    def _forget_one(self, now: float) -> None:
        old = next((source for source, (_, last) in self._sources.items() if now - last > FORGET_S), None)
        # A flood of single failures does not wash out those who try again and again.
        victim = old or min(self._sources, key=lambda source: self._sources[source][0])
        del self._sources[victim]


class Gate:
    """Decides about the ``Authorization`` header of a request."""

    def __init__(self, authenticate: Authenticate, *, patience_s: float) -> None:
        self._authenticate = authenticate
        self._patience_s = patience_s
        self._turn = trio.Lock()
        self._threads = trio.CapacityLimiter(2)
        self._backoff = Backoff()

    async def check(self, header: bytes | None, peer: Peer) -> Verdict:
        """Whether a request may go on.

        Args:
            header: The value of ``Authorization``, `None` without one.
            peer: Who sends it.
        """
        with trio.move_on_after(self._patience_s):
            async with self._turn:
                return await self._check(header, peer)
        return Verdict(outcome=Outcome.TOO_SLOW)

    async def _check(self, header: bytes | None, peer: Peer) -> Verdict:
        if header is None:
            # Many clients ask without first; that is no attempt.
            return Verdict(outcome=Outcome.WRONG)
        credentials = parse_basic(header)
        user = credentials[0] if credentials else ""
        # One user's right password says nothing about who tries those of another.
        source = f"{peer.fingerprint or source_of(peer.address)} {user}"
        wait = self._backoff.wait_s(source, trio.current_time())
        if wait > 0:
            return Verdict(outcome=Outcome.LOCKED, wait_s=wait)
        try:
            right = credentials is not None and await trio.to_thread.run_sync(
                self._authenticate, *credentials, peer, abandon_on_cancel=True, limiter=self._threads
            )
        except Fault as fault:
            self._backoff.succeeded(source)
            return Verdict(outcome=Outcome.FORBIDDEN, user=user, reason=fault.message)
        if not right:
            self._backoff.failed(source, trio.current_time())
            return Verdict(outcome=Outcome.WRONG, user=user)
        self._backoff.succeeded(source)
        return Verdict(outcome=Outcome.ACCEPTED, user=user)
