"""Makes notices of events. Knows what was said last of each fact, so that only news is told; pure but for the clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypeVar

from appliance.events import (
    Alarm,
    ConfigApplied,
    ConfigRefused,
    Event,
    HandoverMeasured,
    Health,
    NodeStarted,
    NodeStopping,
    PeerChanged,
    Retracted,
    Role,
    RoleChanged,
    ServiceCrashed,
    ServiceStarted,
)
from appliance_notify.vocabulary import Kind, Notice, Severity, State

K = TypeVar("K")
V = TypeVar("V")

TEXT_MAX = 500
"""Characters of a notice's texts: some repeat what other nodes said."""
KNOWN_MAX = 4096
"""Facts of each sort that are remembered; the oldest go first."""
_OF_PREFIX = {"gateways": Kind.GATEWAY, "sync": Kind.SYNC}
"""Classes of alarms by the first part of their key."""
_ALARM = f"{Alarm.__module__}:{Alarm.__qualname__}"
_PEER = f"{PeerChanged.__module__}:{PeerChanged.__qualname__}"
_SEVERITY = {Health.OK: Severity.INFO, Health.WARN: Severity.WARNING, Health.FAIL: Severity.CRITICAL}


class News:
    """What is new in the events of one node.

    Args:
        node: Its name.
        run: A word that no other run of the service has, for the identities of notices.
        clock: Time of day in seconds since 1970.
    """

    def __init__(self, node: str, run: str, clock: Callable[[], float]) -> None:
        self._node, self._run, self._clock = node, run, clock
        self._numbers = itertools.count(1)
        self._roles: dict[tuple[str, int], Role] = {}
        self._peers: dict[str, tuple[bool, bool]] = {}
        self._alarms: dict[str, Alarm] = {}
        self._crashed: dict[str, None] = {}

    def take(self, event: Event) -> Notice | None:
        """The notice about this event, `None` when there is nothing new in it."""
        match event:
            case RoleChanged():
                return self._role(event)
            case PeerChanged():
                return self._peer(event)
            case Alarm():
                return self._alarm(event)
            case Retracted(event_type=kind, key=(str() as key,)) if kind == _ALARM:
                return self._unwatched(key)
            case Retracted(event_type=kind, key=(str() as peer,)) if kind == _PEER:
                self._peers.pop(peer, None)
                return None
            case ServiceCrashed():
                return self._crash(event)
            case ServiceStarted(service=service) if service in self._crashed:
                del self._crashed[service]
                return self.notice(
                    Kind.SERVICE, Severity.WARNING, f"service/{service}", f"{service} runs again", State.CLEARED
                )
            case _:
                return self._happening(event)

    def _happening(self, event: Event) -> Notice | None:
        """What is no fact that lasts."""
        match event:
            case ConfigApplied(revision=revision, tables=tables, who=who):
                parts = f": {', '.join(tables)}" if tables else ""
                what = f"configuration {revision} is in force{parts}{f' (by {who})' if who else ''}"
                return self.notice(Kind.CONFIG, Severity.INFO, "config", what)
            case ConfigRefused(reason=reason):
                first = reason.strip().splitlines()[0] if reason.strip() else "no reason was given"
                return self.notice(
                    Kind.CONFIG,
                    Severity.WARNING,
                    "config/refused",
                    f"a configuration was refused or rolled back: {first}",
                    fix="`appliance log` and `appliance config history` on the node say more.",
                )
            case NodeStarted(version=version):
                return self.notice(Kind.NODE, Severity.WARNING, "node", f"the node is up (version {version})")
            case NodeStopping(reason=reason):
                return self.notice(Kind.NODE, Severity.WARNING, "node", f"the node is stopping: {reason}")
            case HandoverMeasured(to=to, duration_ms=duration):
                what = f"handed over to {to} in {duration:.0f} ms"
                return self.notice(Kind.NODE, Severity.INFO, "node/handover", what)
            case _:
                return None

    def missed(self, count: int) -> Notice:
        """So many events could not be looked at."""
        return self.notice(
            Kind.NODE, Severity.WARNING, "node/missed", f"{count} events came too fast and are not told one by one"
        )

    def test(self) -> Notice:
        """An attempt."""
        return self.notice(Kind.TEST, Severity.INFO, "test", "this is a test; nothing has happened")

    def _role(self, event: RoleChanged) -> Notice | None:
        host = (event.interface, event.vhid)
        before = self._roles.pop(host, None)
        if event.role is Role.REMOVED:
            return None  # by a change of the configuration, which is told
        _remember(self._roles, host, event.role)
        if before is event.role or (before is None and not event.role.is_master):
            return None  # where everybody begins
        reason = f": {event.reason}" if event.reason else ""
        what = f"{event.role} for VHID {event.vhid} on {event.interface}{reason}"
        severity = Severity.CRITICAL if event.role is Role.INIT else Severity.WARNING
        return self.notice(Kind.ROLE, severity, f"role/{event.interface}/{event.vhid}", what)

    def _peer(self, event: PeerChanged) -> Notice | None:
        now = (event.alive, event.alive and event.healthy)
        before = self._peers.pop(event.peer, None)
        _remember(self._peers, event.peer, now)
        if before == now or (before is None and all(now)):
            return None
        key, summary = f"peer/{event.peer}", f" ({event.summary})" if event.summary else ""
        if not event.alive:
            return self.notice(
                Kind.PEER,
                Severity.CRITICAL,
                key,
                f"{event.peer} is not heard any more{summary}",
                State.RAISED,
                fix=f"Look whether {event.peer} is up, and at the cable of the sync interface.",
            )
        if not event.healthy:
            what = f"{event.peer} is alive and cannot take over{summary}"
            fix = f"`appliance show carp` on {event.peer} names the reasons."
            return self.notice(Kind.PEER, Severity.WARNING, key, what, State.RAISED, fix=fix)
        severity = Severity.CRITICAL if before is not None and not before[0] else Severity.WARNING
        return self.notice(Kind.PEER, severity, key, f"{event.peer} is alive and healthy", State.CLEARED)

    def _alarm(self, event: Alarm) -> Notice | None:
        before = self._alarms.pop(event.key, None)
        if event.active:
            _remember(self._alarms, event.key, event)
            if before is not None and (before.health, before.what) == (event.health, event.what):
                return None
            return self._about(event, State.RAISED, event.what, fix=event.fix)
        # With the severity it was raised with: whoever has heard of it hears of its end, too.
        return self._about(before, State.CLEARED, before.what) if before is not None else None

    def _unwatched(self, key: str) -> Notice | None:
        before = self._alarms.pop(key, None)
        if before is None:
            return None
        return self._about(before, State.CLEARED, f"nobody watches it any more: {before.what}")

    def _about(self, alarm: Alarm, state: State, what: str, *, fix: str = "") -> Notice:
        kind = _OF_PREFIX.get(alarm.key.partition("/")[0], Kind.ALARM)
        return self.notice(kind, _SEVERITY[alarm.health], alarm.key, what, state, fix=fix)

    def _crash(self, event: ServiceCrashed) -> Notice:
        _remember(self._crashed, event.service, None)
        again = event.restart_in_s
        then = "it stays down" if again is None else f"it is started again in {again:g} s"
        return self.notice(
            Kind.SERVICE,
            Severity.CRITICAL if again is None else Severity.WARNING,
            f"service/{event.service}",
            f"{event.service} crashed ({event.error}); {then}",
            State.RAISED,
            fix=f"Report it to the author of {event.distribution}; the log of the node has the details.",
        )

    def notice(
        self, kind: Kind, severity: Severity, key: str, what: str, state: State = State.EVENT, *, fix: str = ""
    ) -> Notice:
        """A notice with an identity of its own, and with texts that may go anywhere."""
        return Notice(
            id=f"{self._node}-{self._run}-{next(self._numbers)}",
            at=self._clock(),
            kind=kind,
            severity=severity,
            state=state,
            key=clean(key),
            what=clean(what),
            fix=clean(fix),
        )


def _remember(known: dict[K, V], key: K, value: V) -> None:
    known[key] = value
    while len(known) > KNOWN_MAX:
        del known[next(iter(known))]


def clean(text: str) -> str:
    """One line without control characters, not too long: it goes into mail headers, logs and terminals."""
    line = "".join(character if character.isprintable() else " " for character in text[: 2 * TEXT_MAX])
    line = " ".join(line.split())
    return line if len(line) <= TEXT_MAX else f"{line[: TEXT_MAX - 1]}…"
