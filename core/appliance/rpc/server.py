"""The server: listens, gives places, does handshakes, and keeps every failure inside its connection."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from contextlib import suppress

import trio

from appliance.rpc.accepting import REBIND_S, Acceptor
from appliance.rpc.auth import Authenticate, Gate, Peer
from appliance.rpc.containment import Log, attempt
from appliance.rpc.dispatch import Dispatcher, Method
from appliance.rpc.http import Exchange, Refusal, Service
from appliance.rpc.limits import Limits
from appliance.rpc.listening import Listen
from appliance.rpc.slots import Slot
from appliance.rpc.stream import NotTls, TlsStream
from appliance.rpc.tls import Tls, fingerprint

_PLAIN = b"This port speaks HTTPS (TLS 1.3) only.\n"
_PLAIN_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
    % (len(_PLAIN), _PLAIN)
)


class Server(Acceptor):
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
        super().__init__(where, limits=limits, log=log, known=known, rebind_s=rebind_s)
        self.tls = tls
        """May be replaced at any time: it counts from the next connection on."""
        gate = Gate(authenticate, patience_s=limits.authenticate_s) if authenticate else None
        dispatcher = Dispatcher(methods, log=log, body_max=limits.body_max, method_s=limits.method_s)
        self._service = Service(limits=limits, dispatcher=dispatcher, gate=gate, log=log, counters=self.counters)

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
