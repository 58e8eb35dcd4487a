"""One POST. Against a real web server: `tests/unit/plugins/notify/test_webhook.py`."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from appliance.rpc import ConnectionLostError, Posted, RpcError, post
from appliance.rpc.errors import NonsenseError


def answered(*parts: bytes) -> tuple[Posted | RpcError, bytes]:
    """What `post` makes of an answer, and what it has sent."""

    async def main() -> tuple[Posted | RpcError, bytes]:
        near, far = trio.testing.memory_stream_pair()
        for part in parts:
            await far.send_all(part)
        await far.send_eof()
        try:
            found: Posted | RpcError = await post(near, host="x:1", path="/a", headers={"X-Y": "z"}, body=b"data")
        except RpcError as error:
            found = error
        return found, bytes(await far.receive_some())

    return trio.run(main)


def test_what_is_sent() -> None:
    _, sent = answered(b"HTTP/1.1 204 \r\n\r\n")
    head, _, body = sent.partition(b"\r\n\r\n")
    assert head.splitlines() == [
        b"POST /a HTTP/1.1", b"Host: x:1", b"Content-Length: 4", b"Connection: close", b"X-Y: z"
    ]  # fmt: skip
    assert body == b"data"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], Posted(status=200, reason="OK")),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.0 404 No\x1b\r\n\r\n"], Posted(status=404, reason="No?")),
        ([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 503 Not now\r\n\r\n"], Posted(status=503, reason="Not now")),
    ],
)
def test_the_status_is_what_counts(parts: list[bytes], expected: Posted) -> None:
    assert answered(*parts)[0] == expected


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ([], ConnectionLostError),
        ([b"HTTP/1.1 2"], NonsenseError),
        ([b"220 mail.example.net ESMTP\r\n"], NonsenseError),
        ([b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 20_000], NonsenseError),
    ],
)
def test_what_is_no_answer(parts: list[bytes], kind: type[RpcError]) -> None:
    found, _ = answered(*parts)
    assert type(found) is kind
