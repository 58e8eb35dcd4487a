"""Each way in which the connection to a server fails has its own error."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio

from appliance.rpc import (
    NotTlsError,
    RefusedConnectionError,
    RpcError,
    SilentPeerError,
    Target,
    Timeouts,
    Tls,
    UnreachablePeerError,
    WrongPeerError,
    connecting,
)
from appliance.rpc.connecting import connect, is_about_us
from appliance.testing.waiting import eventually
from tests.unit.core.rpc.peers import HASTY, SHORT, WAITING, Peers, run, serving

Handler = Callable[[trio.SocketStream], Awaitable[None]]


@contextlib.asynccontextmanager
async def somebody(handler: Handler) -> AsyncIterator[Target]:
    """Something that listens and is no server of ours."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handler, [listener])
        yield Target(address="127.0.0.1", port=listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


def failure(
    peers: Peers, handler: Handler | None = None, target: Target | None = None, timeouts: Timeouts = WAITING
) -> RpcError:
    errors: list[RpcError] = []

    async def main() -> None:
        async with somebody(handler or greet) as listening:
            with pytest.raises(RpcError) as caught:
                await connect(target or listening, peers.client(), timeouts)
            caught.value.message = caught.value.message.replace(str(target or listening), "B")
            errors.append(caught.value)

    run(main)
    return errors[0]


async def greet(stream: trio.SocketStream) -> None:
    await stream.send_all(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    await drain(stream)


async def drain(stream: trio.SocketStream) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        while await stream.receive_some():
            pass


async def plain_http(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def hang_up(stream: trio.SocketStream) -> None:
    await stream.receive_some()


async def say_nothing(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


def test_a_connection_knows_who_is_there(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running:
            link = await connect(running.target, peers.client(), WAITING)
            assert link.peer_fingerprint == peers.b.fingerprint
            assert link.untouched()
            await link.stream.aclose()

    run(main)


def test_nothing_listens(peers: Peers) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        error = failure(peers, target=Target(address="127.0.0.1", port=held.getsockname()[1]))
    assert type(error) is RefusedConnectionError
    assert error.message == "nothing listens on B (connection refused)"


def test_nobody_answers(peers: Peers) -> None:
    # A full backlog drops what comes: to a client it looks like a cable that is cut.
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        target = Target(address="127.0.0.1", port=full.getsockname()[1])
        error = failure(peers, target=target, timeouts=HASTY)
    assert type(error) is UnreachablePeerError
    assert error.message == "B cannot be reached: no answer within 0.5 s"


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.EHOSTUNREACH, "B cannot be reached: No route to host"),
        (errno.ENETUNREACH, "B cannot be reached: Network is unreachable"),
        (errno.EPERM, "B cannot be reached: Operation not permitted"),
        (errno.EADDRNOTAVAIL, "no connection to B can be made from here: Cannot assign requested address"),
    ],
)
def test_there_is_no_way(peers: Peers, monkeypatch: pytest.MonkeyPatch, number: int, message: str) -> None:
    async def refuse(self: object, address: object) -> None:
        await trio.lowlevel.checkpoint()
        raise OSError(number, "worded by trio")

    async def main() -> None:
        probe = trio.socket.socket()
        kind = type(probe)
        probe.close()
        monkeypatch.setattr(kind, "connect", refuse)
        with pytest.raises(UnreachablePeerError) as caught:
            await connect(Target(address="192.0.2.3", port=1), peers.client(), WAITING)
        assert caught.value.message.replace("192.0.2.3:1", "B") == message

    run(main)


def test_the_own_side_is_missing(peers: Peers) -> None:
    error = failure(peers, target=Target(address="127.0.0.1", port=1, device="absent0"))
    assert type(error) is UnreachablePeerError
    assert error.message == "no connection to B can be made from here: absent0: No such device"


def test_a_name_is_no_address(peers: Peers) -> None:
    error = failure(peers, target=Target(address="fw2.example.org", port=1))
    assert error.message == "no connection to B can be made from here: Name or service not known"


@pytest.mark.parametrize("handler", [greet, plain_http])
def test_something_else_than_tls_answers(peers: Peers, handler: Handler) -> None:
    error = failure(peers, handler)
    assert type(error) is NotTlsError
    assert error.message == "B does not speak TLS 1.3: its answer is not TLS"


def test_the_connection_is_closed_in_the_handshake(peers: Peers) -> None:
    error = failure(peers, hang_up)
    assert type(error) is NotTlsError
    assert error.message == "B closed the connection during the TLS handshake"


def test_nothing_comes_in_the_handshake(peers: Peers) -> None:
    error = failure(peers, say_nothing, timeouts=HASTY)
    assert type(error) is SilentPeerError
    assert error.message == "B did not finish the TLS handshake within 0.5 s"


def other_tls(peers: Peers, *, newest: ssl.TLSVersion) -> Handler:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    context.load_cert_chain(peers.b.certificate, peers.b.key)

    async def serve(stream: trio.SocketStream) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await trio.SSLStream(stream, context, server_side=True).do_handshake()

    return serve


def test_an_older_tls_is_not_good_enough(peers: Peers) -> None:
    handler = other_tls(peers, newest=ssl.TLSVersion.TLSv1_2)
    error = failure(peers, handler)
    assert type(error) is NotTlsError


def test_another_certificate_is_noticed_before_anything_is_sent(peers: Peers) -> None:
    errors: list[RpcError] = []

    async def main() -> None:
        async with serving(peers) as running:
            with pytest.raises(WrongPeerError) as caught:
                await connect(running.target, peers.client(sees=peers.stranger), WAITING)
            errors.append(caught.value)
            assert running.server.counters["calls"] == 0

    run(main)
    assert "is not the one that was paired (self-signed certificate)" in errors[0].message


def test_a_certificate_that_a_pinned_one_signed_is_another_one(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running:
            made = peers.client()
            other = Tls(context=made.context, pins=frozenset({peers.a.fingerprint}))
            with pytest.raises(WrongPeerError, match="it is signed by the pinned one"):
                await connect(running.target, other, WAITING)

    run(main)


def reason(text: str) -> ssl.SSLError:
    error = ssl.SSLError(1, text)
    error.reason = text
    return error


@pytest.mark.parametrize(
    ("text", "about_us"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", True),
        ("TLSV1_ALERT_UNKNOWN_CA", True),
        ("SSLV3_ALERT_BAD_CERTIFICATE", True),
        ("SSLV3_ALERT_CERTIFICATE_UNKNOWN", True),
        ("TLSV1_ALERT_INTERNAL_ERROR", False),
        ("DECRYPTION_FAILED_OR_BAD_RECORD_MAC", False),
    ],
)
def test_alerts_that_speak_of_our_certificate(text: str, about_us: bool) -> None:
    assert is_about_us(reason(text)) is about_us
    assert not is_about_us(trio.BrokenResourceError())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TLSV1_ALERT_PROTOCOL_VERSION", "B does not speak TLS 1.3: it has older versions of TLS only"),
        ("UNSUPPORTED_PROTOCOL", "B does not speak TLS 1.3: it has older versions of TLS only"),
        ("WRONG_VERSION_NUMBER", "B does not speak TLS 1.3: its answer is not TLS"),
        ("TLSV1_ALERT_UNKNOWN_CA", "B does not accept the certificate of this node"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "B does not speak TLS 1.3: sslv3 alert handshake failure"),
    ],
)
def test_reasons_of_a_failed_handshake(text: str, message: str) -> None:
    assert connecting._handshake_error("B", reason(text)).message == message


def test_a_connection_on_which_something_came_is_not_untouched(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers, limits=SHORT) as running:
            link = await connect(running.target, peers.client(), WAITING)
            # The server closes a connection without a request.
            await eventually(lambda: not link.untouched())
            await link.stream.aclose()

    run(main)


def test_no_descriptor_is_lost_on_failures(peers: Peers) -> None:
    async def main() -> None:
        async with somebody(greet) as target, somebody(say_nothing) as silent:
            before = open_descriptors()
            for _ in range(5):
                with pytest.raises(RpcError):
                    await connect(target, peers.client(), WAITING)
            with trio.move_on_after(0.05) as patience:
                await connect(silent, peers.client(), WAITING)
            assert patience.cancelled_caught
            # The silent end of the last one is the test's own.
            await eventually(lambda: open_descriptors() <= before + 1)

    run(main)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
