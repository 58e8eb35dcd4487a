"""The client's way to a server that has proved to be the pinned one; says in which step it fails."""

from __future__ import annotations

import errno
import os
import select
import socket
import ssl
from dataclasses import dataclass

import trio

from appliance.rpc import errors
from appliance.rpc.errors import RpcError
from appliance.rpc.limits import Timeouts
from appliance.rpc.listening import bind_device, host_port, resolve
from appliance.rpc.stream import TlsStream
from appliance.rpc.tls import Tls, fingerprint

_OURS = frozenset({errno.EADDRNOTAVAIL, errno.ENODEV, errno.ENXIO, errno.EINVAL, errno.EAFNOSUPPORT})
_ABOUT_US = (
    "CERTIFICATE_REQUIRED",
    "UNKNOWN_CA",
    "BAD_CERTIFICATE",
    "CERTIFICATE_UNKNOWN",
    "CERTIFICATE_EXPIRED",
    "CERTIFICATE_REVOKED",
    "UNSUPPORTED_CERTIFICATE",
    "ACCESS_DENIED",
)
"""Alerts that speak of the certificate of their receiver (RFC 8446 section 6.2); OpenSSL puts a prefix before."""
_OLD_VERSION = ("ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL")
_NO_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where a server is."""

    address: str
    """Numeric; a link-local one with its zone (``fe80::1%sync``)."""
    port: int
    device: str = ""
    """The only device to go out by; empty: as the routes say."""
    path: str = "/RPC2"

    def __str__(self) -> str:
        return host_port(self.address, self.port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A connection to a pinned server."""

    stream: TlsStream
    socket: trio.socket.SocketType
    peer_fingerprint: str

    def untouched(self) -> bool:
        """Whether nothing has come since: the server says nothing unasked but its good-bye."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN | select.POLLRDHUP)
        return not poll.poll(0)


async def connect(target: Target, tls: Tls, timeouts: Timeouts) -> Link:
    """Connect and find out who is there.

    Raises:
        RpcError: It failed; each cause has its own class.
    """
    where = str(target)
    made = await _tcp(target, timeouts)
    stream = TlsStream(trio.SocketStream(made), tls.context, server=False)
    try:
        with trio.fail_after(timeouts.handshake_s):
            await stream.handshake()
        shown = fingerprint(stream.peer_certificate() or b"")
        if tls.pins and shown not in tls.pins:
            raise errors.wrong_peer(where, "it is signed by the pinned one")
    except trio.TooSlowError:
        await stream.aclose()
        raise errors.silent(where, "finish the TLS handshake", timeouts.handshake_s) from None
    except (ssl.SSLError, trio.BrokenResourceError) as error:
        await stream.aclose()
        raise _handshake_error(where, error) from None
    except BaseException:
        await stream.aclose()
        raise
    return Link(stream=stream, socket=made, peer_fingerprint=shown)


def is_about_us(error: Exception) -> bool:
    """Whether the other side's alert says that it does not accept our certificate."""
    return isinstance(error, ssl.SSLError) and (error.reason or "").endswith(_ABOUT_US)


async def _tcp(target: Target, timeouts: Timeouts) -> trio.socket.SocketType:
    where = str(target)
    try:
        family, address = resolve(target.address, target.port)
    except OSError as error:
        raise errors.no_way_out(where, error.strerror or str(error)) from None
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if target.device:
            bind_device(made, target.device)
    except OSError as error:
        made.close()
        raise errors.no_way_out(where, f"{target.device}: {error.strerror}") from None
    wrapped = trio.socket.from_stdlib_socket(made)
    try:
        with trio.fail_after(timeouts.connect_s):
            await wrapped.connect(address)
    except trio.TooSlowError:
        wrapped.close()
        raise errors.unreachable(where, f"no answer within {timeouts.connect_s:g} s") from None
    except OSError as error:
        wrapped.close()
        raise _tcp_error(where, error) from None
    except BaseException:
        wrapped.close()
        raise
    return wrapped


def _tcp_error(where: str, error: OSError) -> RpcError:
    if isinstance(error, ConnectionRefusedError):
        return errors.refused(where)
    # trio words the error anew; the kernel's own words are shorter.
    reason = os.strerror(error.errno) if error.errno else str(error)
    return errors.no_way_out(where, reason) if error.errno in _OURS else errors.unreachable(where, reason)


def _handshake_error(where: str, error: Exception) -> RpcError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return errors.wrong_peer(where, error.verify_message)
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return errors.hung_up(where)
    reason = error.reason or "unknown reason"
    if is_about_us(error):
        return errors.not_accepted(where)
    if reason.endswith(_OLD_VERSION):
        return errors.not_tls(where, "it has older versions of TLS only")
    if reason.endswith(_NO_TLS):
        return errors.not_tls(where, "its answer is not TLS")
    return errors.not_tls(where, reason.replace("_", " ").lower())
