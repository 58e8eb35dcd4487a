"""One connection and its limits, with clients that mean harm. Over real TLS on the loopback."""

from __future__ import annotations

import base64
import contextlib
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.rpc import Fault, xml
from appliance.testing.waiting import eventually
from tests.unit.core.rpc.peers import CALM, SHORT, Identity, Peers, Running, run, serving

CALL = xml.dumps_call("appliance.add", [1, 2])


class Wire:
    """A client that sends what it likes."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self.stream = stream

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await self.stream.send_all(data)

    async def receive(self) -> bytes:
        """Everything until the server closes the connection."""
        received = b""
        with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):
            while more := await self.stream.receive_some():
                received += more
        return received

    async def answer(self) -> bytes:
        """One answer; the connection stays."""
        received = b""
        with trio.fail_after(5):
            while not received.endswith(b"</methodResponse>\n"):
                more = await self.stream.receive_some()
                assert more, received
                received += more
        return received


TRIES = 5


@contextlib.asynccontextmanager
async def connected(running: Running, peers: Peers, who: Identity | None = None) -> AsyncIterator[Wire]:
    stream = await trio.open_tcp_stream(running.target.address, running.target.port)
    tls = trio.SSLStream(stream, peers.raw_context(who), https_compatible=True)
    try:
        yield Wire(tls)
    finally:
        await trio.aclose_forcefully(tls)


def head(
    *lines: str, length: int | None = len(CALL), kind: str = "text/xml", first: str = "POST /RPC2 HTTP/1.1"
) -> bytes:
    more = [f"Content-Length: {length}"] if length is not None else []
    more += [f"Content-Type: {kind}"] if kind else []
    return "\r\n".join([first, "Host: x", *more, *lines, "", ""]).encode()


def value(response: bytes) -> Any:
    return xml.loads_response(response.partition(b"\r\n\r\n")[2])


def status(response: bytes) -> tuple[int, str]:
    """Status and body of a refusal; its length has to be right and the connection announced as closed."""
    before, _, body = response.partition(b"\r\n\r\n")
    lines = before.decode("ascii").lower().split("\r\n")
    assert "connection: close" in lines, response
    assert f"content-length: {len(body)}" in lines
    return int(lines[0].split()[1]), body.decode().strip()


def exchange(peers: Peers, *pieces: bytes, pause_s: float = 0.0, **more: Any) -> bytes:
    """What comes back to these pieces until the server closes the connection. The server works afterwards."""
    answers: list[bytes] = []

    async def main() -> None:
        async with serving(peers, **more) as running:
            async with connected(running, peers) as wire, trio.open_nursery() as nursery:
                nursery.start_soon(dribble, wire, pieces, pause_s)
                answers.append(await wire.receive())
                nursery.cancel_scope.cancel()
            await works(running, peers, **more)
            assert running.notes.named("rpc_connection_failed") == []

    run(main)
    return answers[0]


async def dribble(wire: Wire, pieces: tuple[bytes, ...], pause_s: float) -> None:
    for piece in pieces:
        await wire.send(piece)
        await trio.sleep(pause_s)


async def works(running: Running, peers: Peers, authenticate: object = None, **_: object) -> None:
    if authenticate is None:
        for left in reversed(range(TRIES)):
            try:
                async with connected(running, peers) as wire:
                    await wire.send(head() + CALL)
                    assert value(await wire.answer()) == 3
                break
            except (trio.BrokenResourceError, AssertionError):  # too slow for `SHORT`, on a busy machine
                if not left:
                    raise
    await eventually(lambda: running.server.connections == 0)


def test_a_call_is_answered(peers: Peers) -> None:
    response = exchange(peers, head("Connection: close") + CALL)
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"content-type: text/xml\r\n" in response.lower()
    assert value(response) == 3


def test_calls_follow_each_other_on_one_connection(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running, connected(running, peers) as wire:
            for _ in range(3):
                await wire.send(head() + CALL)
                assert value(await wire.answer()) == 3
            assert running.server.counters["accepted"] == 1
            assert running.server.counters["calls"] == 3

    run(main)


def test_calls_that_are_sent_at_once_are_answered_in_order(peers: Peers) -> None:
    second = xml.dumps_call("appliance.add", [3, 4])
    both = head() + CALL + head("Connection: close", length=len(second)) + second
    first_answer, _, second_answer = exchange(peers, both).partition(b"</methodResponse>\n")
    assert b"<int>3</int>" in first_answer
    assert b"<int>7</int>" in second_answer


def test_a_chunked_call_is_read(peers: Peers) -> None:
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CALL), CALL)
    response = exchange(peers, head("Transfer-Encoding: chunked", "Connection: close", length=None) + chunks)
    assert value(response) == 3


def test_a_client_that_asks_before_it_sends_a_body_is_told_to_go_on(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running, connected(running, peers) as wire:
            await wire.send(head("Expect: 100-continue"))
            assert (await wire.stream.receive_some()).startswith(b"HTTP/1.1 100")
            await wire.send(CALL)
            assert value(await wire.answer()) == 3

    run(main)


def test_what_is_no_call_is_a_fault_and_not_a_status(peers: Peers) -> None:
    response = exchange(peers, head("Connection: close", length=5) + b"hello")
    assert response.startswith(b"HTTP/1.1 200 OK\r\n")
    with pytest.raises(Fault, match="not XML-RPC"):
        value(response)


@pytest.mark.parametrize(
    ("request_head", "expected"),
    [
        (head(first="GET /RPC2 HTTP/1.1", length=None), (405, "XML-RPC is called with POST.")),
        (head(first="POST / HTTP/1.1"), (404, "There is nothing here; XML-RPC is at /RPC2.")),
        (head(first="POST /RPC2/../../etc/passwd HTTP/1.1"), (404, "There is nothing here; XML-RPC is at /RPC2.")),
        (head(first="POST http://x/RPC2 HTTP/1.1"), (404, "There is nothing here; XML-RPC is at /RPC2.")),
        (head(kind="application/json"), (415, "A call is text/xml in UTF-8.")),
        (head(kind=""), (415, "A call is text/xml in UTF-8.")),
        (head(kind="text/xml; charset=latin-1"), (415, "A call is text/xml in UTF-8.")),
        (head("Content-Encoding: gzip"), (415, "Compressed calls are not accepted.")),
        (head(length=100_000_000), (413, "A call may have 16777216 bytes.")),
        (head(length=10**19), (413, "A call may have 16777216 bytes.")),
        (head("Content-Type: text/xml"), (400, "There is more than one content-type.")),
        (
            head("Authorization: Basic eDp5", "Authorization: Basic eDp6"),
            (400, "There is more than one authorization."),
        ),
        (head("Content-Length: 7"), (400, "This is not HTTP as it should be.")),
        (head(length=-1), (400, "This is not HTTP as it should be.")),
        (head(length=10**30), (400, "This is not HTTP as it should be.")),
        (head("Transfer-Encoding: gzip", length=None), (501, "This is not HTTP as it should be.")),
        (b"POST /RPC2\r\n\r\n", (400, "This is not HTTP as it should be.")),
        (b"\x00\x01\x02\x03\r\n\r\n", (400, "This is not HTTP as it should be.")),
        (head(f"X: {'x' * 20_000}"), (431, "The head of the request is too large.")),
        (b"x" * 20_000, (431, "This is not HTTP as it should be.")),
    ],
)
def test_a_request_that_is_no_call_is_refused_before_its_body(
    peers: Peers, request_head: bytes, expected: tuple[int, str]
) -> None:
    assert status(exchange(peers, request_head)) == expected


def test_a_question_for_the_head_only_gets_the_head_only(peers: Peers) -> None:
    response = exchange(peers, head(first="HEAD /RPC2 HTTP/1.1", length=None))
    assert response.startswith(b"HTTP/1.1 405 ")
    assert response.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("first", ["CONNECT /RPC2 HTTP/1.1", "OPTIONS * HTTP/1.1", "PRI * HTTP/2.0"])
def test_other_methods_are_refused_cleanly(peers: Peers, first: str) -> None:
    assert status(exchange(peers, head(first=first, length=None)))[0] in (400, 404, 405)


def test_refusing_a_method_names_the_right_one(peers: Peers) -> None:
    assert b"\r\nallow: POST\r\n" in exchange(peers, head(first="PUT /RPC2 HTTP/1.1"))


@pytest.mark.parametrize("kind", ["text/xml; charset=utf-8", 'text/xml;charset="UTF-8"', "TEXT/XML"])
def test_ways_to_say_text_xml(peers: Peers, kind: str) -> None:
    assert value(exchange(peers, head("Connection: close", kind=kind) + CALL)) == 3


def test_a_compressed_bomb_is_not_opened(peers: Peers) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    assert status(exchange(peers, head("Content-Encoding: gzip", length=len(bomb)) + bomb))[0] == 415


def test_a_body_that_grows_beyond_its_limit_is_cut(peers: Peers) -> None:
    limits = replace(CALM, body_max=100_000)
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    response = exchange(peers, head("Transfer-Encoding: chunked", length=None), *[chunk] * 10, limits=limits)
    assert status(response) == (413, "A call may have 100000 bytes.")


def test_the_reason_reaches_a_client_that_is_still_sending(peers: Peers) -> None:
    limits = replace(CALM, body_max=4_000_000)
    response = exchange(peers, head(length=4_000_001), b"x" * 4_000_001, limits=limits)
    assert status(response)[0] == 413


def test_crumbs_are_refused(peers: Peers) -> None:
    crumbs = b"1\r\n \r\n" * 5000
    response = exchange(peers, head("Transfer-Encoding: chunked", length=None) + crumbs)
    assert status(response) == (400, "The chunks are too small; send at least 256 bytes at a time.")


def test_a_slow_head_is_given_up(peers: Peers) -> None:
    response = exchange(peers, *(bytes([byte]) for byte in head()[:12]), pause_s=0.08, limits=SHORT)
    assert status(response) == (408, "The head of the request came too slowly.")


def test_a_slow_body_is_given_up(peers: Peers) -> None:
    drops = [CALL[place : place + 1] for place in range(20)]
    response = exchange(peers, head(), *drops, pause_s=0.05, limits=SHORT)
    assert status(response) == (408, "The body of the request came too slowly.")


def test_a_body_that_stops_is_given_up(peers: Peers) -> None:
    response = exchange(peers, head(length=2_000_000) + b" " * 1_000_000, limits=SHORT)
    assert status(response) == (408, "The body of the request came too slowly.")


def test_a_connection_without_a_request_is_closed_silently(peers: Peers) -> None:
    assert exchange(peers, b"", limits=SHORT) == b""


def test_a_cut_body_ends_the_connection_and_nothing_else(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running:
            async with connected(running, peers) as wire:
                await wire.send(head(length=5000) + CALL)
                await trio.sleep(0.05)
            await works(running, peers)
            assert running.server.counters["calls"] == 1
            assert running.notes.named("rpc_connection_failed") == []

    run(main)


def test_a_reset_in_the_middle_ends_the_connection_and_nothing_else(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running:
            async with connected(running, peers) as wire:
                await wire.send(head(length=5000) + CALL)
                hard = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                wire.stream.transport_stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, hard)
            await works(running, peers)
            assert running.notes.named("rpc_connection_failed") == []

    run(main)


def test_a_client_that_does_not_read_its_answer_is_given_up(peers: Peers) -> None:
    limits = replace(CALM, send_stall_s=0.2, body_floor=10**9)
    blob = xml.dumps_call("appliance.echo", [b"x" * 8_000_000])

    async def main() -> None:
        async with serving(peers, limits=limits) as running, connected(running, peers) as wire:
            await wire.send(head(length=len(blob)) + blob)
            await eventually(lambda: running.server.counters["too_slow"] == 1)
            await eventually(lambda: running.server.connections == 0)

    run(main)


def authorization(user: str, password: str) -> str:
    return f"Authorization: Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def knows(user: str, password: str, peer: object) -> bool:
    if user == "viewer":
        raise Fault(-2, "viewer has no role sync")
    return (user, password) == ("admin", "secret")


def test_the_right_password_is_let_in_and_the_user_is_known(peers: Peers) -> None:
    whoami = xml.dumps_call("appliance.whoami")
    request = head(authorization("admin", "secret"), "Connection: close", length=len(whoami)) + whoami
    found = value(exchange(peers, request, authenticate=knows))
    assert found == {"user": "admin", "address": "127.0.0.1", "fingerprint": peers.a.fingerprint}


def fault_of(response: bytes) -> tuple[int, int, str]:
    code, body = status(response)
    with pytest.raises(Fault) as caught:
        xml.loads_response(body.encode())
    return code, caught.value.code, caught.value.message


@pytest.mark.parametrize("lines", [(), ("Authorization: Bearer x",), (authorization("admin", "guess"),)])
def test_a_wrong_password_is_refused_before_the_body(peers: Peers, lines: tuple[str, ...]) -> None:
    response = exchange(peers, head(*lines, length=1_000_000), authenticate=knows)
    assert fault_of(response) == (401, -1, "unknown user or wrong password")
    assert b'\r\nwww-authenticate: Basic realm="appliance", charset="UTF-8"\r\n' in response


def test_a_user_without_the_privilege_is_told_so(peers: Peers) -> None:
    response = exchange(peers, head(authorization("viewer", "x")), authenticate=knows)
    assert fault_of(response) == (403, -2, "viewer has no role sync")


def test_after_five_wrong_passwords_the_source_waits(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers, authenticate=knows) as running:
            for _ in range(5):
                async with connected(running, peers) as wire:
                    await wire.send(head(authorization("admin\x1b", "guess\n" * 20)))
                    assert status(await wire.receive())[0] == 401
            async with connected(running, peers) as wire:
                await wire.send(head(authorization("admin\x1b", "secret")) + CALL)
                response = await wire.receive()
            assert fault_of(response) == (429, -3, "too many wrong passwords: locked for 1 s")
            assert b"\r\nretry-after: 1\r\n" in response
            refused = running.notes.named("rpc_login_refused")
            assert refused == [{"peer": "127.0.0.1", "user": "admin?"}] * 5

    run(main)


def test_a_check_of_the_password_that_hangs_is_no_acceptance(peers: Peers) -> None:
    released: list[Callable[[], None]] = []

    def hangs(user: str, password: str, peer: object) -> bool:
        import threading

        event = threading.Event()
        released.append(event.set)
        return event.wait(10)

    limits = replace(CALM, authenticate_s=0.1)
    response = exchange(peers, head(authorization("admin", "x")), authenticate=hangs, limits=limits)
    assert status(response) == (503, "Checking the password took too long.")
    for release in released:
        release()


def test_a_check_of_the_password_that_fails_is_contained(peers: Peers) -> None:
    def breaks(user: str, password: str, peer: object) -> bool:
        raise RuntimeError("a defect")

    async def main() -> None:
        async with serving(peers, authenticate=breaks) as running:
            async with connected(running, peers) as wire:
                await wire.send(head(authorization("admin", "x")))
                assert await wire.receive() == b""
            assert [entry["error"] for entry in running.notes.named("rpc_connection_failed")] == [
                "RuntimeError('a defect')"
            ]
            await eventually(lambda: running.server.connections == 0)

    run(main)


GRAMMAR = st.lists(
    st.sampled_from(
        [
            b"POST /RPC2 HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"HEAD / HTTP/1.1\r\n", b"Host: x\r\n",
            b"Content-Type: text/xml\r\n",
            b"Content-Length: %d\r\n" % len(CALL), b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n",
            b"Connection: upgrade\r\n", b"Upgrade: h2c\r\n", b"Expect: 100-continue\r\n", b"\r\n", b"\n", b"\0", b" ",
            CALL, b"3\r\nabc\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n",
        ]
    )
    | st.binary(max_size=20),
    max_size=15,
)  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(GRAMMAR, min_size=5, max_size=5))
def test_no_sequence_of_requests_disturbs_the_server(peers: Peers, requests: list[list[bytes]]) -> None:
    async def main() -> None:
        async with serving(
            peers, limits=replace(SHORT, headers_s=0.05, idle_s=0.05, body_stall_s=0.05, linger_s=0.02)
        ) as running:
            for pieces in requests:
                async with connected(running, peers) as wire:
                    await wire.send(b"".join(pieces))
                    with contextlib.suppress(ssl.SSLError):
                        await wire.receive()
            await works(running, peers)
            assert running.notes.named("rpc_connection_failed") == []
            assert running.notes.named("rpc_call_failed") == []

    run(main)
