"""Connections at one address: each gets an sshd of its own, and a place as long as it lasts."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from appliance.net.child import Child
from appliance.plugin import Logger
from appliance.rpc import Acceptor, Limits, Listen, Slot
from appliance_ssh.journal import Journal
from appliance_ssh.settings import Place

STRANGERS_MAX = 10
"""Connections before their login, at each address; the newest replaces the oldest of whoever has most."""
PER_USER_MAX = 8
"""Sessions of one user at each address."""
LIMITS = Limits(strangers_max=STRANGERS_MAX, strangers_reserved=0, per_peer_max=PER_USER_MAX)
PACE_S = 0.05
"""Between two starts of sshd: each costs some milliseconds of the processor, however many strangers knock."""


@dataclass(slots=True, kw_only=True)
class Session:
    """Somebody who is in."""

    number: int
    user: str
    key: str
    """Fingerprint."""
    source: str
    interface: str
    end: Callable[[], None]
    """Ends it at once."""
    since: float = field(default_factory=trio.current_time)


class Doorkeeper(Protocol):
    """What a server asks and tells."""

    def argv(self) -> list[str]: ...
    def opened(self, session: Session) -> bool:
        """Somebody came in; whether it may stay."""
        ...

    def closed(self, session: Session) -> None: ...
    def refused(self, user: str, source: str, interface: str) -> None: ...


class SshServer(Acceptor):
    """The sessions at one address.

    Args:
        place: Where, and for whom.
        keeper: Who decides.
        numbers: For sessions.
        log: For changes of the listener, and what sshd complains of.
    """

    def __init__(self, place: Place, keeper: Doorkeeper, numbers: itertools.count[int], log: Logger) -> None:
        where = Listen(address=place.address, port=place.port, device=place.device)
        super().__init__(where, limits=LIMITS, log=log)
        self.place = place
        self._keeper, self._numbers, self._ssh_log = keeper, numbers, log
        self._starting = trio.Lock()

    async def _connection(self, transport: trio.SocketStream, slot: Slot, scope: trio.CancelScope) -> None:
        visit = _Visit(self, slot, scope)
        with scope:
            try:
                if self.place.admits(slot.source):
                    await visit.run(transport)
                else:
                    self.counters["refused_source"] += 1
            except OSError as error:
                self.counters["failed"] += 1
                self._ssh_log.error("sshd_failed", source=slot.source, error=str(error))
            finally:
                self._slots.release(slot)
                visit.over()  # before anything that waits: the visit may have been cancelled
                await trio.aclose_forcefully(transport)

    async def start(self) -> None:
        """Wait for the next turn to start a process."""
        async with self._starting:
            await trio.sleep(PACE_S)

    def came_in(self, slot: Slot, journal: Journal, end: Callable[[], None]) -> Session | None:
        """Somebody has shown a key that fits; its session, or nothing if it may not stay."""
        session = Session(
            number=next(self._numbers),
            user=journal.user,
            key=journal.key,
            source=slot.source,
            interface=self.place.interface,
            end=end,
        )
        slot.busy = True  # never replaced by another one
        if not self._slots.identify(slot, journal.user):
            self.counters["refused_full"] += 1
            return None
        return session if self._keeper.opened(session) else None

    @property
    def keeper(self) -> Doorkeeper:
        """Who decides."""
        return self._keeper


class _Visit:
    """One connection from its first word to its last."""

    def __init__(self, server: SshServer, slot: Slot, scope: trio.CancelScope) -> None:
        self._server, self._slot, self._scope = server, slot, scope
        self._journal = Journal()
        self._session: Session | None = None

    async def run(self, transport: trio.SocketStream) -> None:
        await self._server.start()
        channel = os.dup(transport.socket.fileno())
        try:
            # sshd is made for the blocking sockets that inetd gives; whoever shares this one does not use it.
            os.set_blocking(channel, True)
            await Child(self._hear).run(self._server.keeper.argv(), channel=channel, orphaned="TERM")
        finally:
            os.close(channel)

    def over(self) -> None:
        """Tell how it ended."""
        if self._session is not None:
            self._server.keeper.closed(self._session)
        elif self._journal.tried and not self._journal.user:
            self._server.keeper.refused(self._journal.tried, self._slot.source, self._server.place.interface)

    def _hear(self, line: str) -> None:
        if self._journal.note(line):
            self._session = self._server.came_in(self._slot, self._journal, self._scope.cancel)
            if self._session is None:
                self._scope.cancel()
