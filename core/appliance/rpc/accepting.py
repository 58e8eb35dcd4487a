"""Accepts connections on one address of one device, for as long as these are there, and again when they are back."""

from __future__ import annotations

from collections.abc import Callable

import trio

from appliance.errors import ApplianceError
from appliance.rpc.containment import Log
from appliance.rpc.listening import Listen, NotYet, accept, device_index, listen

REBIND_S = 1.0
"""Between looks whether the address or the device of the listener is there (again)."""

Connected = Callable[[trio.SocketStream, str], None]
"""Takes a connection and the address of its client; must not wait."""


class Acceptor:
    """A listener that survives its address and its device.

    Args:
        where: Where to listen. The address may be missing for now.
        log: Where changes of the listener are reported.
        rebind_s: Seconds between looks at a missing address.
    """

    def __init__(self, where: Listen, *, log: Log, rebind_s: float = REBIND_S) -> None:
        self.port = 0
        """Where it listens now; 0: it does not."""
        self.waiting_for = ""
        """Why it does not listen; empty while it does."""
        self._where = where
        self._log = log
        self._rebind_s = rebind_s
        self._listener: trio.SocketListener | None = None

    def open(self) -> None:
        """Try to listen, with or without success.

        Raises:
            ApplianceError: It can never listen there.
        """
        try:
            self._listener = listen(self._where)
        except NotYet as reason:
            self._not_listening(str(reason))
            return
        self.waiting_for = ""
        self.port = self._listener.socket.getsockname()[1]
        self._log.info("rpc_listening", address=self._where.address, port=self.port, device=self._where.device)

    async def run(self, connected: Connected) -> None:
        """Accept until cancelled; `open` comes first."""
        try:
            while True:
                if self._listener is None:
                    await trio.sleep(self._rebind_s)
                else:
                    await self._accept(self._listener, connected)
                    self._close()
                self._open_again()
        finally:
            self._close()

    def _close(self) -> None:
        self.port = 0
        if self._listener is not None:
            self._listener.socket.close()
            self._listener = None

    def _open_again(self) -> None:
        try:
            self.open()
        except ApplianceError as error:
            # It could be done before: whatever has changed may change back, and connections go on meanwhile.
            self._not_listening(error.message)

    def _not_listening(self, reason: str) -> None:
        if self.waiting_for != reason:
            self.waiting_for = reason
            self._log.warning("rpc_not_listening", where=str(self._where), reason=reason)

    async def _accept(self, listener: trio.SocketListener, connected: Connected) -> None:
        """Until the device is gone or is another one of the same name."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch_device, device_index(self._where), nursery.cancel_scope)
            while True:
                connected(*await accept(listener))

    async def _watch_device(self, index: int, scope: trio.CancelScope) -> None:
        while True:
            await trio.sleep(self._rebind_s)
            if device_index(self._where) != index:
                scope.cancel()
