"""A node whose ``lan`` is the loopback of this machine, and a client."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import trio

from appliance.metrics import MetricsRegistry
from appliance.testing import LogicalInterfaces, RunningNode
from appliance_metrics.plugin import Metrics
from tests.unit.plugins.notify.servers import free_port

Run = Callable[..., AbstractAsyncContextManager[RunningNode]]
LOOPBACK = {"interfaces": LogicalInterfaces.of(lo="127.0.0.1/8")}


@contextlib.asynccontextmanager
async def exporting(run_service: Run, *, registry: bool = True) -> AsyncIterator[tuple[RunningNode, int]]:
    """The node and its port. The core answers for the registry on a whole node; here the test does."""
    port = free_port()
    async with run_service(Metrics, config={"listen": ["lo"], "port": port}, tables=LOOPBACK, node="fw1") as node:
        served = MetricsRegistry.serving(node.metrics, node.bus, source="test")
        with served if registry else contextlib.nullcontext():
            yield node, port


async def scrape(port: int, accept: str = "text/plain", path: str = "/metrics") -> tuple[int, str]:
    """Status and body."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n".encode()
        )
        answer = b""
        with trio.fail_after(10):
            async for part in stream:
                answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()
