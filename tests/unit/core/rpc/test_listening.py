"""Sockets to listen on, and why there is none. Devices that come and go are in tests/netns/rpc."""

from __future__ import annotations

import errno
import os
import socket

import pytest
import trio

from appliance.errors import ApplianceError
from appliance.rpc import Listen
from appliance.rpc.listening import NotYet, accept, device_index, host_port, listen, resolve
from tests.unit.core.rpc.peers import run


def test_an_address_with_its_port_is_written_as_usual() -> None:
    assert host_port("192.0.2.1", 443) == str(Listen(address="192.0.2.1", port=443)) == "192.0.2.1:443"
    assert host_port("2001:db8::1", 443) == "[2001:db8::1]:443"


def test_names_are_never_looked_up() -> None:
    assert resolve("::1", 80)[0] is socket.AF_INET6
    with pytest.raises(OSError, match="Name or service not known"):
        resolve("localhost", 80)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_listener_accepts_and_knows_who_comes(address: str) -> None:
    async def main() -> None:
        listener = listen(Listen(address=address, port=0, device="lo"))
        async with listener:
            client = await trio.open_tcp_stream(address, listener.socket.getsockname()[1])
            stream, source = await accept(listener)
            assert source == address
            assert stream.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            await client.aclose()
            await stream.aclose()

    run(main)


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        (Listen(address="192.0.2.77", port=0), "Cannot assign requested address"),
        (Listen(address="127.0.0.1", port=0, device="absent0"), "No such device"),
        (Listen(address="fe80::1%absent0", port=0), "fe80::1%absent0: "),
    ],
)
def test_what_is_missing_may_come(where: Listen, reason: str) -> None:
    async def main() -> None:
        with pytest.raises(NotYet, match=reason):
            listen(where)

    run(main)


def test_a_port_that_is_taken_may_become_free() -> None:
    async def main() -> None:
        async with listen(Listen(address="127.0.0.1", port=0)) as listener:
            with pytest.raises(NotYet, match="Address already in use"):
                listen(Listen(address="127.0.0.1", port=listener.socket.getsockname()[1]))

    run(main)


def test_a_name_is_no_address() -> None:
    with pytest.raises(ApplianceError, match="cannot listen on 'localhost': it is not an address"):
        listen(Listen(address="localhost", port=0))


def test_what_will_never_work_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forbidden(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket, "socket", Forbidden)
    with pytest.raises(ApplianceError, match=r"cannot listen on 127\.0\.0\.1:80: Permission denied"):
        listen(Listen(address="127.0.0.1", port=80))


def test_a_listener_depends_on_its_device() -> None:
    lo = socket.if_nametoindex("lo")
    assert device_index(Listen(address="127.0.0.1", port=0)) == 0
    assert device_index(Listen(address="127.0.0.1", port=0, device="lo")) == lo
    assert device_index(Listen(address="fe80::1%lo", port=0)) == lo
    assert device_index(Listen(address="127.0.0.1", port=0, device="absent0")) == 0


class Failing:
    """A listening socket that fails some times before it works."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)
        self.made, self.other = socket.socketpair()

    async def accept(self) -> tuple[trio.socket.SocketType, tuple[str, int]]:
        await trio.lowlevel.checkpoint()
        if self.numbers:
            number = self.numbers.pop(0)
            raise OSError(number, os.strerror(number))
        return trio.socket.from_stdlib_socket(self.made), ("192.0.2.2", 1)


class Listener:
    def __init__(self, *numbers: int) -> None:
        self.socket = Failing(*numbers)


def test_errors_of_one_connection_and_a_lack_of_descriptors_pass() -> None:
    async def main() -> None:
        listener = Listener(errno.ECONNABORTED, errno.EMFILE, errno.EPROTO)
        stream, source = await accept(listener)  # type: ignore[arg-type]
        assert source == "192.0.2.2"
        await stream.aclose()
        listener.socket.other.close()

    run(main)


def test_other_errors_end_the_listener() -> None:
    async def main() -> None:
        listener = Listener(errno.EBADF)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await accept(listener)  # type: ignore[arg-type]
        listener.socket.made.close()
        listener.socket.other.close()

    run(main)
