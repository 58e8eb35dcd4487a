"""The bridge between a node and a service in its own process: the channel and calls over it.

A frame is a 4-byte length and a pickle (`frames.encode`). Pickle is fine here and nowhere else: both ends
are one program of one user, parent and child, on a socket pair that nobody else can reach. Both directions use
the same `Channel`; one stream in order means that a subscription made before ``started()`` also arrives before it.

Flow control. Events towards the child are sent against credit (`Credit`), so what a slow child has not
taken waits in its subscription on the real bus and overflows there, by the subscription's own policy.
Everything else is bounded by `BACKLOG_MAX`, and going beyond is an error in whoever sends.

This module is imported by isolated services; it must stay light.
"""

from __future__ import annotations

import itertools
import pickle
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import cast

import trio

from appliance.errors import RefusedError
from appliance.host.failures import portable
from appliance.host.frames import FRAME_MAX, HEADER, BridgeError, CancelCall, Frame, Reply, encode
from appliance.plugin.context import NoProvider

BACKLOG_MAX = 8 << 20
"""Bytes waiting because the other process does not read: some 20 000 events, minutes of a busy node."""
CALLS_MAX = 256
"""Unanswered calls per direction; people and checks ask, so a handful is normal."""
WINDOW_MAX = 64
"""Events on their way to a child that it has not taken yet, per subscription."""
WINDOW_COALESCE = 8
"""The same for COALESCE, where only what is still on the real bus can be coalesced."""
_READ_SIZE = 1 << 16

cause_now: ContextVar[int | None] = ContextVar("appliance.host.cause", default=None)
"""In the child: `seq` of what the current task is handling. The counterpart of `bus.envelope.handling`."""


class Channel:
    """Frames over one end of a socket pair. `send` never waits; `pump` sends what did not fit."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._received = bytearray()
        self._backlog: deque[memoryview] = deque()
        self._backlog_size = 0
        self._waiting = trio.Event()
        self._empty = trio.Event()
        self._is_closed = False

    def send(self, frame: Frame) -> None:
        """Send, or queue when the socket is full; nothing happens when the other side is gone.

        Raises:
            BridgeError: The frame cannot be pickled or is too large, or too much is waiting already.
        """
        if self._is_closed:
            return
        data = encode(frame)
        if self._backlog_size + len(data) > BACKLOG_MAX:
            raise BridgeError(f"{self._backlog_size} bytes wait for the other process, which does not read them")
        sent = 0 if self._backlog else self._send_now(data)
        if sent < len(data) and not self._is_closed:
            self._backlog.append(memoryview(data)[sent:])
            self._backlog_size += len(data) - sent
            self._waiting.set()

    def _send_now(self, data: bytes | memoryview) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self._is_closed = True  # the reader notices the end by itself
            return 0

    async def pump(self) -> None:
        """Send the backlog whenever the socket has room. Runs for the life of the channel."""
        while not self._is_closed:
            await self._waiting.wait()
            await trio.lowlevel.wait_writable(self._sock)
            while self._backlog:
                sent = self._send_now(self._backlog[0])
                if not sent:
                    break
                self._backlog_size -= sent
                if sent == len(self._backlog[0]):
                    self._backlog.popleft()
                else:
                    self._backlog[0] = self._backlog[0][sent:]
            else:
                self._waiting = trio.Event()
                self._empty.set()
        self._empty.set()

    async def flush(self) -> None:
        """Wait until everything has reached the kernel, or never will; `pump` has to run."""
        while self._backlog and not self._is_closed:
            self._empty = trio.Event()
            await self._empty.wait()

    async def receive(self) -> Frame | None:
        """The next frame, or ``None`` when the other side is gone."""
        frame = self._next()
        if frame is not None:
            await trio.lowlevel.checkpoint()
            return frame
        while frame is None:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                data = self._sock.recv(_READ_SIZE)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._is_closed = True
                return None
            self._received += data
            frame = self._next()
        return frame

    def hang_up(self) -> None:
        """End the connection for everybody who holds an end of it; what has arrived can still be received."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def _next(self) -> Frame | None:
        buffer = self._received
        if len(buffer) < HEADER.size:
            return None
        (size,) = HEADER.unpack_from(buffer)
        if size > FRAME_MAX:
            raise BridgeError(f"a frame of {size} bytes was announced; at most {FRAME_MAX} are sent")
        end = HEADER.size + size
        if len(buffer) < end:
            return None
        frame = cast("Frame", pickle.loads(memoryview(buffer)[HEADER.size : end]))
        del buffer[:end]
        return frame


class _Waiting:
    __slots__ = ("event", "reply")

    def __init__(self) -> None:
        self.event = trio.Event()
        self.reply: Reply | None = None


class Asking:
    """Calls made to the other side, until they are answered."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._gone: str | None = None

    async def ask(self, make: Callable[[int], Frame]) -> object:
        """Send what `make` makes of the call's number and wait for the answer.

        Raises:
            NoProvider: The other side is gone.
            Exception: What the other side raised, see `failures.portable`.
        """
        if self._gone is not None:
            await trio.lowlevel.checkpoint()
            raise NoProvider(self._gone)
        if len(self._waiting) >= CALLS_MAX:
            raise BridgeError(f"{CALLS_MAX} calls wait for an answer of the other process")
        number = next(self._numbers)
        waiting = self._waiting[number] = _Waiting()
        try:
            self._channel.send(make(number))
            await waiting.event.wait()
        except trio.Cancelled:
            self._channel.send(CancelCall(number))
            raise
        finally:
            del self._waiting[number]
        if waiting.reply is None:
            raise NoProvider(self._gone)
        if waiting.reply.error is not None:
            raise waiting.reply.error
        return waiting.reply.value

    def answered(self, reply: Reply) -> None:
        """An answer has arrived; late ones are for nobody."""
        waiting = self._waiting.get(reply.number)
        if waiting is not None:
            waiting.reply = reply
            waiting.event.set()

    def close(self, why: str) -> None:
        """Nobody will answer any more."""
        self._gone = why
        for waiting in self._waiting.values():
            waiting.event.set()


class Answering:
    """Calls of the other side, each answered in a task of its own."""

    def __init__(self, channel: Channel, nursery: trio.Nursery) -> None:
        self._channel = channel
        self._nursery = nursery
        self._scopes: dict[int, trio.CancelScope] = {}

    def begin(self, number: int, work: Callable[[], Awaitable[object]]) -> None:
        """Start to answer."""
        if len(self._scopes) >= CALLS_MAX:
            error = RefusedError("too many calls at once", hint="ask again")
            self._channel.send(Reply(number, None, error))
            return
        self._scopes[number] = scope = trio.CancelScope()
        self._nursery.start_soon(self._answer, number, work, scope)

    def cancel(self, number: int) -> None:
        """The caller gave up."""
        if number in self._scopes:
            self._scopes[number].cancel(reason="the caller does not wait any longer")

    async def _answer(self, number: int, work: Callable[[], Awaitable[object]], scope: trio.CancelScope) -> None:
        try:
            with scope:
                try:
                    self._channel.send(Reply(number, await work(), None))
                except Exception as error:  # noqa: BLE001 - the caller gets it, as from any call
                    self._channel.send(Reply(number, None, portable(error)))
        finally:
            del self._scopes[number]
