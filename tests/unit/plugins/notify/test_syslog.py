"""Syslog, against real servers."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from appliance_notify.dialing import Dialer
from appliance_notify.formats import local_lines, syslog_lines
from appliance_notify.settings import Syslog
from appliance_notify.syslog import deliver
from appliance_notify.vocabulary import DeliveryError, Message
from tests.unit.plugins.notify.servers import HOST, MESSAGE, Certificate, free_port, run, tcp

TWO = replace(MESSAGE, more=3)
UDP = Syslog(name="central", transport="udp", host=HOST, port=0)


async def received(target: Syslog, message: Message, certificate: Certificate | None = None) -> list[bytes]:
    """What a TCP server gets until the end of the connection, as lines with their counts."""
    data = bytearray()
    done = trio.Event()

    async def answer(stream: trio.SocketStream) -> None:
        source: trio.abc.ReceiveStream = stream
        if certificate is not None:
            source = trio.SSLStream(stream, certificate.context(), server_side=True)
        async for part in source:
            data.extend(part)
        done.set()

    async with tcp(answer) as port:
        await deliver(replace(target, port=port), message, Dialer({}))
        await done.wait()
    lines, rest = [], bytes(data)
    while rest:
        count, _, rest = rest.partition(b" ")
        lines.append(rest[: int(count)])
        rest = rest[int(count) :]
    return lines


def test_udp_has_one_datagram_for_each_line() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((HOST, 0))
        server.settimeout(5)
        run(lambda: deliver(replace(UDP, port=server.getsockname()[1]), TWO, Dialer({})))
        assert [server.recv(4096), server.recv(4096)] == syslog_lines(TWO, "daemon")


def test_udp_to_a_port_where_nobody_listens_is_noticed_by_the_second_line() -> None:
    async def main() -> None:
        with pytest.raises(DeliveryError, match="Connection refused"):
            await deliver(replace(UDP, port=free_port()), TWO, Dialer({}))

    run(main)


def test_tcp_counts_octets() -> None:
    async def main() -> None:
        assert await received(replace(UDP, transport="tcp", facility="local0"), TWO) == syslog_lines(TWO, "local0")

    run(main)


def test_tls_is_the_same_inside(certificate: Certificate) -> None:
    async def main() -> None:
        target = replace(UDP, transport="tls", ca_file=str(certificate.path))
        assert await received(target, TWO, certificate) == syslog_lines(TWO, "daemon")

    run(main)


def test_tls_with_somebody_who_speaks_none() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.send_all(b"what do you want?\n")

    async def main() -> None:
        async with tcp(answer) as port:
            with pytest.raises(DeliveryError, match=f"no TLS with {HOST}"):
                await deliver(replace(UDP, transport="tls", port=port), TWO, Dialer({}))

    run(main)


def test_tcp_to_nobody() -> None:
    async def main() -> None:
        with pytest.raises(DeliveryError, match="Connection refused"):
            await deliver(replace(UDP, transport="tcp", port=free_port()), TWO, Dialer({}))

    run(main)


def test_a_server_that_resets_the_connection_has_not_taken_it() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        stream.socket.close()

    async def main() -> None:
        async with tcp(answer) as port:
            with pytest.raises(DeliveryError, match="broke"):
                await deliver(replace(UDP, transport="tcp", port=port), TWO, Dialer({}))

    run(main)


def test_the_daemon_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "log"
    target = Syslog(name="here", transport="local", path=str(path))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
        daemon.bind(str(path))
        daemon.settimeout(5)
        run(lambda: deliver(target, TWO, Dialer({})))
        assert [daemon.recv(4096), daemon.recv(4096)] == local_lines(TWO, "daemon")


def test_a_machine_without_one(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(DeliveryError, match=r"cannot write to .*/log: No such file or directory"):
            await deliver(Syslog(name="here", transport="local", path=str(tmp_path / "log")), TWO, Dialer({}))

    run(main)
