"""TLS between two ends in memory, and between us and trio's own TLS."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from appliance.rpc.stream import NotTls, TlsStream
from tests.unit.core.rpc.peers import Peers, run


def pair(peers: Peers) -> tuple[TlsStream, TlsStream]:
    near, far = trio.testing.memory_stream_pair()
    return (
        TlsStream(near, peers.client().context, server=False),
        TlsStream(far, peers.server().context, server=True),
    )


async def both(*functions: Callable[[], Awaitable[object]]) -> None:
    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(function)


def test_both_sides_see_each_others_certificate(peers: Peers) -> None:
    async def main() -> None:
        client, server = pair(peers)
        await both(client.handshake, server.handshake)
        assert server.peer_certificate() == ssl.PEM_cert_to_DER_cert(peers.a.certificate.read_text())
        assert client.peer_certificate() == ssl.PEM_cert_to_DER_cert(peers.b.certificate.read_text())

    run(main)


def test_what_is_sent_arrives(peers: Peers) -> None:
    sent = os.urandom(1_000_000)
    received = bytearray()

    async def main() -> None:
        client, server = pair(peers)
        await both(client.handshake, server.handshake)

        async def read() -> None:
            while data := await server.receive_some():
                received.extend(data)

        async def write() -> None:
            await client.send_all(sent)
            await client.aclose()

        await both(read, write)

    run(main)
    assert received == sent


def test_it_speaks_with_another_implementation(peers: Peers) -> None:
    async def main() -> None:
        near, far = trio.testing.memory_stream_pair()
        client = trio.SSLStream(near, peers.client().context, https_compatible=True)
        server = TlsStream(far, peers.server().context, server=True)
        await both(client.do_handshake, server.handshake)
        await client.send_all(b"hello")
        assert await server.receive_some() == b"hello"
        await server.send_all(b"good-bye")
        await server.announce_end()
        assert await client.receive_some() == b"good-bye"
        assert await client.receive_some() == b""

    run(main)


def test_the_reason_of_a_failed_handshake_reaches_the_other_side(peers: Peers) -> None:
    reasons: list[str] = []

    async def main() -> None:
        near, far = trio.testing.memory_stream_pair()
        client = TlsStream(near, peers.client(peers.stranger).context, server=False)
        server = TlsStream(far, peers.server().context, server=True)

        async def refuse() -> None:
            with pytest.raises(ssl.SSLCertVerificationError):
                await server.handshake()

        # With TLS 1.3 the client has finished before its certificate is looked at.
        await both(client.handshake, refuse)
        with pytest.raises(ssl.SSLError) as caught:
            await client.receive_some()
        reasons.append(caught.value.reason)

    run(main)
    assert reasons == ["TLSV1_ALERT_UNKNOWN_CA"]


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\x00", b"\x80\x2e\x01"])
def test_what_is_not_tls_is_recognized_by_its_first_byte(peers: Peers, first: bytes) -> None:
    async def main() -> None:
        near, far = trio.testing.memory_stream_pair()
        server = TlsStream(far, peers.server().context, server=True)
        await near.send_all(first)
        with pytest.raises(NotTls):
            await server.handshake()
        await server.send_plain(b"go away\n")
        await server.aclose()
        assert await near.receive_some() == b"go away\n"

    run(main)


@pytest.mark.parametrize("first", [b"\x16", b"\x16\x03\x01", b""])
def test_a_connection_that_ends_in_the_handshake_is_an_error_of_tls(peers: Peers, first: bytes) -> None:
    async def main() -> None:
        near, far = trio.testing.memory_stream_pair()
        server = TlsStream(far, peers.server().context, server=True)
        if first:
            await near.send_all(first)
        await near.aclose()
        with pytest.raises(ssl.SSLError):
            await server.handshake()

    run(main)


@pytest.mark.parametrize("announced", [True, False])
def test_the_end_is_the_end_whether_announced_or_not(peers: Peers, announced: bool) -> None:
    async def main() -> None:
        client, server = pair(peers)
        await both(client.handshake, server.handshake)
        if announced:
            await client.aclose()
        else:
            await trio.aclose_forcefully(client.transport)
        assert await server.receive_some() == b""

    run(main)


def test_damaged_records_are_an_error_of_tls(peers: Peers) -> None:
    async def main() -> None:
        client, server = pair(peers)
        await both(client.handshake, server.handshake)
        await client.transport.send_all(b"\x17\x03\x03\x00\x20" + b"x" * 32)
        with pytest.raises(ssl.SSLError):
            await server.receive_some()

    run(main)


def test_closing_never_waits_and_never_fails(peers: Peers) -> None:
    async def main() -> None:
        near, far = trio.testing.memory_stream_pair()
        stuck = trio.StapledStream(Stuck(), far.receive_stream)
        server = TlsStream(stuck, peers.server().context, server=True)
        with trio.fail_after(1):
            await server.aclose()
        client, other = pair(peers)
        await both(client.handshake, other.handshake)
        await trio.aclose_forcefully(other.transport)
        await client.aclose()
        await client.aclose()
        await near.aclose()

    run(main)


class Stuck(trio.abc.SendStream):
    """Takes nothing, ever."""

    async def send_all(self, data: object) -> None:
        await trio.sleep_forever()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.sleep_forever()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def test_draining_reads_until_the_end(peers: Peers) -> None:
    async def main() -> None:
        client, server = pair(peers)
        await both(client.handshake, server.handshake)

        async def write() -> None:
            await client.transport.send_all(b"x" * 300_000)
            await trio.aclose_forcefully(client.transport)

        with contextlib.suppress(trio.BrokenResourceError):
            await both(write, server.drain)

    run(main)
