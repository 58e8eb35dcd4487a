"""The server as a whole: who gets in, floods, rotation of certificates, containment."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from appliance.errors import ApplianceError
from appliance.rpc import Client, Limits, Listen, NotAcceptedError, RpcError, Server, Target, accepting, call, tls
from appliance.rpc.http import Exchange
from appliance.testing.waiting import eventually
from tests.unit.core.rpc.peers import CALM, METHODS, SHORT, WAITING, Notes, Peers, Running, make_expired, run, serving

PATIENT = replace(CALM, handshake_s=30.0, headers_s=30.0)


async def plain(running: Running, sent: bytes = b"") -> trio.SocketStream:
    stream = await trio.open_tcp_stream(running.target.address, running.target.port)
    if sent:
        await stream.send_all(sent)
    return stream


async def closed(stream: trio.SocketStream) -> bytes:
    """What comes until the server closes the connection."""
    received = b""
    with contextlib.suppress(trio.BrokenResourceError), trio.fail_after(5):
        while more := await stream.receive_some():
            received += more
    await stream.aclose()
    return received


async def add(running: Running, peers: Peers) -> object:
    return await call(running.target, "appliance.add", 1, 2, tls=peers.client(), timeouts=WAITING)


def test_a_paired_peer_is_served_and_known_by_its_fingerprint(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running:
            found = await call(running.target, "appliance.whoami", tls=peers.client(), timeouts=WAITING)
            assert found == {"fingerprint": peers.a.fingerprint, "address": "127.0.0.1", "user": ""}
            await eventually(lambda: running.server.connections == 0)

    run(main)


def test_it_says_where_it_listens(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running:
            assert running.server.waiting_for == ""
            assert running.notes.named("rpc_listening") == [
                {"address": "127.0.0.1", "port": running.server.port, "device": ""}
            ]

    run(main)


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST /RPC2 HTTP/1.1\r\n\r\n" * 10_000, b"\0"])
def test_plain_http_and_garbage_are_answered_and_closed(peers: Peers, sent: bytes) -> None:
    async def main() -> None:
        async with serving(peers) as running:
            answer = await closed(await plain(running, sent))
            assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
            assert answer.endswith(b"\r\n\r\nThis port speaks HTTPS (TLS 1.3) only.\n")
            assert running.server.counters["not_tls"] == 1
            await eventually(lambda: running.server.connections == 0)
            assert await add(running, peers) == 3

    run(main)


@pytest.mark.parametrize(
    "sent", [b"", b"\x16", b"\x16\x03\x01\x40\x00", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]
)
def test_half_a_handshake_is_given_up(peers: Peers, sent: bytes) -> None:
    async def main() -> None:
        async with serving(peers, limits=SHORT) as running:
            await closed(await plain(running, sent))
            counters = running.server.counters
            assert counters["handshake_too_slow"] + counters["handshake_failed"] == 1
            await eventually(lambda: running.server.connections == 0)

    run(main)


def test_sixty_half_open_connections_do_not_keep_the_peer_out(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers, limits=PATIENT) as running:
            flood = [await plain(running, b"\x16\x03\x01") for _ in range(60)]
            begun = trio.current_time()
            for _ in range(5):
                assert await add(running, peers) == 3
            assert trio.current_time() - begun < 10
            assert running.server.connections <= Limits().strangers_max
            assert running.server.counters["replaced"] >= 60 - Limits().strangers_max
            for stream in flood:
                await stream.aclose()
            await eventually(lambda: running.server.connections == 0)

    run(main)


def test_a_flood_that_goes_on_does_not_keep_the_known_peer_out(peers: Peers) -> None:
    async def flood(running: Running, streams: list[trio.SocketStream]) -> None:
        while True:
            # From an address that is not the peer's.
            stream = await trio.open_tcp_stream("127.0.0.1", running.target.port, local_address="127.0.0.66")
            streams.append(stream)
            if len(streams) > 100:
                await streams.pop(0).aclose()

    async def main() -> None:
        streams: list[trio.SocketStream] = []
        async with serving(peers, limits=PATIENT, known=frozenset({"127.0.0.1"})) as running:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood, running, streams)
                await eventually(lambda: len(streams) > 50)
                for _ in range(5):
                    assert await add(running, peers) == 3
                nursery.cancel_scope.cancel()
            for stream in streams:
                await stream.aclose()

    run(main)


def test_connections_beyond_all_places_are_closed_at_once(peers: Peers) -> None:
    async def main() -> None:
        limits = replace(PATIENT, strangers_max=2, strangers_reserved=0)
        async with serving(peers, limits=limits, known=frozenset({"127.0.0.1"})) as running:
            held = [await plain(running) for _ in range(2)]
            await eventually(lambda: running.server.connections == 2)
            stranger = await trio.open_tcp_stream("127.0.0.1", running.target.port, local_address="127.0.0.66")
            assert await closed(stranger) == b""
            assert running.server.counters["refused_full"] == 1
            for stream in held:
                await stream.aclose()

    run(main)


def test_a_peer_may_not_hold_more_connections_than_it_needs(peers: Peers) -> None:
    async def hang(client: Client) -> None:
        with contextlib.suppress(RpcError):
            await client.call("appliance.hang")

    async def main() -> None:
        limits = replace(CALM, method_s=10.0, per_peer_max=2)
        async with serving(peers, limits=limits) as running, trio.open_nursery() as nursery:
            clients = [Client(running.target, tls=peers.client(), timeouts=WAITING) for _ in "ab"]
            for client in clients:
                nursery.start_soon(hang, client)
            await eventually(lambda: running.server.counters["calls"] == 2)
            with pytest.raises(RpcError, match="no capacity for another call"):
                await add(running, peers)
            nursery.cancel_scope.cancel()

    run(main)


def test_a_peer_replaces_connections_that_it_forgot(peers: Peers) -> None:
    async def main() -> None:
        limits = replace(PATIENT, per_peer_max=2)
        async with serving(peers, limits=limits) as running, contextlib.AsyncExitStack() as stack:
            for _ in range(6):
                client = Client(running.target, tls=peers.client(), timeouts=WAITING)
                await stack.enter_async_context(client)
                assert await client.call("appliance.add", 1, 2) == 3
            await eventually(lambda: running.server.connections == 2)
            await eventually(lambda: running.server.counters["replaced"] == 4)

    run(main)


@pytest.mark.parametrize("who", ["stranger", "child"])
def test_a_certificate_that_is_not_pinned_is_refused(peers: Peers, who: str) -> None:
    async def main() -> None:
        async with serving(peers) as running:
            with pytest.raises(NotAcceptedError):
                await call(
                    running.target, "appliance.add", 1, 2, tls=peers.client(getattr(peers, who)), timeouts=WAITING
                )
            assert running.server.counters["calls"] == 0
            assert running.server.counters["handshake_failed"] == 1

    run(main)


def test_a_certificate_signed_by_a_pinned_one_is_refused_all_the_same(peers: Peers) -> None:
    # What OpenSSL would do for a pinned authority: accept what it signed. The pins do not.
    async def main() -> None:
        made = peers.server()
        without = tls.Tls(context=made.context, pins=frozenset({peers.b.fingerprint}))
        async with serving(peers, server_tls=without) as running:
            with pytest.raises(RpcError) as caught:
                await add(running, peers)
            assert "does not allow" in caught.value.message
            assert running.server.counters["calls"] == 0

    run(main)


def test_dates_in_certificates_mean_nothing(peers: Peers, tmp_path: Path) -> None:
    expired = make_expired(tmp_path)

    async def main() -> None:
        served = tls.server_tls(expired.certificate, expired.key, [peers.a.certificate])
        async with serving(peers, server_tls=served) as running:
            client = peers.client(sees=expired)
            assert await call(running.target, "appliance.add", 1, 2, tls=client, timeouts=WAITING) == 3

    run(main)


def test_certificates_are_replaced_without_an_outage(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running, Client(running.target, tls=peers.client(), timeouts=WAITING) as old:
            assert await old.call("appliance.add", 1, 2) == 3
            running.server.tls = tls.server_tls(
                peers.b.certificate, peers.b.key, [peers.a.certificate, peers.stranger.certificate]
            )
            new = peers.client(peers.stranger)
            assert await call(running.target, "appliance.add", 1, 2, tls=new, timeouts=WAITING) == 3
            assert await old.call("appliance.add", 3, 4) == 7
            assert running.server.counters["accepted"] == 2

    run(main)


def test_for_pairing_a_client_without_certificate_is_served(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers, server_tls=peers.server(optional=True)) as running:
            async with Client(running.target, tls=tls.client_tls(None, None, []), timeouts=WAITING) as client:
                found = await client.call("appliance.whoami")
                assert found == {"fingerprint": "", "address": "127.0.0.1", "user": ""}
                assert client.peer_fingerprint == peers.b.fingerprint
            with pytest.raises(NotAcceptedError):
                await add(running, peers)

    run(main)


def test_a_defect_in_one_connection_ends_that_connection(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(self: Exchange) -> None:
        raise RuntimeError("a defect")

    async def main() -> None:
        async with serving(peers) as running:
            with monkeypatch.context() as patch:
                patch.setattr(Exchange, "serve", broken)
                with pytest.raises(RpcError, match="broke while"):
                    await add(running, peers)
            (entry,) = running.notes.named("rpc_connection_failed")
            assert entry["error"] == "RuntimeError('a defect')"
            assert await add(running, peers) == 3

    run(main)


def test_a_defect_in_a_method_is_told_as_one(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running, Client(running.target, tls=peers.client(), timeouts=WAITING) as client:
            with pytest.raises(ApplianceError, match=r"appliance\.crash failed here"):
                await client.call("appliance.crash")
            assert await client.call("appliance.add", 1, 2) == 3
            assert running.server.counters["accepted"] == 1

    run(main)


def test_stopping_the_server_ends_calls_in_progress(peers: Peers) -> None:
    async def main() -> None:
        failures: list[str] = []

        async def hang(target: Target) -> None:
            with pytest.raises(RpcError) as caught:
                await call(target, "appliance.hang", tls=peers.client(), timeouts=WAITING)
            failures.append(caught.value.message.replace(str(target), "B"))

        limits = replace(CALM, method_s=10)
        async with trio.open_nursery() as nursery, serving(peers, limits=limits) as running:
            nursery.start_soon(hang, running.target)
            await eventually(lambda: running.server.counters["calls"] == 1)
        assert failures == ["the connection to B broke while its answer was awaited"]

    run(main)


@pytest.fixture
def missing(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """While the list has elements, listening fails with the first one."""
    reasons: list[Exception] = []
    really = accepting.listen

    def sometimes(where: Listen) -> trio.SocketListener:
        if reasons:
            raise reasons[0]
        return really(where)

    monkeypatch.setattr(accepting, "listen", sometimes)
    return reasons


def test_a_server_that_can_never_listen_says_so_at_its_start(peers: Peers) -> None:
    async def main() -> None:
        server = Server(Listen(address="nowhere", port=0), peers.server(), METHODS, log=Notes())
        with pytest.raises(ApplianceError, match="cannot listen on 'nowhere'"):
            await server.run()

    run(main)


def test_a_server_waits_for_its_address_and_says_so_once(peers: Peers, missing: list[Exception]) -> None:
    missing.append(accepting.NotYet("Cannot assign requested address"))

    async def main() -> None:
        notes = Notes()
        where = Listen(address="127.0.0.1", port=0)
        server = Server(where, peers.server(), METHODS, log=notes, rebind_s=0.01)
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            await trio.sleep(0.1)
            assert (server.port, server.waiting_for) == (0, "Cannot assign requested address")
            reason = {"where": "127.0.0.1:0", "reason": "Cannot assign requested address"}
            assert notes.named("rpc_not_listening") == [reason]
            missing.clear()
            await eventually(lambda: server.port != 0)
            assert server.waiting_for == ""
            nursery.cancel_scope.cancel()

    run(main)


def test_a_server_that_loses_its_device_listens_again_and_keeps_its_connections(
    peers: Peers, missing: list[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = 1
    monkeypatch.setattr(accepting, "device_index", lambda where: index)

    async def main() -> None:
        nonlocal index
        async with (
            serving(peers, limits=PATIENT) as running,
            Client(running.target, tls=peers.client(), timeouts=WAITING) as client,
        ):
            assert await client.call("appliance.add", 1, 2) == 3
            missing.append(ApplianceError("cannot listen: no more", hint="Wait."))
            index = 2
            await eventually(lambda: running.server.waiting_for == "cannot listen: no more")
            assert running.server.port == 0
            missing.clear()
            await eventually(lambda: running.server.port != 0)
            assert await client.call("appliance.add", 3, 4) == 7
            assert running.server.counters["accepted"] == 1

    run(main)
