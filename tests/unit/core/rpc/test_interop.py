"""Other implementations as peers: the standard library's client and server, and curl."""

from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
import xmlrpc.client
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from xmlrpc.server import SimpleXMLRPCServer

import pytest
import trio

from appliance.rpc import Client, Fault, Target, xml
from tests.unit.core.rpc.peers import WAITING, Peers, Running, run, serving

VALUES: list[Any] = [1, -2.5, True, "ünï <&>", b"\0\xff", {"a": [{}, []]}, datetime(2026, 11, 23, 4, 5, 6)]  # noqa: DTZ001


def knows(user: str, password: str, peer: object) -> bool:
    return (user, password) == ("admin", "secret")


def proxy(running: Running, peers: Peers, credentials: str = "") -> xmlrpc.client.ServerProxy:
    at = f"{credentials}{'@' if credentials else ''}{running.target}"
    return xmlrpc.client.ServerProxy(f"https://{at}", context=peers.raw_context(), use_builtin_types=True)


def test_the_standard_librarys_client_calls_us(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers, authenticate=knows) as running:

            def use() -> None:
                with proxy(running, peers, "admin:secret") as node:
                    assert node.appliance.echo(*VALUES) == VALUES
                    assert node.appliance.add(20, 22) == 42
                    with pytest.raises(xmlrpc.client.Fault) as caught:
                        node.appliance.exec_php("system('id')")
                    assert caught.value.faultCode == -32601
                with proxy(running, peers, "admin:guess") as node, pytest.raises(xmlrpc.client.ProtocolError) as denied:
                    node.appliance.add(1, 2)
                assert denied.value.errcode == 401

            await trio.to_thread.run_sync(use)
            assert running.notes.named("rpc_connection_failed") == []

    run(main)


@pytest.fixture
def standard_server(peers: Peers) -> Iterator[Target]:
    """A server of the standard library, behind the same TLS."""

    def fail() -> None:
        raise xmlrpc.client.Fault(17, "no <way>")

    with SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False, use_builtin_types=True) as server:
        server.socket = peers.server().context.wrap_socket(server.socket, server_side=True)
        server.register_function(lambda *params: list(params), "echo")
        server.register_function(fail, "fail")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield Target(address="127.0.0.1", port=server.server_address[1])
        server.shutdown()
        thread.join()


def test_our_client_calls_the_standard_librarys_server(peers: Peers, standard_server: Target) -> None:
    async def main() -> None:
        async with Client(standard_server, tls=peers.client(), timeouts=WAITING) as client:
            assert await client.call("echo", *VALUES) == VALUES
            with pytest.raises(Fault) as caught:
                await client.call("fail")
            assert (caught.value.code, caught.value.message) == (17, "no <way>")

    run(main)


def test_curl_calls_us(peers: Peers, tmp_path: Path) -> None:
    curl = shutil.which("curl")
    assert curl is not None, "needs curl"
    document = tmp_path / "call.xml"
    document.write_bytes(xml.dumps_call("appliance.echo", ["x" * 100_000]))

    async def main() -> None:
        async with serving(peers, authenticate=knows) as running:
            argv = [
                *(curl, "--silent", "--show-error", "--insecure", "--max-time", "10"),
                *("--cert", str(peers.a.certificate), "--key", str(peers.a.key), "--user", "admin:secret"),
                *("--header", "Content-Type: text/xml", "--header", "Expect: 100-continue"),
                *("--data-binary", f"@{document}", f"https://{running.target}/RPC2"),
            ]
            done = await trio.run_process(argv, capture_stdout=True, capture_stderr=True, check=False)
            assert done.returncode == 0, done.stderr
            assert xml.loads_response(done.stdout) == ["x" * 100_000]

    run(main)


def test_openssl_is_told_why_it_is_refused(peers: Peers) -> None:
    openssl = shutil.which("openssl")
    assert openssl is not None, "needs openssl"

    async def main() -> None:
        async with serving(peers) as running:
            argv = [openssl, "s_client", "-connect", str(running.target), "-tls1_3", "-quiet"]
            with trio.fail_after(10):
                done = await trio.run_process(argv, capture_stdout=True, capture_stderr=True, check=False)
            assert b"certificate required" in done.stderr
            older = [openssl, "s_client", "-connect", str(running.target), "-tls1_2"]
            done = await trio.run_process(older, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
            assert b"alert protocol version" in done.stdout

    run(main)


def test_the_standard_librarys_tls_is_told_why_it_is_refused(peers: Peers) -> None:
    async def main() -> None:
        async with serving(peers) as running:

            def use() -> None:
                context = peers.raw_context(peers.stranger)
                with (
                    pytest.raises(ssl.SSLError) as caught,
                    xmlrpc.client.ServerProxy(f"https://{running.target}", context=context) as node,
                ):
                    node.appliance.add(1, 2)
                assert caught.value.reason == "TLSV1_ALERT_UNKNOWN_CA"

            await trio.to_thread.run_sync(use)

    run(main)
