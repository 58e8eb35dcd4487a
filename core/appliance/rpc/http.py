"""The server's side of HTTP on one connection: h11 reads, this module waits, limits and refuses.

Only ``POST /RPC2`` with ``text/xml`` in UTF-8 gets anywhere. Everything else is refused with a status and
one sentence, and the connection is closed. The order of the checks is from cheap to expensive: head, size,
lock, password, body, XML.
"""

from __future__ import annotations

import http
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import h11
import trio

from appliance.rpc import xml
from appliance.rpc.auth import Gate, Outcome, Peer
from appliance.rpc.containment import Log
from appliance.rpc.dispatch import Caller, Dispatcher
from appliance.rpc.faults import Fault, FaultCode
from appliance.rpc.limits import Limits
from appliance.rpc.slots import Slot
from appliance.rpc.stream import TlsStream

PATH = b"/RPC2"
"""As in the first XML-RPC servers; clients use it when they are told nothing else."""
_SMALL_CHUNKS = 1024
"""Pieces of a body that may be tiny; beyond, they have to have `_CHUNK_MIN` bytes on average."""
_CHUNK_MIN = 256
_XML = b"text/xml"
_TEXT = b"text/plain; charset=utf-8"

Headers = list[tuple[bytes, bytes]]


class Refusal(Exception):  # noqa: N818 - an answer, not an error
    """The request is answered with this status, and the connection ends."""

    def __init__(self, status: int, sentence: str, *, headers: Headers | None = None, fault: int = 0) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers or []
        self.fault = fault
        """Number of the fault that clients of XML-RPC find in the body; 0: plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What all connections of a server share."""

    limits: Limits
    dispatcher: Dispatcher
    gate: Gate | None
    """`None`: no users; whoever has shown a pinned certificate may call."""
    log: Log
    counters: Counter[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """What matters of a request before its body."""

    authorization: bytes | None
    chunked: bool


class Exchange:
    """The requests of one connection, one after the other.

    Args:
        stream: After its handshake.
        peer: Who it is.
        slot: Its place.
        service: What it is served from.
    """

    def __init__(self, stream: TlsStream, peer: Peer, slot: Slot, service: Service) -> None:
        self._stream = stream
        self._peer = peer
        self._slot = slot
        self._service = service
        self._limits = service.limits
        self._bodyless = False
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_max)

    async def serve(self) -> None:
        """Serve until either side ends the connection.

        Raises:
            ssl.SSLError: The client ended TLS with an alert.
            trio.BrokenResourceError: The connection broke.
            trio.TooSlowError: The client does not take its answer.
        """
        try:
            while await self._request():
                self._slot.busy = False
                self._http.start_next_cycle()
        except Refusal as refusal:
            await self.refuse(refusal)
        except h11.RemoteProtocolError as error:
            if not self._at_end():
                await self.refuse(Refusal(error.error_status_hint, "This is not HTTP as it should be."))

    def _at_end(self) -> bool:
        # A cut body: nobody is there to hear.
        return bool(self._http.trailing_data[1])

    async def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal, then let the client finish what it is sending."""
        self._count(f"status_{refusal.status}")
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        headers = [*refusal.headers, (b"connection", b"close")]
        if refusal.fault:
            body = xml.dumps_fault(Fault(refusal.fault, refusal.sentence))
            await self._respond(refusal.status, body, _XML, headers)
        else:
            await self._respond(refusal.status, f"{refusal.sentence}\n".encode(), _TEXT, headers)
        with trio.move_on_after(self._limits.linger_s), suppress(trio.BrokenResourceError):
            await self._stream.announce_end()
            await self._stream.drain()

    async def _request(self) -> bool:
        """Serve one request; whether there may be another."""
        head = await self._head()
        if head is None:
            return False
        # The connection of a peer is its own; a stranger's is only kept while a method runs.
        self._slot.busy = bool(self._peer.fingerprint)
        user = await self._user(head)
        body = await self._body(chunked=head.chunked)
        self._slot.busy = True
        caller = Caller(fingerprint=self._peer.fingerprint, address=self._peer.address, user=user)
        self._count("calls")
        answer = await self._service.dispatcher.answer(body, caller)
        await self._respond(200, answer, _XML, [])
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _head(self) -> _Head | None:
        begun = bool(self._http.trailing_data[0])
        deadline = trio.current_time() + (self._limits.headers_s if begun else self._limits.idle_s)
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                return self._checked(event)
            if event is not h11.NEED_DATA:
                return None
            received = await self._receive(deadline)
            if received is None:
                # A connection that is kept for later ends silently: there is nothing to answer.
                if not begun:
                    return None
                raise Refusal(408, "The head of the request came too slowly.")
            self._http.receive_data(received)
            if not begun and received:
                begun = True
                deadline = trio.current_time() + self._limits.headers_s

    def _checked(self, request: h11.Request) -> _Head:
        self._bodyless = request.method == b"HEAD"
        if sum(len(name) + len(value) for name, value in request.headers) > self._limits.head_max:
            # h11 limits what is incomplete; this one came in one piece.
            raise Refusal(431, "The head of the request is too large.")
        found: dict[bytes, bytes] = {}
        for name, value in request.headers:
            if name in found and name in (b"authorization", b"content-type", b"content-encoding"):
                raise Refusal(400, f"There is more than one {name.decode('ascii')}.")
            found[name] = value
        if request.target != PATH:
            raise Refusal(404, "There is nothing here; XML-RPC is at /RPC2.")
        if request.method != b"POST":
            raise Refusal(405, "XML-RPC is called with POST.", headers=[(b"allow", b"POST")])
        if found.get(b"content-encoding", b"identity").lower() != b"identity":
            raise Refusal(415, "Compressed calls are not accepted.")
        if not _is_xml(found.get(b"content-type", b"")):
            raise Refusal(415, "A call is text/xml in UTF-8.")
        declared = found.get(b"content-length")
        # h11 lets only digits and one value through, at most twenty.
        if declared is not None and int(declared) > self._limits.body_max:
            raise self._too_large()
        return _Head(authorization=found.get(b"authorization"), chunked=declared is None)

    def _too_large(self) -> Refusal:
        return Refusal(413, f"A call may have {self._limits.body_max} bytes.")

    async def _user(self, head: _Head) -> str:
        gate = self._service.gate
        if gate is None:
            return ""
        verdict = await gate.check(head.authorization, self._peer)
        match verdict.outcome:
            case Outcome.ACCEPTED:
                return verdict.user
            case Outcome.WRONG:
                if head.authorization is not None:
                    self._service.log.warning(
                        "rpc_login_refused", peer=self._peer.address, user=_printable(verdict.user)
                    )
                challenge = [(b"www-authenticate", b'Basic realm="appliance", charset="UTF-8"')]
                sentence = "unknown user or wrong password"
                raise Refusal(401, sentence, headers=challenge, fault=FaultCode.AUTHENTICATION)
            case Outcome.LOCKED:
                seconds = max(1, round(verdict.wait_s + 0.5))
                retry = [(b"retry-after", b"%d" % seconds)]
                sentence = f"too many wrong passwords: locked for {seconds} s"
                raise Refusal(429, sentence, headers=retry, fault=FaultCode.LOCKED)
            case Outcome.FORBIDDEN:
                raise Refusal(403, verdict.reason, fault=FaultCode.PRIVILEGE)
        raise Refusal(503, "Checking the password took too long.")

    async def _body(self, *, chunked: bool) -> bytes:
        if self._http.they_are_waiting_for_100_continue:
            await self._send(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        begun = trio.current_time()
        parts: list[bytes] = []
        size = 0
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                parts.append(bytes(event.data))
                size += len(event.data)
                if size > self._limits.body_max:
                    raise self._too_large()
                if chunked and len(parts) > _SMALL_CHUNKS + size // _CHUNK_MIN:
                    raise Refusal(400, f"The chunks are too small; send at least {_CHUNK_MIN} bytes at a time.")
            elif event is h11.NEED_DATA:
                received = await self._receive(self._limits.body_deadline(begun, trio.current_time(), size))
                if received is None:
                    raise Refusal(408, "The body of the request came too slowly.")
                self._http.receive_data(received)
            elif isinstance(event, h11.EndOfMessage):
                return b"".join(parts)

    async def _receive(self, deadline: float) -> bytes | None:
        """What comes until the deadline, `None` if nothing does."""
        with trio.CancelScope(deadline=deadline):
            return await self._stream.receive_some()
        return None

    async def _respond(self, status: int, body: bytes, kind: bytes, headers: Headers) -> None:
        reason = http.HTTPStatus(status).phrase.encode("ascii")
        length = b"%d" % len(body)
        response = h11.Response(
            status_code=status,
            reason=reason,
            headers=[(b"content-type", kind), (b"content-length", length), *headers],
        )
        parts = (response, h11.Data(data=b"" if self._bodyless else body), h11.EndOfMessage())
        await self._send(b"".join(self._http.send(part) or b"" for part in parts))

    async def _send(self, data: bytes) -> None:
        with trio.fail_after(self._limits.send_time(len(data))):
            await self._stream.send_all(data)

    def _count(self, what: str) -> None:
        self._service.counters[what] += 1


def _printable(user: str) -> str:
    # It may be anything, and logs are read on terminals.
    return "".join(character if character.isprintable() else "?" for character in user[:64])


def _is_xml(content_type: bytes) -> bool:
    kind, _, rest = content_type.partition(b";")
    charset = rest.strip().lower().replace(b" ", b"").replace(b'"', b"")
    return kind.strip().lower() == _XML and charset in (b"", b"charset=utf-8", b"charset=us-ascii")
