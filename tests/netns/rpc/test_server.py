"""The XML-RPC server on a device and an address that come and go."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio

from appliance.net.namespace import in_namespace, new_namespace
from appliance.rpc import Client, Listen, RefusedConnectionError, Server, Target, UnreachablePeerError, call
from appliance.testing.waiting import eventually
from tests.unit.core.rpc.peers import CALM, METHODS, WAITING, Notes, Peers, make_peers

pytestmark = pytest.mark.netns

Body = Callable[[], Awaitable[None]]
NEAR, FAR = "172.16.77.2", "172.16.77.3"


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Peers:
    return make_peers(tmp_path_factory.mktemp("rpc"))


@pytest.fixture
def inside() -> Iterator[Callable[[Body], None]]:
    """Runs a coroutine function in a namespace of its own."""
    namespace = new_namespace()

    def call_inside(body: Body) -> None:
        async def bounded() -> None:
            with trio.fail_after(30):
                await body()

        def go() -> None:
            ip("link", "set", "lo", "up")
            trio.run(bounded)

        in_namespace(namespace, go)

    yield call_inside
    os.close(namespace)


async def elsewhere(namespace: int, function: Callable[[], None]) -> None:
    """Call a function in another namespace; not in a thread of trio's pool, which would stay in this one's."""
    failures: list[BaseException] = []

    def go() -> None:
        try:
            in_namespace(namespace, function)
        except BaseException as error:  # noqa: BLE001 - it is raised again by the test
            failures.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    await eventually(lambda: not thread.is_alive())
    if failures:
        raise failures[0]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=10)


def make_device(name: str) -> None:
    ip("link", "add", name, "type", "veth", "peer", "name", f"{name}far")
    for device in (name, f"{name}far"):
        ip("link", "set", device, "up")


def made(peers: Peers, notes: Notes, device: str = "sync", address: str = NEAR) -> Server:
    where = Listen(address=address, port=8443, device=device)
    return Server(where, peers.server(), METHODS, limits=CALM, log=notes, rebind_s=0.05)


async def add(peers: Peers, target: Target) -> object:
    return await call(target, "appliance.add", 1, 2, tls=peers.client(), timeouts=WAITING)


@pytest.mark.parametrize("address", [NEAR, "2001:db8:77::2"])
def test_a_server_follows_its_device_and_its_address(
    inside: Callable[[Body], None], peers: Peers, address: str
) -> None:
    target = Target(address=address, port=8443)
    width = ("64", "nodad") if ":" in address else ("24",)

    def give_address() -> None:
        ip("addr", "add", f"{address}/{width[0]}", "dev", "lo", *width[1:])

    async def main() -> None:
        notes = Notes()
        server = made(peers, notes, "lo", address)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            assert server.waiting_for == "Cannot assign requested address"
            give_address()
            await eventually(lambda: server.port == 8443)
            assert await add(peers, target) == 3
            # An address that goes and comes back needs nothing.
            ip("addr", "del", f"{address}/{width[0]}", "dev", "lo")
            give_address()
            assert await add(peers, target) == 3
            assert [name for name, _ in notes.entries] == ["rpc_not_listening", "rpc_listening"]
            nursery.cancel_scope.cancel()

    inside(main)


def test_a_device_that_is_made_anew_is_found_again(inside: Callable[[Body], None], peers: Peers) -> None:
    async def main() -> None:
        notes = Notes()
        server = made(peers, notes)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            assert server.waiting_for == "No such device"
            for round_number in (1, 2, 3):
                make_device("sync")
                ip("addr", "add", f"{NEAR}/24", "dev", "sync")
                await eventually(lambda: server.port == 8443)
                assert len(notes.named("rpc_listening")) == round_number
                ip("link", "del", "sync")
                await eventually(lambda: server.port == 0)
            nursery.cancel_scope.cancel()

    inside(main)


def test_calls_over_real_wires_are_heard_on_the_device_only(inside: Callable[[Body], None], peers: Peers) -> None:
    other = new_namespace()

    async def main() -> None:
        for device, address in (("sync", NEAR), ("lan", "192.168.77.2")):
            far = f"/proc/{os.getpid()}/fd/{other}"
            ip("link", "add", device, "type", "veth", "peer", "name", device, "netns", far)
            ip("addr", "add", f"{address}/24", "dev", device)
            ip("link", "set", device, "up")
        server = made(peers, Notes())
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            await elsewhere(other, far_side)
            assert server.counters["calls"] == 2
            nursery.cancel_scope.cancel()

    def far_side() -> None:
        for device, address in (("sync", FAR), ("lan", "192.168.77.3")):
            ip("addr", "add", f"{address}/24", "dev", device)
            ip("link", "set", device, "up")
        trio.run(use)

    async def use() -> None:
        target = Target(address=NEAR, port=8443, device="sync")
        async with Client(target, tls=peers.client(), timeouts=WAITING) as client:
            assert await client.call("appliance.add", 1, 2) == 3
            found = await client.call("appliance.whoami")
            assert found == {"fingerprint": peers.a.fingerprint, "address": FAR, "user": ""}
        with pytest.raises(RefusedConnectionError):
            await add(peers, Target(address=NEAR, port=1, device="sync"))
        with pytest.raises(UnreachablePeerError, match="cannot be reached"):
            await add(peers, Target(address="172.16.77.99", port=8443, device="sync"))
        with pytest.raises(UnreachablePeerError, match="cannot be reached: Network is unreachable"):
            await add(peers, Target(address="192.0.2.1", port=8443))
        # The right address by the wrong device: the kernel answers there for all its addresses.
        with pytest.raises(RefusedConnectionError):
            await add(peers, Target(address=NEAR, port=8443, device="lan"))

    inside(main)
    os.close(other)
