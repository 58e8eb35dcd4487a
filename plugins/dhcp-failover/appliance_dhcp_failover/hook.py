"""Where Kea asks before it answers a client: a small HTTP server on the loopback of the node's network namespace.

Kea's hook sends one command per change of a lease, waits for the answer, and sends the client's only when this one
says that all is well (`kea`). It proves who it is by a password that is new at every start of the service.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Awaitable, Callable
from typing import Any

import h11
import trio

from appliance_dhcp_failover.kea import QUESTIONS, Endpoint

BODY_MAX = 64 * 1024
"""Bytes; a command about a lease has 400."""
CONNECTIONS_MAX = 4 * QUESTIONS
"""Kea has `QUESTIONS`; those of one that was killed may still be there."""
IDLE_S = 120.0
"""A connection without a command; Kea opens another one."""
OK, REFUSED = 0, 1

Ask = Callable[[str, dict[str, Any]], Awaitable[bool]]
"""Command and arguments to whether the answer may go."""


class Hook:
    """The server. Kea's password is `endpoint`'s.

    Args:
        password: What Kea has to show.
        ask: Decides.
    """

    def __init__(self, password: str, ask: Ask) -> None:
        self._ask = ask
        self._authorization = b"Basic " + base64.b64encode(f"kea:{password}".encode())
        self._password = password
        self._port = 0
        self._connections = 0

    @property
    def endpoint(self) -> Endpoint:
        """What Kea has to know."""
        return Endpoint(port=self._port, password=self._password)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; started when it listens."""
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self._port = listeners[0].socket.getsockname()[1]
        await trio.serve_listeners(self._serve, listeners, task_status=task_status)  # type: ignore[arg-type]

    async def _serve(self, stream: trio.SocketStream) -> None:
        self._connections += 1
        try:
            if self._connections <= CONNECTIONS_MAX:
                await self._talk(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError, h11.LocalProtocolError):
            return  # whoever it was has gone, or is not Kea
        finally:
            self._connections -= 1
            with trio.move_on_after(1, shield=True):
                await stream.aclose()

    async def _talk(self, stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=BODY_MAX)
        while http.our_state not in (h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
            request = await _receive(http, stream)
            if request is None:
                return
            headers, body = request
            status, result = 401, REFUSED
            if hmac.compare_digest(headers.get(b"authorization", b""), self._authorization):
                status, result = 200, OK if await self._decide(body) else REFUSED
            answer = json.dumps([{"result": result, "text": "" if result == OK else "refused"}]).encode()
            wanted = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
            # Kea's parser wants a phrase behind the status.
            reason = b"OK" if status == 200 else b"Unauthorized"
            data = http.send(h11.Response(status_code=status, reason=reason, headers=wanted)) or b""
            data += http.send(h11.Data(data=answer)) or b""
            data += http.send(h11.EndOfMessage()) or b""
            await stream.send_all(data)
            if http.our_state is not h11.DONE or http.their_state is not h11.DONE:
                return
            http.start_next_cycle()

    async def _decide(self, body: bytes) -> bool:
        try:
            asked = json.loads(body)
        except ValueError:
            return False
        if not isinstance(asked, dict) or not isinstance(asked.get("arguments", {}), dict):
            return False
        return await self._ask(str(asked.get("command", "")), asked.get("arguments", {}))


async def _receive(http: h11.Connection, stream: trio.SocketStream) -> tuple[dict[bytes, bytes], bytes] | None:
    """Head and body of a request; nothing when the connection has ended."""
    headers: dict[bytes, bytes] = {}
    parts: list[bytes] = []
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            with trio.move_on_after(IDLE_S):
                http.receive_data(await stream.receive_some())
                continue
            return None
        if isinstance(event, h11.Request):
            headers = dict(event.headers)
        elif isinstance(event, h11.Data):
            parts.append(bytes(event.data))
            if sum(map(len, parts)) > BODY_MAX:
                return None
        elif isinstance(event, h11.EndOfMessage):
            return headers, b"".join(parts)
        else:
            return None
