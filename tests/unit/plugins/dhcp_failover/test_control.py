"""Kea's control socket, against a server that speaks like Kea."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio

from appliance_dhcp_failover.control import Control, KeaError, KeaRefusalError
from appliance_dhcp_failover.kea import CONTROL_SOCKET


def against(directory: Path, answer: bytes | None, body: Callable[[Control], Awaitable[None]]) -> list[object]:
    """Run a body against a server that always says this, or nothing; returns what it was asked."""
    asked: list[object] = []

    async def serve(listener: trio.socket.SocketType) -> None:
        while True:
            connection, _ = await listener.accept()
            with connection:
                asked.append(json.loads(await connection.recv(65536)))
                if answer is None:
                    await trio.sleep_forever()
                else:
                    await connection.send(answer)

    async def main() -> None:
        with trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM) as listener:
            # As Kea does: by a short name, from within.
            handle = os.open(directory, os.O_PATH)
            await listener.bind(f"/proc/self/fd/{handle}/{CONTROL_SOCKET}")
            os.close(handle)
            listener.listen()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, listener)
                with trio.fail_after(5):
                    await body(Control(directory))
                nursery.cancel_scope.cancel()

    trio.run(main)
    return asked


def test_a_command_goes_out_and_its_arguments_come_back(tmp_path: Path) -> None:
    async def body(control: Control) -> None:
        assert await control.command("status-get", {"a": 1}) == {"pid": 7}

    asked = against(tmp_path, b'{"result": 0, "arguments": {"pid": 7}}', body)
    assert asked == [{"command": "status-get", "arguments": {"a": 1}}]


def test_nothing_found_is_no_error_and_lists_are_unwrapped(tmp_path: Path) -> None:
    async def body(control: Control) -> None:
        assert await control.command("lease4-get-page") == {}

    against(tmp_path, b'[{"result": 3, "text": "0 leases found"}]', body)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"result": 1, "text": "bad subnet"}', "Kea refused config-set: bad subnet"),
        (b"", "no JSON object"),
        (b"[1, 2]", "no JSON object"),
        (None, "has not answered config-set in 0.1 s"),
    ],
)
def test_a_refusal_nonsense_and_silence_are_said(tmp_path: Path, answer: bytes | None, message: str) -> None:
    async def body(control: Control) -> None:
        with pytest.raises(KeaError, match=message) as caught:
            await control.command("config-set", within_s=0.1)
        assert isinstance(caught.value, KeaRefusalError) is ("refused" in message)

    against(tmp_path, answer, body)


def test_without_a_server_it_is_said_that_kea_does_not_run(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(KeaError, match="Kea does not run"):
            await Control(tmp_path).command("status-get")

    trio.run(main)


def test_a_directory_may_have_a_long_name(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 150)
    deep.mkdir()

    async def body(control: Control) -> None:
        assert await control.command("status-get") == {}

    against(deep, b'{"result": 0}', body)
