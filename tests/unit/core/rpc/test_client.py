"""Calls: values, faults, kept connections, and servers that misbehave."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import trio

from appliance.rpc import (
    BusyPeerError,
    Caller,
    Client,
    CodecError,
    ConnectionLostError,
    Fault,
    ForbiddenError,
    NonsenseError,
    NotAcceptedError,
    RpcError,
    SilentPeerError,
    Target,
    Timeouts,
    TooLargeError,
    TooManyAttemptsError,
    UnauthorizedError,
    Value,
    call,
    xml,
)
from appliance.testing.waiting import eventually
from tests.unit.core.rpc.peers import CALM, METHODS, WAITING, Peers, Running, run, serving

Handler = Callable[["Wire"], Awaitable[None]]


class Wire:
    """The server's end of a connection, to say anything on."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream

    async def request(self) -> bytes:
        received = b""
        while not received.endswith(b"</methodCall>\n"):
            more = await self.stream.receive_some()
            if not more:
                break
            received += more
        return received

    async def answer(self, body: bytes, *lines: str, status: str = "200 OK", kind: str = "text/xml") -> None:
        head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", f"Content-Type: {kind}", *lines, "", ""]
        await self.stream.send_all("\r\n".join(head).encode() + body)


@contextlib.asynccontextmanager
async def impostor(peers: Peers, handler: Handler) -> AsyncIterator[Target]:
    """A server with the right certificate and wrong manners."""
    context = peers.server().context

    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await handler(Wire(tls))
        await trio.aclose_forcefully(tls)

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield Target(address="127.0.0.1", port=listener.socket.getsockname()[1])
        nursery.cancel_scope.cancel()


def outcome(peers: Peers, handler: Handler, *, timeouts: Timeouts = WAITING) -> Any:
    """The value or the error of one call to a server that behaves like this."""
    outcomes: list[Any] = []

    async def main() -> None:
        async with impostor(peers, handler) as target:
            try:
                outcomes.append(await call(target, "m", tls=peers.client(), timeouts=timeouts))
            except (RpcError, Fault) as error:
                error.message = error.message.replace(str(target), "B")
                outcomes.append(error)

    run(main)
    return outcomes[0]


def test_values_go_there_and_back(peers: Peers) -> None:
    sent: list[Any] = [1, -2.5, True, "ünï <&>", b"\0\xff", {"a": [{}, []]}]

    async def main() -> None:
        async with serving(peers) as running:
            assert await call(running.target, "appliance.echo", *sent, tls=peers.client(), timeouts=WAITING) == sent

    run(main)


def test_ten_megabytes_go_there_and_back(peers: Peers) -> None:
    blob = os.urandom(10_000_000)

    async def main() -> None:
        async with serving(peers) as running:
            received = await call(running.target, "appliance.echo", blob, tls=peers.client())
            assert received == [blob]

    run(main)


def test_a_fault_is_raised_with_its_number(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running:
            with pytest.raises(Fault) as caught:
                await call(running.target, "appliance.nothing", tls=peers.client(), timeouts=WAITING)
            assert caught.value.code == -32601

    run(main)


def test_a_connection_is_kept_and_used_again(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running, Client(running.target, tls=peers.client(), timeouts=WAITING) as client:
            for _ in range(5):
                assert await client.call("appliance.add", 1, 2) == 3
            with pytest.raises(Fault):
                await client.call("appliance.nothing")
            assert await client.call("appliance.add", 3, 4) == 7
            assert client.peer_fingerprint == peers.b.fingerprint
            assert running.server.counters["accepted"] == 1

    run(main)


def test_calls_of_several_tasks_take_turns(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running, Client(running.target, tls=peers.client(), timeouts=WAITING) as client:
            found = {}

            async def one(number: int) -> None:
                found[number] = await client.call("appliance.add", number, number)

            async with trio.open_nursery() as nursery:
                for number in range(10):
                    nursery.start_soon(one, number)
            assert found == {number: 2 * number for number in range(10)}
            assert running.server.counters["accepted"] == 1

    run(main)


def test_a_connection_that_the_server_has_closed_is_not_used_again(peers: Peers) -> None:
    async def main() -> None:
        limits = replace(CALM, idle_s=0.1)
        async with (
            serving(peers, limits=limits) as running,
            Client(running.target, tls=peers.client(), timeouts=WAITING) as client,
        ):
            assert await client.call("appliance.add", 1, 2) == 3
            await eventually(lambda: running.server.connections == 0)
            assert await client.call("appliance.add", 1, 2) == 3

    run(main)


def test_a_connection_that_was_idle_for_long_is_not_used_again(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running:
            async with Client(running.target, tls=peers.client(), timeouts=replace(WAITING, idle_s=0.05)) as client:
                assert await client.call("appliance.add", 1, 2) == 3
                await trio.sleep(0.1)
                assert await client.call("appliance.add", 1, 2) == 3
            assert running.server.counters["accepted"] == 2

    run(main)


def test_a_client_goes_on_after_a_failure_and_after_its_end(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running:
            client = Client(running.target, tls=peers.client(), timeouts=replace(WAITING, answer_s=0.1))
            with pytest.raises(SilentPeerError):
                await client.call("appliance.hang")
            assert await client.call("appliance.add", 1, 2) == 3
            await client.aclose()
            assert await client.call("appliance.add", 1, 2) == 3
            await client.aclose()

    run(main)


def test_a_cancelled_call_closes_its_connection(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running, Client(running.target, tls=peers.client(), timeouts=WAITING) as client:
            with trio.move_on_after(0.1):
                await client.call("appliance.hang")
            assert await client.call("appliance.add", 1, 2) == 3
            assert running.server.counters["accepted"] == 2

    run(main)


def test_what_cannot_travel_is_refused_before_anything_is_sent(peers: Peers) -> None:
    async def main() -> None:
        nowhere = Target(address="127.0.0.1", port=1)
        for value in (None, "a\0", b"x" * 13_000_000):
            with pytest.raises(CodecError):
                await call(nowhere, "m", value, tls=peers.client())

    run(main)


def test_a_user_with_a_colon_is_refused(peers: Peers) -> None:
    with pytest.raises(ValueError, match="colon"):
        Client(Target(address="127.0.0.1", port=1), tls=peers.client(), user="a:b", password="c")


def knows(user: str, password: str, peer: object) -> bool:
    if user == "viewer":
        raise Fault(-2, "viewer has no role sync")
    return (user, password) == ("admin", "sécret:1")


async def ask(running: Running, peers: Peers, user: str, password: str) -> Value:
    return await call(
        running.target, "appliance.whoami", tls=peers.client(), user=user, password=password, timeouts=WAITING
    )


def test_users_are_told_apart(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers, authenticate=knows) as running:
            found = await ask(running, peers, "admin", "sécret:1")
            assert isinstance(found, dict)
            assert found["user"] == "admin"
            with pytest.raises(ForbiddenError, match="to call it: viewer has no role sync"):
                await ask(running, peers, "viewer", "x")
            with pytest.raises(UnauthorizedError, match="refused a call without user"):
                await ask(running, peers, "", "")
            for _ in range(5):
                with pytest.raises(UnauthorizedError, match="refused user 'admin': unknown user or wrong password"):
                    await ask(running, peers, "admin", "guess")
            with pytest.raises(TooManyAttemptsError) as caught:
                await ask(running, peers, "admin", "sécret:1")
            assert caught.value.wait_s == 1

    run(main)


def test_a_call_beyond_the_servers_limit_is_too_large(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers, limits=replace(CALM, body_max=1000)) as running:
            with pytest.raises(TooLargeError, match="and was refused as too large"):
                await call(running.target, "appliance.echo", b"x" * 5_000_000, tls=peers.client(), timeouts=WAITING)

    run(main)


def test_a_server_that_does_not_know_us_says_so(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running:
            for blob in (b"", b"x" * 5_000_000):
                with pytest.raises(NotAcceptedError, match="does not accept the certificate of this node"):
                    await call(
                        running.target, "appliance.echo", blob, tls=peers.client(peers.stranger), timeouts=WAITING
                    )

    run(main)


def test_an_answer_that_grows_too_large_is_cut(peers: Peers) -> None:
    async def much(params: list[Value], caller: Caller) -> object:
        return b"x" * 100_000

    async def main() -> None:
        async with serving(peers, methods={**METHODS, "much": much}) as running:
            timeouts = replace(WAITING, answer_max=100_000)
            with pytest.raises(TooLargeError, match="has more than 100000 bytes"):
                await call(running.target, "much", tls=peers.client(), timeouts=timeouts)

    run(main)


GOOD = xml.dumps_response(7)


async def polite(wire: Wire) -> None:
    assert b"host: 127.0.0.1:" in (await wire.request()).lower()
    await wire.answer(GOOD)


async def chunked(wire: Wire) -> None:
    await wire.request()
    head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/xml; charset=utf-8\r\n\r\n"
    await wire.stream.send_all(head.encode() + b"%x\r\n%s\r\n0\r\n\r\n" % (len(GOOD), GOOD))


async def until_the_end(wire: Wire) -> None:
    await wire.request()
    await wire.stream.send_all(b"HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\n\r\n" + GOOD)


async def waits_a_little(wire: Wire) -> None:
    await wire.request()
    await wire.stream.send_all(b"HTTP/1.1 102 Processing\r\n\r\n")
    await wire.answer(GOOD)


@pytest.mark.parametrize("handler", [polite, chunked, until_the_end, waits_a_little])
def test_every_way_to_send_an_answer_is_understood(peers: Peers, handler: Handler) -> None:
    assert outcome(peers, handler) == 7


async def garbage(wire: Wire) -> None:
    await wire.request()
    await wire.stream.send_all(b"hello\r\n\r\n")


async def endless_head(wire: Wire) -> None:
    await wire.request()
    while True:
        await wire.stream.send_all(b"x" * 10_000)


async def html(wire: Wire) -> None:
    await wire.request()
    await wire.answer(b"<html>login</html>", kind="text/html")


async def compressed(wire: Wire) -> None:
    await wire.request()
    await wire.answer(GOOD, "Content-Encoding: gzip")


async def typeless(wire: Wire) -> None:
    await wire.request()
    await wire.answer(GOOD, kind="")


async def bomb(wire: Wire) -> None:
    await wire.request()
    await wire.answer(b"<!DOCTYPE x><methodResponse/>")


async def nonsense_of_size(wire: Wire) -> None:
    await wire.request()
    await wire.answer(b"<methodResponse>" + b" " * 1_000_000)


async def moved(wire: Wire) -> None:
    await wire.request()
    await wire.answer(b"", "Location: https://127.0.0.1/", status="301 Moved Permanently")


@pytest.mark.parametrize(
    ("handler", "what"),
    [
        (garbage, "no HTTP (illegal status line"),
        (endless_head, "no HTTP (Receive buffer too long)"),
        (html, "its answer is text/html"),
        (compressed, "its answer is text/xml"),
        (typeless, "its answer is of no type"),
        (bomb, "not XML-RPC: it has a document type or entities"),
        (nonsense_of_size, "not XML-RPC: no element found"),
        (moved, "HTTP status 301 (Moved Permanently)"),
    ],
)
def test_nonsense_is_called_nonsense(peers: Peers, handler: Handler, what: str) -> None:
    error = outcome(peers, handler)
    assert type(error) is NonsenseError
    assert error.message.startswith(f"B does not answer as an XML-RPC server: {what}")


async def closes_at_once(wire: Wire) -> None:
    await wire.stream.do_handshake()


async def closes_after_the_call(wire: Wire) -> None:
    await wire.request()


async def closes_in_its_answer(wire: Wire) -> None:
    await wire.request()
    await wire.stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: text/xml\r\n\r\n" + GOOD[:50])


async def closes_in_its_head(wire: Wire) -> None:
    await wire.request()
    await wire.stream.send_all(b"HTTP/1.1 200")


@pytest.mark.parametrize("handler", [closes_at_once, closes_after_the_call, closes_in_its_answer, closes_in_its_head])
def test_a_broken_connection_may_have_carried_the_call(peers: Peers, handler: Handler) -> None:
    error = outcome(peers, handler)
    assert type(error) is ConnectionLostError
    assert error.message.startswith("the connection to B broke while ")
    assert "may have carried out the call" in error.hint


async def alert(wire: Wire) -> None:
    await wire.stream.do_handshake()
    await wire.stream.transport_stream.send_all(b"\x15\x03\x03\x00\x13" + b"x" * 19)


def test_damaged_tls_is_a_broken_connection(peers: Peers) -> None:
    assert type(outcome(peers, alert)) is ConnectionLostError


async def never_answers(wire: Wire) -> None:
    await wire.request()
    await trio.sleep_forever()


async def stops_in_its_answer(wire: Wire) -> None:
    await wire.request()
    await wire.stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\nContent-Type: text/xml\r\n\r\n")
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("handler", "message"),
    [
        (never_answers, "B did not answer within 0.2 s"),
        (stops_in_its_answer, "B did not send the rest of its answer within 0.1 s"),
    ],
)
def test_silence_is_not_waited_out(peers: Peers, handler: Handler, message: str) -> None:
    error = outcome(peers, handler, timeouts=replace(WAITING, answer_s=0.2, read_stall_s=0.1))
    assert type(error) is SilentPeerError
    assert error.message == message


def test_a_server_that_does_not_take_the_call_is_given_up(peers: Peers) -> None:
    async def reads_nothing(wire: Wire) -> None:
        await wire.stream.do_handshake()
        await trio.sleep_forever()

    async def main() -> None:
        async with impostor(peers, reads_nothing) as target:
            timeouts = replace(WAITING, send_stall_s=0.3)
            with pytest.raises(SilentPeerError, match=r"did not take the call within 0\.3 s"):
                await call(target, "m", b"x" * 12_000_000, tls=peers.client(), timeouts=timeouts)

    run(main)


def test_a_busy_server_is_called_busy(peers: Peers) -> None:
    async def busy(wire: Wire) -> None:
        await wire.stream.do_handshake()
        # Before it has read anything.
        await wire.answer(b"", "Connection: close", status="503 Service Unavailable")
        await wire.request()

    assert type(outcome(peers, busy)) is BusyPeerError


def test_the_context_of_a_client_speaks_tls_1_3_only(peers: Peers) -> None:
    assert peers.client().context.minimum_version is ssl.TLSVersion.TLSv1_3
