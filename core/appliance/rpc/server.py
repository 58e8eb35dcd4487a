"""The server: listens, gives places, does handshakes, and keeps every failure inside its connection."""

from __future__ import annotations

import ssl
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

import trio

from appliance.errors import ApplianceError
from appliance.rpc.auth import Authenticate, Gate, Peer
from appliance.rpc.containment import Log, attempt
from appliance.rpc.dispatch import Dispatcher, Method
from appliance.rpc.http import Exchange, Refusal, Service
from appliance.rpc.limits import Limits
from appliance.rpc.listening import Listen, NotYet, accept, device_index, listen
from appliance.rpc.slots import Slot, Slots
from appliance.rpc.stream import NotTls, TlsStream
from appliance.rpc.tls import Tls, fingerprint

REBIND_S = 1.0
"""Between looks whether the address or the device of the listener is there (again)."""
_PLAIN = b"This port speaks HTTPS (TLS 1.3) only.\n"
_PLAIN_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
    % (len(_PLAIN), _PLAIN)
)


class Server:
    """An XML-RPC server on one address.

    Args:
        where: Where to listen. The address may be missing for now.
        tls: Own certificate and pinned peers.
        methods: What can be called, by full name.
        authenticate: Checks user and password of every call; `None`: the certificate is enough.
        known: Addresses of the pinned peers, for whom places are kept free.
        limits: Patience and sizes.
        log: Where defects, refused passwords and changes of the listener are reported.
        rebind_s: Seconds between looks at a missing address.
    """

    def __init__(
        self,
        where: Listen,
        tls: Tls,
        methods: Mapping[str, Method],
        *,
        log: Log,
        authenticate: Authenticate | None = None,
        known: frozenset[str] = frozenset(),
        limits: Limits | None = None,
        rebind_s: float = REBIND_S,
    ) -> None:
        limits = limits or Limits()
        self.tls = tls
        """May be replaced at any time: it counts from the next connection on."""
        self.port = 0
        """Where the server listens now; 0: it does not."""
        self.waiting_for = ""
        """Why it does not listen; empty while it does."""
        self.counters: Counter[str] = Counter()
        """What has happened, by name: ``calls``, ``status_401``, ``handshake_failed``, …"""
        self._where = where
        self._log = log
        self._limits = limits
        self._rebind_s = rebind_s
        self._slots = Slots(limits, known)
        gate = Gate(authenticate, patience_s=limits.authenticate_s) if authenticate else None
        dispatcher = Dispatcher(methods, log=log, body_max=limits.body_max, method_s=limits.method_s)
        self._service = Service(limits=limits, dispatcher=dispatcher, gate=gate, log=log, counters=self.counters)

    @property
    def connections(self) -> int:
        """How many there are at the moment."""
        return len(self._slots)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Started when it has tried to listen once, with or without success.

        Raises:
            ApplianceError: It can never listen there.
        """
        listener = self._listen()
        task_status.started()
        async with trio.open_nursery() as connections:
            while True:
                if listener is None:
                    await trio.sleep(self._rebind_s)
                else:
                    try:
                        await self._serve(listener, connections)
                    finally:
                        self.port = 0
                        listener.socket.close()
                listener = self._listen_again()

    def _listen(self) -> trio.SocketListener | None:
        try:
            listener = listen(self._where)
        except NotYet as reason:
            self._not_listening(str(reason))
            return None
        self.waiting_for = ""
        self.port = listener.socket.getsockname()[1]
        self._log.info("rpc_listening", address=self._where.address, port=self.port, device=self._where.device)
        return listener

    def _listen_again(self) -> trio.SocketListener | None:
        try:
            return self._listen()
        except ApplianceError as error:
            # It could be done before: whatever has changed may change back, and connections go on meanwhile.
            self._not_listening(error.message)
            return None

    def _not_listening(self, reason: str) -> None:
        if self.waiting_for != reason:
            self.waiting_for = reason
            self._log.warning("rpc_not_listening", where=str(self._where), reason=reason)

    async def _serve(self, listener: trio.SocketListener, connections: trio.Nursery) -> None:
        """Accept until the device is gone or is another one of the same name."""
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

    async def _connection(self, transport: trio.SocketStream, slot: Slot, scope: trio.CancelScope) -> None:
        with scope:
            stream = TlsStream(transport, self.tls.context, server=True)
            try:
                outcome = await attempt(lambda: self._talk(stream, slot))
                self._ended(slot, outcome)
            finally:
                self._slots.release(slot)
                await stream.aclose()
        if scope.cancelled_caught:
            self.counters["replaced"] += 1

    def _ended(self, slot: Slot, outcome: Exception | None) -> None:
        match outcome:
            case None:
                return
            case ssl.SSLError() | trio.BrokenResourceError() | trio.ClosedResourceError():
                self.counters["broken"] += 1
            case trio.TooSlowError():
                self.counters["too_slow"] += 1
            case _:
                self._log.error("rpc_connection_failed", peer=slot.source, error=repr(outcome), exc_info=outcome)

    async def _talk(self, stream: TlsStream, slot: Slot) -> None:
        tls = self.tls
        if not await self._handshake(stream):
            return
        certificate = stream.peer_certificate()
        shown = fingerprint(certificate) if certificate else ""
        exchange = Exchange(stream, Peer(address=slot.source, fingerprint=shown), slot, self._service)
        if shown and shown not in tls.pins:
            # Signed by a pinned certificate, and not one.
            self.counters["handshake_failed"] += 1
            await exchange.refuse(Refusal(403, "This certificate is not pinned."))
        elif shown and not self._slots.identify(slot, shown):
            await exchange.refuse(Refusal(503, "There are too many connections with this certificate."))
        else:
            await exchange.serve()

    async def _handshake(self, stream: TlsStream) -> bool:
        with trio.move_on_after(self._limits.handshake_s):
            try:
                await stream.handshake()
            except NotTls:
                self.counters["not_tls"] += 1
                with suppress(trio.BrokenResourceError):
                    await stream.send_plain(_PLAIN_ANSWER)
                    await self._drain(stream)
            except ssl.SSLError:
                self.counters["handshake_failed"] += 1
                with suppress(trio.BrokenResourceError):
                    await self._drain(stream)
            else:
                return True
            return False
        self.counters["handshake_too_slow"] += 1
        return False

    async def _drain(self, stream: TlsStream) -> None:
        # Closing with unread data would make the kernel send a reset that overtakes our reason.
        with trio.move_on_after(self._limits.linger_s):
            await stream.drain()
