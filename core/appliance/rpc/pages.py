"""A small HTTP server of pages that can only be read: GET and HEAD, without TLS, for neighbours that may.

It has the limits of the XML-RPC server: places for few connections, deadlines for every wait, one sentence for every
refusal. A connection carries one request at a time and may be kept.
"""

from __future__ import annotations

import http
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import h11
import trio

from appliance.rpc.accepting import REBIND_S, Acceptor
from appliance.rpc.containment import Log, attempt
from appliance.rpc.limits import Limits
from appliance.rpc.listening import Listen
from appliance.rpc.slots import Slot

_READ = 16 * 1024
_BODY_MAX = 64 * 1024
"""A GET may have a body, which means nothing (RFC 9110 section 9.3.1); one that goes on is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is sent."""

    kind: str
    """Content-Type."""
    body: bytes


MakePage = Callable[[Mapping[str, str]], Awaitable[Page]]
"""Makes a page anew; is given the headers of the request, names in lower case."""


class _Refusal(Exception):  # noqa: N818 - an answer, not an error
    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class PageServer(Acceptor):
    """Serves pages on one address.

    Args:
        where: Where to listen. The address may be missing for now.
        pages: By path.
        admits: Whether a client with this address may read; others get 403.
        log: Where defects and changes of the listener are reported.
        limits: Patience and sizes; `Limits.method_s` is for making a page.
        rebind_s: Seconds between looks at a missing address.
    """

    def __init__(
        self,
        where: Listen,
        pages: Mapping[str, MakePage],
        *,
        admits: Callable[[str], bool],
        log: Log,
        limits: Limits | None = None,
        rebind_s: float = REBIND_S,
    ) -> None:
        super().__init__(where, limits=limits or Limits(), log=log, rebind_s=rebind_s)
        self._pages = pages
        self._admits = admits

    @property
    def where(self) -> Listen:
        """As configured."""
        return self._where

    @property
    def limits(self) -> Limits:
        """Patience and sizes."""
        return self._limits

    async def _connection(self, transport: trio.SocketStream, slot: Slot, scope: trio.CancelScope) -> None:
        with scope:
            try:
                outcome = await attempt(_Exchange(self, transport, slot).serve)
                if isinstance(outcome, trio.BrokenResourceError | trio.TooSlowError):
                    self.counters["broken"] += 1
                elif outcome is not None:
                    self._log.error("page_failed", peer=slot.source, error=repr(outcome), exc_info=outcome)
            finally:
                self._slots.release(slot)
                await trio.aclose_forcefully(transport)

    def page(self, method: bytes, target: bytes, source: str) -> MakePage:
        """The page that is asked for, or a `_Refusal`."""
        if not self._admits(source):
            raise _Refusal(403, "This address may not read here.")
        made = self._pages.get(target.partition(b"?")[0].decode("ascii"))
        if made is None:
            raise _Refusal(404, f"There is nothing here; there is {', '.join(self._pages)}.")
        if method not in (b"GET", b"HEAD"):
            raise _Refusal(405, "It can only be read.")
        return made


class _Exchange:
    """The requests of one connection, one after the other."""

    def __init__(self, server: PageServer, transport: trio.SocketStream, slot: Slot) -> None:
        self._server, self._transport, self._slot = server, transport, slot
        self._limits = server.limits
        self._bodyless = False
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head_max)

    async def serve(self) -> None:
        try:
            while await self._request():
                self._slot.busy = False
                self._http.start_next_cycle()
        except _Refusal as refusal:
            await self._refuse(refusal)
        except h11.RemoteProtocolError as error:
            await self._refuse(_Refusal(error.error_status_hint, "This is not HTTP as it should be."))

    async def _request(self) -> bool:
        """Serve one request; whether there may be another."""
        request = await self._next(self._limits.idle_s)
        if not isinstance(request, h11.Request):
            return False
        self._bodyless = request.method == b"HEAD"
        make = self._server.page(request.method, request.target, self._slot.source)
        received = 0
        while isinstance(event := await self._next(self._limits.headers_s), h11.Data):
            received += len(event.data)
            if received > _BODY_MAX:
                raise _Refusal(413, "A request has no body here.")
        if not isinstance(event, h11.EndOfMessage):
            return False
        self._slot.busy = True
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in request.headers}
        try:
            with trio.fail_after(self._limits.method_s):
                page = await make(headers)
        except trio.TooSlowError:
            raise _Refusal(503, "It took too long.") from None
        await self._respond(200, page.kind, page.body)
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _next(self, patience_s: float) -> object:
        """The next event; `None` when nothing comes any more."""
        deadline = trio.current_time() + (self._limits.headers_s if self._http.trailing_data[0] else patience_s)
        while (event := self._http.next_event()) is h11.NEED_DATA:
            with trio.move_on_at(deadline) as waiting:
                self._http.receive_data(await self._transport.receive_some(_READ))
                deadline = min(deadline, trio.current_time() + self._limits.headers_s)
            if waiting.cancelled_caught:
                return None
        return event

    async def _refuse(self, refusal: _Refusal) -> None:
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{refusal.sentence}\n".encode()
        extra = [("allow", "GET, HEAD")] if refusal.status == 405 else []
        await self._respond(refusal.status, "text/plain; charset=utf-8", body, [("connection", "close"), *extra])
        with trio.move_on_after(self._limits.linger_s):
            await self._transport.send_eof()
            while await self._transport.receive_some(_READ):
                pass

    async def _respond(self, status: int, kind: str, body: bytes, extra: list[tuple[str, str]] | None = None) -> None:
        self._server.counters[f"status_{status}"] += 1
        response = h11.Response(
            status_code=status,
            reason=http.HTTPStatus(status).phrase,
            headers=[("content-type", kind), ("content-length", str(len(body))), *(extra or [])],
        )
        parts = (response, h11.Data(data=b"" if self._bodyless else body), h11.EndOfMessage())
        data = b"".join(self._http.send(part) or b"" for part in parts)
        with trio.fail_after(self._limits.send_time(len(data))):
            await self._transport.send_all(data)
