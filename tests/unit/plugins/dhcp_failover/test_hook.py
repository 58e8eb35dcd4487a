"""The endpoint that Kea asks, asked as Kea asks it."""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from appliance_dhcp_failover.hook import BODY_MAX, CONNECTIONS_MAX, Hook


def request(body: bytes, password: str = "secret") -> bytes:
    token = base64.b64encode(f"kea:{password}".encode()).decode()
    head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\nAuthorization: Basic {token}\r\n\r\n"
    return head.encode() + body


def command(name: str, **arguments: Any) -> bytes:
    return request(json.dumps({"command": name, "arguments": arguments, "service": ["dhcp4"]}).encode())


def serving(body: Callable[[Hook, list[Any]], Awaitable[None]], *, answer: bool = True) -> None:
    asked: list[Any] = []

    async def ask(name: str, arguments: dict[str, Any]) -> bool:
        await trio.lowlevel.checkpoint()
        asked.append((name, arguments))
        return answer

    async def main() -> None:
        hook = Hook("secret", ask)
        async with trio.open_nursery() as nursery:
            await nursery.start(hook.run)
            with trio.fail_after(5):
                await body(hook, asked)
            nursery.cancel_scope.cancel()

    trio.run(main)


async def connect(hook: Hook) -> trio.SocketStream:
    return await trio.open_tcp_stream("127.0.0.1", hook.endpoint.port)


async def exchange(stream: trio.SocketStream, data: bytes) -> bytes:
    await stream.send_all(data)
    return bytes(await stream.receive_some(4096))


def test_many_commands_go_over_one_connection() -> None:
    async def body(hook: Hook, asked: list[Any]) -> None:
        async with await connect(hook) as stream:
            for number in range(3):
                answer = await exchange(stream, command("lease4-update", number=number))
                assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), "Kea insists on a phrase"
                assert answer.endswith(b'[{"result": 0, "text": ""}]')
        assert asked == [("lease4-update", {"number": number}) for number in range(3)]

    serving(body)


def test_a_refusal_is_a_result_of_one() -> None:
    async def body(hook: Hook, asked: list[Any]) -> None:
        async with await connect(hook) as stream:
            assert b'"result": 1' in await exchange(stream, command("lease4-update"))
        assert len(asked) == 1

    serving(body, answer=False)


def test_who_does_not_know_the_password_and_who_talks_nonsense_is_not_listened_to() -> None:
    async def body(hook: Hook, asked: list[Any]) -> None:
        for data, expected in (
            (request(b"{}", "guess"), b"HTTP/1.1 401 "),
            (request(b"nonsense"), b'"result": 1'),
            (request(b"[]"), b'"result": 1'),
            (request(b'{"arguments": 1}'), b'"result": 1'),
            (b"\x00\x01\r\n\r\n", b""),
            (request(b"x" * (BODY_MAX + 1)), b""),
        ):
            async with await connect(hook) as stream:
                try:
                    assert expected in await exchange(stream, data)
                except trio.BrokenResourceError:
                    assert expected == b""
        assert asked == []

    serving(body)


def test_more_connections_than_kea_ever_has_are_refused() -> None:
    async def body(hook: Hook, _asked: list[Any]) -> None:
        held = [await connect(hook) for _ in range(CONNECTIONS_MAX)]
        for stream in held:
            assert b"200 OK" in await exchange(stream, command("x"))
        async with await connect(hook) as late:
            assert await late.receive_some(1) == b""
        for stream in held:
            await stream.aclose()

    serving(body)
