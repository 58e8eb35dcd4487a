"""Accepts connections on one address of one device, for as long as these are there, and again when they are back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter

import trio

from appliance.errors import ApplianceError
from appliance.rpc.containment import Log
from appliance.rpc.limits import Limits
from appliance.rpc.listening import Listen, NotYet, accept, device_index, listen
from appliance.rpc.slots import Slot, Slots

REBIND_S = 1.0
"""Between looks whether the address or the device of the listener is there (again)."""


class Acceptor(ABC):
    """A server that survives its address and its device, and has places for so many connections.

    Args:
        where: Where to listen. The address may be missing for now.
        limits: How many connections.
        log: Where changes of the listener are reported.
        known: Addresses for which places are kept free (`Slots`).
        rebind_s: Seconds between looks at a missing address.
    """

    def __init__(
        self,
        where: Listen,
        *,
        limits: Limits,
        log: Log,
        known: frozenset[str] = frozenset(),
        rebind_s: float = REBIND_S,
    ) -> None:
        self.port = 0
        """Where the server listens now; 0: it does not."""
        self.waiting_for = ""
        """Why it does not listen; empty while it does."""
        self.counters: Counter[str] = Counter()
        """What has happened, by name: ``accepted``, ``refused_full``, …"""
        self._where = where
        self._log = log
        self._limits = limits
        self._slots = Slots(limits, known)
        self._rebind_s = rebind_s
        self._listener: trio.SocketListener | None = None

    @property
    def connections(self) -> int:
        """How many there are at the moment."""
        return len(self._slots)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Started when it has tried to listen once, with or without success.

        Raises:
            ApplianceError: It can never listen there.
        """
        self._open()
        task_status.started()
        try:
            async with trio.open_nursery() as connections:
                while True:
                    if self._listener is None:
                        await trio.sleep(self._rebind_s)
                    else:
                        await self._accept(self._listener, connections)
                        self._close()
                    self._open_again()
        finally:
            self._close()

    @abstractmethod
    async def _connection(self, transport: trio.SocketStream, slot: Slot, scope: trio.CancelScope) -> None:
        """Serve one connection inside `scope`, then release its place and close it. Contains every failure."""

    def _open(self) -> None:
        try:
            self._listener = listen(self._where)
        except NotYet as reason:
            self._not_listening(str(reason))
            return
        self.waiting_for = ""
        self.port = self._listener.socket.getsockname()[1]
        self._log.info("rpc_listening", address=self._where.address, port=self.port, device=self._where.device)

    def _close(self) -> None:
        self.port = 0
        if self._listener is not None:
            self._listener.socket.close()
            self._listener = None

    def _open_again(self) -> None:
        try:
            self._open()
        except ApplianceError as error:
            # It could be done before: whatever has changed may change back, and connections go on meanwhile.
            self._not_listening(error.message)

    def _not_listening(self, reason: str) -> None:
        if self.waiting_for != reason:
            self.waiting_for = reason
            self._log.warning("rpc_not_listening", where=str(self._where), reason=reason)

    async def _accept(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        """Until the device is gone or is another one of the same name."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_device, device_index(self._where), nursery.cancel_scope)
            while True:
                transport, source = await accept(listener)
                scope = trio.CancelScope()
                slot = self._slots.admit(source, scope.cancel)
                if slot is None:
                    self.counters["refused_full"] += 1
                    transport.socket.close()
                    continue
                self.counters["accepted"] += 1
                connections.start_soon(self._connection, transport, slot, scope)

    async def _watch_device(self, index: int, scope: trio.CancelScope) -> None:
        while True:
            await trio.sleep(self._rebind_s)
            if device_index(self._where) != index:
                scope.cancel()
