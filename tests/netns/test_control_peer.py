"""Who is at the other end of a control socket; needs root to become somebody else."""

import socket
import sys
from pathlib import Path

import pytest
import trio

from appliance.control import server, wire

CONNECT_AS = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[2])
    connection.recv(1)
"""


async def refusal_of(uid: int, path: Path) -> wire.Failure | None:
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        await trio.Path(path).chmod(0o666)
        listener.listen(1)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.run_process, [sys.executable, "-c", CONNECT_AS, str(uid), str(path)])
                client, _ = await listener.accept()
                with client:
                    return await server._refusal(client)


@pytest.mark.netns
def test_a_stranger_is_refused_whatever_the_mode_of_the_socket_says(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    refusal = trio.run(refusal_of, 65534, tmp_path / "s")
    assert refusal == wire.Failure(
        message="user 65534 may not control this node", hint="Use root, or join the group `appliance`.", exit=1
    )


@pytest.mark.netns
def test_root_is_let_in(tmp_path: Path) -> None:
    assert trio.run(refusal_of, 0, tmp_path / "s") is None
