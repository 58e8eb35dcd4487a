"""The client: one call, or many over one kept connection, and for each way to fail its own error.

A call that may have reached the other side is never repeated here; whoever knows what the method does
decides about that.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from types import TracebackType

import h11
import trio

from appliance.rpc import errors, values, xml
from appliance.rpc.auth import basic
from appliance.rpc.connecting import Link, Target, connect, is_about_us
from appliance.rpc.errors import CodecError
from appliance.rpc.limits import Timeouts
from appliance.rpc.statuses import refusal
from appliance.rpc.tls import Tls
from appliance.rpc.values import Value

_PIECE = 256 * 1024
"""Bytes of a call after which the patience with the server starts anew."""
_BROKEN = (ssl.SSLError, trio.BrokenResourceError)


async def call(
    target: Target,
    method: str,
    *params: object,
    tls: Tls,
    user: str = "",
    password: str = "",
    timeouts: Timeouts | None = None,
) -> Value:
    """Call a method over a connection of its own.

    Raises:
        Fault: The method said no.
        RpcError: The call did not get through; each cause has its own class.
    """
    async with Client(target, tls=tls, user=user, password=password, timeouts=timeouts) as client:
        return await client.call(method, *params)


@dataclass(slots=True, kw_only=True)
class _Connection:
    """A connection with its place in the protocol."""

    link: Link
    http: h11.Connection
    used: float = 0.0
    """When the last answer came; 0: none yet."""


@dataclass(slots=True, kw_only=True)
class _Answer:
    """What has come of an answer."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    size: int = 0


class Client:
    """Calls methods of one server, one at a time, over a connection that is kept while it lasts.

    Args:
        target: The server.
        tls: Own certificate and the pinned one of the server.
        user: Sent together with `password` at every call, once the server has proved who it is.
        password: Empty together with `user`: none is sent.
        timeouts: Patience.
    """

    def __init__(
        self, target: Target, *, tls: Tls, user: str = "", password: str = "", timeouts: Timeouts | None = None
    ) -> None:
        self.peer_fingerprint = ""
        """SHA-256 of the server's certificate, once connected."""
        self._target = target
        self._where = str(target)
        self._tls = tls
        self._user = user
        self._authorization = basic(user, password) if user or password else None
        self._timeouts = timeouts or Timeouts()
        self._turn = trio.Lock()
        self._kept: _Connection | None = None

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the kept connection. The client can be used again, over a new one."""
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.link.stream.aclose()

    async def call(self, method: str, *params: object) -> Value:
        """Call a method.

        Raises:
            Fault: The method said no.
            RpcError: The call did not get through; each cause has its own class.
        """
        document = await _encode(method, params)
        async with self._turn:
            connection = await self._connection()
            try:
                answer = await self._exchange(connection, document)
            except BaseException:
                await connection.link.stream.aclose()
                raise
            await self._keep(connection)
        return await self._result(answer, len(document))

    async def _connection(self) -> _Connection:
        kept, self._kept = self._kept, None
        if kept is not None:
            if trio.current_time() - kept.used < self._timeouts.idle_s and kept.link.untouched():
                return kept
            await kept.link.stream.aclose()
        link = await connect(self._target, self._tls, self._timeouts)
        self.peer_fingerprint = link.peer_fingerprint
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=self._timeouts.head_max)
        return _Connection(link=link, http=http)

    async def _keep(self, connection: _Connection) -> None:
        try:
            connection.http.start_next_cycle()
        except h11.LocalProtocolError:
            # The server closes after this answer, or gave it before it had read all of the call.
            await connection.link.stream.aclose()
            return
        connection.used = trio.current_time()
        self._kept = connection

    async def _exchange(self, connection: _Connection, document: bytes) -> _Answer:
        # Whoever refuses a call early may close before it has read it; the reason is there to be read.
        broken = await self._send(connection, document)
        answer = _Answer()
        stall_s, what = self._timeouts.answer_s, "answer"
        try:
            while not await self._next(connection, answer, stall_s, what):
                if answer.status:
                    stall_s, what = self._timeouts.read_stall_s, "send the rest of its answer"
        except _BROKEN as error:
            if is_about_us(error) and not connection.used:
                raise errors.not_accepted(self._where) from None
            raise errors.lost(self._where, "the call was sent" if broken else "its answer was awaited") from None
        except h11.RemoteProtocolError as error:
            if connection.http.trailing_data[1]:
                raise errors.lost(self._where, "its answer was awaited") from None
            raise errors.nonsense(self._where, f"no HTTP ({error})") from None
        return answer

    async def _send(self, connection: _Connection, document: bytes) -> bool:
        """Send a call; whether the connection broke meanwhile."""
        headers = [
            (b"host", str(self._target).encode("ascii", "replace")),
            (b"content-type", b"text/xml"),
            (b"content-length", b"%d" % len(document)),
        ]
        if self._authorization is not None:
            headers.append((b"authorization", self._authorization))
        request = h11.Request(method=b"POST", target=self._target.path.encode("ascii", "replace"), headers=headers)
        http = connection.http
        head = http.send(request) or b""
        body = http.send(h11.Data(data=document)) or b""
        http.send(h11.EndOfMessage())
        data = memoryview(head + body)
        try:
            for start in range(0, len(data), _PIECE):
                with trio.fail_after(self._timeouts.send_stall_s):
                    await connection.link.stream.send_all(data[start : start + _PIECE])
        except trio.TooSlowError:
            raise errors.silent(self._where, "take the call", self._timeouts.send_stall_s) from None
        except _BROKEN as error:
            if is_about_us(error) and not connection.used:
                raise errors.not_accepted(self._where) from None
            return True
        return False

    async def _next(self, connection: _Connection, answer: _Answer, stall_s: float, what: str) -> bool:
        """Take in one event; whether the answer is complete."""
        event = connection.http.next_event()
        if event is h11.NEED_DATA:
            with trio.move_on_after(stall_s):
                connection.http.receive_data(await connection.link.stream.receive_some())
                return False
            raise errors.silent(self._where, what, stall_s)
        if isinstance(event, h11.Response):
            answer.status = event.status_code
            answer.headers = dict(event.headers)
        elif isinstance(event, h11.Data):
            answer.parts.append(bytes(event.data))
            answer.size += len(event.data)
            if answer.size > self._timeouts.answer_max:
                raise errors.answer_too_large(self._where, self._timeouts.answer_max)
        elif isinstance(event, h11.ConnectionClosed):
            raise errors.lost(self._where, "its answer was awaited")
        return isinstance(event, h11.EndOfMessage)

    async def _result(self, answer: _Answer, size: int) -> Value:
        body = b"".join(answer.parts)
        if answer.status != 200:
            retry_after = answer.headers.get(b"retry-after", b"")
            raise refusal(answer.status, body, retry_after, where=self._where, user=self._user, size=size)
        kind = answer.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"text/xml" or b"content-encoding" in answer.headers:
            raise errors.nonsense(self._where, f"its answer is {kind[:64].decode('ascii', 'replace') or 'of no type'}")
        try:
            if len(body) > values.LARGE:
                return await trio.to_thread.run_sync(_decode, body, self._timeouts.answer_max)
            return _decode(body, self._timeouts.answer_max)
        except CodecError as error:
            raise errors.nonsense(self._where, error.message) from None


async def _encode(method: str, params: tuple[object, ...]) -> bytes:
    if values.is_large(params):
        return await trio.to_thread.run_sync(xml.dumps_call, method, params)
    return xml.dumps_call(method, params)


def _decode(body: bytes, size_max: int) -> Value:
    return xml.loads_response(body, size_max=size_max)
