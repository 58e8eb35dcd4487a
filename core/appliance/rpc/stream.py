"""TLS over a trio stream, for one request at a time.

trio has a TLS stream; this one differs where it matters here: the alert of a failed handshake is sent, so
that the other side learns why; the first bytes are looked at before TLS sees them; and errors keep their
reason. Reading and writing at the same time is not supported.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

import trio

T = TypeVar("T")

_READ: Final = 64 * 1024
_WRITE: Final = 64 * 1024
"""Bytes encrypted at once, 0.05 ms, before others have a turn."""
_HANDSHAKE_RECORD: Final = 0x16
"""First byte of every TLS connection (RFC 8446 section 5.1)."""
_CLOSE_S: Final = 0.2
"""To send the end of the connection; nobody waits for it."""


class NotTls(Exception):  # noqa: N818 - a condition
    """The first byte is not one of TLS."""


class TlsStream:
    """One side of a connection.

    Args:
        transport: The connection; belongs to this object from now on.
        context: Certificates and rules.
        server: Which side.
    """

    def __init__(self, transport: trio.abc.Stream, context: ssl.SSLContext, *, server: bool) -> None:
        self._transport = transport
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=server)
        self._server = server
        self._fresh = server

    @property
    def transport(self) -> trio.abc.Stream:
        """The connection below."""
        return self._transport

    async def handshake(self) -> None:
        """Do the handshake.

        Raises:
            NotTls: (server) the client does not speak TLS.
            ssl.SSLError: It failed; the other side has been told why.
            trio.BrokenResourceError: The connection broke.
        """
        await self._pump(self._tls.do_handshake)
        await self._flush()

    def peer_certificate(self) -> bytes | None:
        """The other side's certificate as DER."""
        return self._tls.getpeercert(binary_form=True)

    async def send_all(self, data: bytes | memoryview) -> None:
        """Send all of it.

        Raises:
            ssl.SSLError: The other side ended TLS with an alert.
            trio.BrokenResourceError: The connection broke.
        """
        view = memoryview(data)
        for start in range(0, len(view), _WRITE):
            piece = view[start : start + _WRITE]
            while piece:
                piece = piece[self._tls.write(piece) :]
            await self._flush()

    async def receive_some(self) -> bytes:
        """What has come; empty at the end, whether it was announced or not.

        Raises:
            ssl.SSLError: The other side ended TLS with an alert.
            trio.BrokenResourceError: The connection broke.
        """
        try:
            return await self._pump(lambda: self._tls.read(_READ))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    async def send_plain(self, data: bytes) -> None:
        """Send bytes outside of TLS, to a client that does not speak it."""
        await self._transport.send_all(data)

    async def drain(self) -> None:
        """Send no more, and throw away what comes on the connection below until its end."""
        if isinstance(self._transport, trio.SocketStream):
            await self._transport.send_eof()
        while await self._transport.receive_some(_READ):
            pass

    async def aclose(self) -> None:
        """Announce the end, then close the connection. Never fails."""
        try:
            with trio.move_on_after(_CLOSE_S), suppress(trio.BrokenResourceError, trio.BusyResourceError):
                await self.announce_end()
        finally:
            await trio.aclose_forcefully(self._transport)

    async def announce_end(self) -> None:
        """Tell the other side that nothing more will come."""
        with suppress(ssl.SSLError, ValueError):
            self._tls.unwrap()
        await self._flush()

    async def _pump(self, step: Callable[[], T]) -> T:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fill()
            except ssl.SSLError:
                with suppress(trio.BrokenResourceError):
                    await self._flush()
                raise
            else:
                await trio.lowlevel.checkpoint()
                return done

    async def _fill(self) -> None:
        received = await self._transport.receive_some(_READ)
        if self._fresh and received:
            self._fresh = False
            if received[0] != _HANDSHAKE_RECORD:
                raise NotTls
        if received:
            self._in.write(received)
        else:
            self._in.write_eof()

    async def _flush(self) -> None:
        while waiting := self._out.read():
            await self._transport.send_all(waiting)
