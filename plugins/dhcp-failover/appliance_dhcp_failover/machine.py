"""When this node answers the clients of one interface, and what has to be done about its Kea. Sans-IO.

Theory. Three things have to agree: the role of the virtual address, a Kea that runs, and the configuration that this
Kea has. `Gate.action` says what is to be done next; whoever does it says how it went. Only when all agree, and a look
at the kernel found Kea's sockets, the state is SERVING, and only then answers leave this node (`may_answer`).

A configuration that fails leaves Kea running without a socket, so after any failure the next one is sent anew, and
Kea is started anew after `FAILURES_MAX`. A Kea that ends is started again after a back-off.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
"""Before Kea is started again; the last for ever."""
HEALTHY_S = 60.0
"""After this long the back-off begins anew."""
RETRY_S = 0.05
"""Between attempts to configure: the address may be milliseconds younger than the role."""
FAILURES_MAX = 60
"""Attempts, or looks that found no socket, in a row until Kea is started anew."""
PATIENCE = 10
"""Failures in a row that are usual when a role is taken over."""
PROBE_S = 1.0
"""Between looks whether Kea is well."""
DOWN_S = 3.0
"""Kea may be away this long until the node is a worse candidate."""


class State(StrEnum):
    """What this node does for the clients of the interface."""

    STARTING = "starting"
    """Kea or its configuration is not there yet."""
    STANDBY = "standby"
    """Another node answers; this one only takes leases in."""
    SERVING = "serving"
    """It answers."""
    DOWN = "down"
    """It cannot: Kea ended or refuses its configuration. Tried again."""


@dataclass(frozen=True, slots=True)
class Start:
    """Start Kea, as a standby."""


@dataclass(frozen=True, slots=True)
class Configure:
    """Give Kea its configuration."""

    serving: bool


@dataclass(frozen=True, slots=True)
class Probe:
    """Look whether Kea answers and has its sockets."""


@dataclass(frozen=True, slots=True)
class Restart:
    """End Kea: it does not do what it should."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to do until then, or until something happens."""

    until: float


Action = Start | Configure | Probe | Restart | Wait


class Gate:
    """One interface.

    Args:
        now: Seconds on a clock that never goes back.
        is_master: Whether this node is MASTER of the virtual address, or there is none.
    """

    def __init__(self, now: float, *, is_master: bool = False) -> None:
        self._is_master = is_master
        self._runs = False
        self._applied: bool | None = None
        self._failures = 0
        self._crashes = 0
        self._started = now
        self._at = now
        self._broken_since: float | None = None
        self._is_proved = False
        self.state = State.STARTING
        self.reason = "Kea is being started"
        """Why it is in this state; for people."""
        self.changes = 0
        """Of `state`."""

    @property
    def is_master(self) -> bool:
        """The role."""
        return self._is_master

    @property
    def may_answer(self) -> bool:
        """Whether an answer to a client may leave this node now."""
        return self._is_master and self._runs and self._applied is True

    def is_demoting(self, now: float) -> bool:
        """Whether another node would serve the clients better."""
        return self._broken_since is not None and now - self._broken_since >= DOWN_S

    # ------------------------------------------------------------------------------------ what happens

    def set_master(self, is_master: bool, now: float, why: str = "") -> None:
        """The role changed."""
        if is_master == self._is_master:
            return
        self._is_master = is_master
        self._failures = 0
        self._at = now
        if not is_master and self.state is State.SERVING:
            self._become(State.STARTING, why or "another node is MASTER")

    def renew(self, now: float) -> None:
        """The settings changed: what Kea has is not what it should have."""
        self._applied = None
        self._failures = 0
        self._at = now

    def started(self, now: float) -> None:
        """Kea runs, configured as a standby."""
        self._runs, self._started = True, now
        self._applied = False
        self._failures = 0
        self._at = now

    def ended(self, why: str, now: float) -> None:
        """Kea has ended, or could not be started."""
        if now - self._started >= HEALTHY_S:
            self._crashes = 0
        self._runs, self._applied, self._is_proved = False, None, False
        self._at = now + BACKOFF_S[min(self._crashes, len(BACKOFF_S) - 1)]
        self._crashes += 1
        self._break(why, now)

    def configured(self, serving: bool, now: float) -> None:
        """Kea took its configuration."""
        self._applied = serving
        self._is_proved = False
        self._at = now

    def refused(self, why: str, now: float) -> None:
        """Kea did not take its configuration, or does not answer. Whatever it had counts as lost."""
        self._applied = None
        self._failures += 1
        self._at = now + RETRY_S
        self.reason = why
        if self._failures > PATIENCE:
            self._break(why, now)

    def probed(self, why_not: str, now: float) -> None:
        """A look at Kea: empty when it is well."""
        if why_not:
            self.refused(why_not, now)
            return
        self._failures = 0
        self._is_proved = True
        self._broken_since = None
        self._at = now + PROBE_S
        if self._applied is True:
            self._become(State.SERVING, "this node is MASTER")
        elif self._applied is False and not self._is_master:
            self._become(State.STANDBY, "another node is MASTER")

    # ------------------------------------------------------------------------------------ what to do

    def action(self, now: float) -> Action:
        """What is to be done now."""
        if not self._runs:
            return Start() if now >= self._at else Wait(self._at)
        if self._failures >= FAILURES_MAX:
            return Restart()
        if now < self._at and (self._applied is None or self._applied == self._is_master):
            return Wait(self._at)
        if self._applied != self._is_master:
            return Configure(self._is_master)
        return Probe()

    def _break(self, why: str, now: float) -> None:
        if self._broken_since is None:
            self._broken_since = now
        self._become(State.DOWN, why)

    def _become(self, state: State, reason: str) -> None:
        self.reason = reason
        if state is not self.state:
            self.state = state
            self.changes += 1
