"""The way to a server: its name, its addresses, and a connection from this node's own address.

A virtual address is the cluster's. What a node sends from it is answered to whoever is MASTER at that moment, so
nothing here is sent from one, on the MASTER neither. Where the kernel would choose one, an own address of the same
interface is taken.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from functools import partial

import trio

from appliance_notify.vocabulary import DeliveryError

CONNECT_S = 5.0
"""For each address of a server."""
RESOLVE_S = 10.0
"""For its name; two tries of two name servers."""
ADDRESSES_MAX = 4
"""Addresses of a server that are tried."""
RESOLVERS_MAX = 4
"""Names that are looked up at once. Such a thread cannot be ended, and must not take the place of others'."""

SocketAddress = tuple[str, int] | tuple[str, int, int, int]


class Dialer:
    """Opens connections.

    Args:
        instead: Own addresses to use in place of each virtual one (`Settings.instead`).
    """

    def __init__(self, instead: Mapping[str, tuple[str, ...]]) -> None:
        self._instead = instead
        self._resolvers = trio.CapacityLimiter(RESOLVERS_MAX)

    async def stream(self, host: str, port: int) -> trio.SocketStream:
        """A TCP connection.

        Raises:
            DeliveryError: There is no way there, or nobody answers.
        """
        where, reason = f"{host}:{port}", "it has no address"
        for family, address in await self._resolve(host, port, socket.SOCK_STREAM):
            made = self._socket(family, socket.SOCK_STREAM, address)
            wrapped = trio.socket.from_stdlib_socket(made)
            try:
                with trio.fail_after(CONNECT_S):
                    await wrapped.connect(address)
            except trio.TooSlowError:
                wrapped.close()
                reason = f"no answer within {CONNECT_S:g} s"
            except OSError as error:
                wrapped.close()
                reason = os.strerror(error.errno) if error.errno else str(error)
            except BaseException:
                wrapped.close()
                raise
            else:
                return trio.SocketStream(wrapped)
        raise DeliveryError(f"cannot connect to {where}: {reason}")

    async def datagrams(self, host: str, port: int) -> trio.socket.SocketType:
        """A UDP socket that is connected there.

        Raises:
            DeliveryError: There is no way there.
        """
        family, address = (await self._resolve(host, port, socket.SOCK_DGRAM))[0]
        wrapped = trio.socket.from_stdlib_socket(self._socket(family, socket.SOCK_DGRAM, address))
        try:
            await wrapped.connect(address)
        except OSError as error:
            wrapped.close()
            raise DeliveryError(f"cannot send to {host}:{port}: {os.strerror(error.errno or 0)}") from None
        return wrapped

    async def _resolve(self, host: str, port: int, kind: int) -> list[tuple[int, SocketAddress]]:
        lookup = partial(socket.getaddrinfo, host, port, type=kind)
        try:
            with trio.fail_after(RESOLVE_S):
                found = await trio.to_thread.run_sync(lookup, abandon_on_cancel=True, limiter=self._resolvers)
        except trio.TooSlowError:
            raise DeliveryError(f"the name {host} was not resolved within {RESOLVE_S:g} s") from None
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not a name"
            raise DeliveryError(f"cannot resolve {host}: {reason}") from None
        return [(family, address) for family, _, _, _, address in found[:ADDRESSES_MAX]]  # type: ignore[misc]

    def _socket(self, family: int, kind: int, destination: SocketAddress) -> socket.socket:
        source = self.source(family, destination)
        made = socket.socket(family, kind)
        try:
            if source:
                made.bind((source, 0))
        except OSError as error:
            made.close()
            raise DeliveryError(f"cannot send from {source}: {error.strerror}") from None
        return made

    def source(self, family: int, destination: SocketAddress) -> str:
        """The address to send from; empty: the kernel's choice is an own one.

        Raises:
            DeliveryError: Only a virtual address could be used.
        """
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(destination)  # sends nothing
            except OSError:
                return ""  # connecting will say why
            chosen: str = probe.getsockname()[0]
        if chosen not in self._instead:
            return ""
        if not self._instead[chosen]:
            raise DeliveryError(
                f"this node has only the virtual address {chosen} towards {destination[0]}; "
                "give the interface an address of its own, or put the server elsewhere"
            )
        return self._instead[chosen][0]


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Certificates and names are checked.

    Raises:
        DeliveryError: The file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise DeliveryError(f"cannot use the certificates in {ca_file}: {error.strerror or error}") from None


async def encrypted(
    stream: trio.SocketStream, host: str, ca_file: str | None, *, announces_end: bool = False
) -> trio.SSLStream[trio.SocketStream]:
    """TLS over a connection.

    Args:
        stream: The connection.
        host: Whose certificate it has to be.
        ca_file: As `tls_context` takes it.
        announces_end: Whether both sides say that nothing more comes; HTTP does without.

    Raises:
        DeliveryError: The server has not the right certificate, or does not speak TLS.
    """
    made = trio.SSLStream(stream, tls_context(ca_file), server_hostname=host, https_compatible=not announces_end)
    try:
        await made.do_handshake()
    except trio.BrokenResourceError as error:
        raise DeliveryError(f"no TLS with {host}: {tls_reason(error.__cause__)}") from None
    return made


def tls_reason(error: BaseException | None) -> str:
    """Why TLS failed, in few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message})"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return "it closed the connection"
