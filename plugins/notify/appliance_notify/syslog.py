"""Delivers a message to a syslog server or to the daemon of this machine."""

from __future__ import annotations

import os
import socket
import ssl

import trio

from appliance_notify.dialing import Dialer, encrypted
from appliance_notify.formats import local_lines, syslog_lines
from appliance_notify.settings import Syslog
from appliance_notify.vocabulary import DeliveryError, Message

CLOSE_S = 2.0
"""For the server to take all and close its side, too; one that does not has it anyway."""


async def deliver(target: Syslog, message: Message, dialer: Dialer) -> None:
    """Deliver, under the caller's deadline. Over UDP nobody can know whether it arrives.

    Raises:
        DeliveryError: It was not accepted.
    """
    if target.transport == "local":
        await _local(target, local_lines(message, target.facility))
        return
    lines = syslog_lines(message, target.facility)
    if target.transport == "udp":
        await _datagrams(target, lines, dialer)
        return
    # Octet counting (RFC 6587 section 3.4.1, RFC 5425 section 4.3).
    data = b"".join(b"%d %s" % (len(line), line) for line in lines)
    connection = await dialer.stream(target.host, target.port)
    async with connection:
        try:
            if target.transport == "tls":
                stream = await encrypted(connection, target.host, target.ca_file, announces_end=True)
                await stream.send_all(data)
                await _end_tls(stream)
            else:
                await connection.send_all(data)
                await _end(connection)
        except trio.BrokenResourceError:
            raise DeliveryError(f"the connection to {target.host}:{target.port} broke") from None


async def _end(connection: trio.SocketStream) -> None:
    """End the connection so that a server that is not there any more is noticed: it answers with a reset."""
    await connection.send_eof()
    with trio.move_on_after(CLOSE_S):
        while await connection.receive_some(4096):
            pass


async def _end_tls(stream: trio.SSLStream[trio.SocketStream]) -> None:
    """The same with TLS, where the end is announced (RFC 5425 section 4.4). Closing at once would be a reset for a
    server that has sent session tickets, and a reset takes lines away that it has not read yet."""
    with trio.move_on_after(CLOSE_S):
        try:
            await stream.unwrap()
        except trio.BrokenResourceError as error:
            if not isinstance(error.__cause__, ssl.SSLError):
                raise  # a reset; one that only closes its side has read to the end


async def _datagrams(target: Syslog, lines: list[bytes], dialer: Dialer) -> None:
    made = await dialer.datagrams(target.host, target.port)
    with made:
        try:
            for line in lines:
                await made.send(line)
        except OSError as error:
            # A datagram before was refused: nobody listens there.
            reason = os.strerror(error.errno or 0)
            raise DeliveryError(f"cannot send to {target.host}:{target.port}: {reason}") from None


async def _local(target: Syslog, lines: list[bytes]) -> None:
    made = trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with made:
        try:
            await made.connect(target.path)
            for line in lines:
                await made.send(line)
        except OSError as error:
            raise DeliveryError(f"cannot write to {target.path}: {os.strerror(error.errno or 0)}") from None
