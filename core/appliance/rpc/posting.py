"""One POST to somebody else's HTTP server, over a connection that is there already and not used again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import h11
import trio

from appliance.rpc.errors import ConnectionLostError, NonsenseError

_READ = 16 * 1024
HEAD_MAX = 16 * 1024
"""Bytes of the head of an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What a server answered; its body is not read."""

    status: int
    reason: str


async def post(stream: trio.abc.Stream, *, host: str, path: str, headers: Mapping[str, str], body: bytes) -> Posted:
    """Send it and wait for the status, under the caller's deadline.

    Args:
        stream: A fresh connection, encrypted or not. The caller closes it.
        host: For the header, with the port unless it is the usual one.
        path: With its query, ASCII.
        headers: Further ones.
        body: As it is.

    Raises:
        ConnectionLostError: It broke; the server may or may not have taken it.
        NonsenseError: The answer is not HTTP.
    """
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_MAX)
    request = h11.Request(
        method="POST",
        target=path,
        headers=[("Host", host), ("Content-Length", str(len(body))), ("Connection", "close"), *headers.items()],
    )
    data = b"".join(connection.send(part) or b"" for part in (request, h11.Data(data=body), h11.EndOfMessage()))
    heard = False
    try:
        await stream.send_all(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                received = bytes(await stream.receive_some(_READ))
                heard = heard or bool(received)
                connection.receive_data(received)
            elif isinstance(event, h11.Response):
                return Posted(status=event.status_code, reason=_plain(event.reason))
            elif not isinstance(event, h11.InformationalResponse):
                raise _lost(host)
    except trio.BrokenResourceError:
        raise _lost(host) from None
    except h11.RemoteProtocolError:
        raise (_nonsense(host) if heard else _lost(host)) from None


def _plain(reason: bytes) -> str:
    return "".join(each if each.isprintable() else "?" for each in reason[:80].decode("latin-1"))


def _lost(host: str) -> ConnectionLostError:
    return ConnectionLostError(f"{host} closed the connection before it answered", hint="See the log of that server.")


def _nonsense(host: str) -> NonsenseError:
    return NonsenseError(f"{host} does not answer as a web server", hint="Compare the address and the port.")
