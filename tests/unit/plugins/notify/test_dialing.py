"""From which address, and why not."""

from __future__ import annotations

import socket
import ssl

import pytest
import trio

from appliance_notify import dialing
from appliance_notify.dialing import Dialer, tls_reason
from appliance_notify.vocabulary import DeliveryError
from tests.unit.plugins.notify.servers import HOST, run, tcp


def test_where_the_kernel_chooses_an_own_address_it_is_left_to_it() -> None:
    assert Dialer({"192.0.2.1": ("192.0.2.2",)}).source(socket.AF_INET, (HOST, 9)) == ""


def test_a_virtual_address_is_never_used() -> None:
    # 127.0.0.1 is what the kernel chooses; 127.0.0.2 is a further own address of the same interface.
    seen: list[str] = []

    async def answer(stream: trio.SocketStream) -> None:
        seen.append(stream.socket.getpeername()[0])
        await stream.aclose()

    async def main() -> None:
        async with tcp(answer) as port:
            dialer = Dialer({HOST: ("127.0.0.2", "127.0.0.3")})
            async with await dialer.stream(HOST, port) as stream:
                await stream.receive_some()
            with await dialer.datagrams(HOST, port) as made:
                seen.append(made.getsockname()[0])

    run(main)
    # trio.serve_tcp listens on IPv6 and IPv4, and may see one as the other.
    assert [each.removeprefix("::ffff:") for each in seen] == ["127.0.0.2", "127.0.0.2"]


def test_an_interface_with_virtual_addresses_only_sends_nothing() -> None:
    with pytest.raises(DeliveryError, match=r"only the virtual address 127\.0\.0\.1 towards"):
        Dialer({HOST: ()}).source(socket.AF_INET, (HOST, 9))


@pytest.mark.parametrize("name", ["nobody.invalid", "x" * 70 + ".example"])
def test_a_name_that_cannot_be_resolved(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(host: str, port: int, **_: object) -> list[object]:
        if len(host) > 70:
            raise UnicodeError("label too long")
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    async def main() -> None:
        with pytest.raises(DeliveryError, match=f"cannot resolve {name}: "):
            await Dialer({}).stream(name, 80)

    run(main)


def test_name_servers_that_say_nothing_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    release = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: release.wait(10))
    monkeypatch.setattr(dialing, "RESOLVE_S", 0.05)

    async def main() -> None:
        try:
            with pytest.raises(DeliveryError, match="was not resolved within"):
                await Dialer({}).stream("slow.example", 80)
        finally:
            release.set()

    run(main)


def test_the_next_address_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.aclose()

    async def main() -> None:
        async with tcp(answer) as port:
            found = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 1)), (socket.AF_INET, 1, 6, "", (HOST, port))]
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
            async with await Dialer({}).stream("two.example", port):
                pass

    run(main)


def test_reasons_of_tls_are_short() -> None:
    error = ssl.SSLError(1, "x")
    error.reason = "WRONG_VERSION_NUMBER"
    assert tls_reason(error) == "wrong version number"
    assert tls_reason(None) == "it closed the connection"
