"""The server of pages: who gets what, and what everybody else gets."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.rpc import Limits, Listen, Page, PageServer
from appliance.testing.waiting import eventually
from tests.unit.core.rpc.peers import CALM, SHORT, Notes

GET = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Running:
    """A server, its log, and a way to talk to it."""

    server: PageServer
    notes: Notes

    async def ask(self, request: bytes) -> bytes:
        """All that comes until the server ends the connection, or is silent for a while."""
        async with await trio.open_tcp_stream("127.0.0.1", self.server.port) as stream:
            await stream.send_all(request)
            answer = b""
            with trio.move_on_after(2.0), contextlib.suppress(trio.BrokenResourceError):
                async for part in stream:
                    answer += part
            return answer


@contextlib.asynccontextmanager
async def serving(*, limits: Limits = SHORT, admits: bool = True) -> AsyncIterator[Running]:
    async def page(headers: Mapping[str, str]) -> Page:
        return Page(kind="text/plain", body=f"for {headers.get('accept', 'all')}".encode())

    async def broken(headers: Mapping[str, str]) -> Page:
        raise RuntimeError("a defect")

    async def slow(headers: Mapping[str, str]) -> Page:
        await trio.sleep_forever()
        raise AssertionError

    notes = Notes()
    pages = {"/page": page, "/broken": broken, "/slow": slow}
    where = Listen(address="127.0.0.1", port=0)
    server = PageServer(where, pages, admits=lambda source: admits, log=notes, limits=limits, rebind_s=0.05)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        with trio.fail_after(30):
            yield Running(server, notes)
        nursery.cancel_scope.cancel()


def answers(*requests: bytes, limits: Limits = SHORT, admits: bool = True) -> list[bytes]:
    async def main() -> list[bytes]:
        async with serving(limits=limits, admits=admits) as running:
            return [await running.ask(request) for request in requests]

    return trio.run(main)


def test_a_page_is_sent_and_the_connection_kept_for_the_next() -> None:
    (answer,) = answers(GET + GET.replace(b"Host: x", b"Host: x\r\nAccept: some\r\nConnection: close"))
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert b"for all" in answer
    assert answer.endswith(b"for some")


def test_the_head_alone_has_the_length_of_the_page() -> None:
    (answer,) = answers(b"HEAD /page?x=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"content-length: 7\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /../page HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 405),
        (b"GET /page HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 70_000, 413),
        (b"GET /page HTTP/1.1\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET /page HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 20_000, 431),
        (b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n", 503),
    ],
)
def test_everything_else_is_refused(request_: bytes, status: int) -> None:
    (answer,) = answers(request_)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"connection: close" in answer


def test_who_may_not_read_is_told_so() -> None:
    (answer,) = answers(GET, admits=False)
    assert answer.startswith(b"HTTP/1.1 403 ")


def test_a_client_that_says_nothing_is_not_waited_for() -> None:
    assert answers(b"", b"GET /pa", limits=replace(SHORT, idle_s=0.1, headers_s=0.1)) == [b"", b""]


def test_a_page_that_fails_ends_its_connection_only() -> None:
    async def main() -> None:
        async with serving() as running:
            assert await running.ask(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n") == b""
            assert [entry["error"] for entry in running.notes.named("page_failed")] == ["RuntimeError('a defect')"]
            assert (await running.ask(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))).endswith(b"for all")

    trio.run(main)


def test_there_are_places_for_a_few_and_the_newest_gets_one() -> None:
    async def main() -> None:
        async with serving(limits=replace(CALM, strangers_max=2)) as running, contextlib.AsyncExitStack() as stack:
            silent = []
            for _ in range(3):
                stream = await trio.open_tcp_stream("127.0.0.1", running.server.port)
                silent.append(await stack.enter_async_context(stream))
                await trio.sleep(0.05)
            assert await silent[0].receive_some() == b""
            await silent[2].send_all(GET)
            assert (await silent[2].receive_some()).startswith(b"HTTP/1.1 200")
            await eventually(lambda: running.server.counters["status_200"] == 1)

    trio.run(main)


PIECES = st.lists(
    st.sampled_from(
        [GET, b"HEAD /page HTTP/1.0\r\n", b"Host: x\r\n", b"\r\n", b"\0", b"Transfer-Encoding: chunked\r\n"]
    )
    | st.binary(max_size=20),
    max_size=8,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(PIECES, min_size=4, max_size=4))
def test_no_sequence_of_bytes_disturbs_the_server(requests: list[list[bytes]]) -> None:
    async def main() -> None:
        async with serving(limits=replace(SHORT, headers_s=0.05, idle_s=0.05, linger_s=0.02)) as running:
            for pieces in requests:
                await running.ask(b"".join(pieces))
            assert running.notes.named("page_failed") == []
            assert b"200 OK" in await running.ask(GET)

    trio.run(main)
