"""Who is at the other end of a control socket; needs root to become somebody else."""

import grp
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from appliance.config import Config, Model, User, UserRole
from appliance.config.model import NodeTable
from appliance.control import server, wire
from appliance.control.access import Caller
from appliance.plugin import Command, Node

CONNECT_AS = """
import os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[1]))
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[2])
    connection.recv(1)
"""


ASK_AS = """
import contextlib, os, socket, sys
os.setgroups([])
os.setgid(int(sys.argv[1]))
os.setuid(int(sys.argv[2]))
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect(sys.argv[3])
    # A node that refuses us may have closed already, and does not read what we send.
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(b'{"argv": ["%s"]}\\n' % sys.argv[4].encode())
    with contextlib.suppress(ConnectionResetError):
        while received := connection.recv(65536):
            os.write(1, received)
"""
GROUP, EVE, OLGA, MALLORY = 4200, 4201, 4202, 4203


class People(Model):
    """``[users]``, as some plugin may declare it."""

    roles: dict[str, UserRole]

    def users(self) -> dict[str, User]:
        return {name: User(name=name, role=role) for name, role in self.roles.items()}


async def look(ctx: Any) -> str:
    return f"{ctx.who} looked"


async def change(ctx: Any) -> str:
    return f"{ctx.who} changed it"


def node() -> Any:
    """As much of a node as the control socket needs, with two users."""
    commands = [Command(path=("look",), help="", run=look, reads=True), Command(path=("change",), help="", run=change)]
    return SimpleNamespace(
        node=Node(name="fw1"),
        plugins=SimpleNamespace(commands=lambda: [SimpleNamespace(plugin="x", command=each) for each in commands]),
        config=Config({"users": People(roles={"eve": "viewer", "olga": "operator"})}, node=NodeTable(name="fw1")),
    )


async def asked_as(uid: int, path: Path, *words: str) -> list[wire.Reply | None]:
    """What the node says last to a member of the group, for each of these commands."""
    ends: list[wire.Reply | None] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve_control, path, node())
        for word in words:
            argv = [sys.executable, "-c", ASK_AS, str(GROUP), str(uid), str(path), word]
            done = await trio.run_process(argv, capture_stdout=True)
            replies = [wire.decode_reply(line) for line in done.stdout.splitlines()]
            ends.append(next(each for each in replies if not isinstance(each, wire.Greeting)))
        nursery.cancel_scope.cancel(reason="the test is over")
    return ends


async def caller_as(uid: int, path: Path) -> Caller | wire.Failure:
    with trio.socket.socket(socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        await trio.Path(path).chmod(0o666)
        listener.listen(1)
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.run_process, [sys.executable, "-c", CONNECT_AS, str(uid), str(path)])
                client, _ = await listener.accept()
                with client:
                    return await server._caller(client)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter; those of pytest are private."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.netns
def test_a_stranger_is_refused_whatever_the_mode_of_the_socket_says(open_folder: Path) -> None:
    refusal = trio.run(caller_as, 65534, open_folder / "s")
    assert refusal == wire.Failure(
        message="user 65534 may not control this node", hint="Use root, or join the group `appliance`.", exit=1
    )


@pytest.mark.netns
def test_root_is_let_in(tmp_path: Path) -> None:
    assert trio.run(caller_as, 0, tmp_path / "s") == Caller(name="root", trusted=True)


@pytest.fixture
def members(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A control socket of a machine that has a group `appliance` and three people in it."""
    names = {EVE: "eve", OLGA: "olga", MALLORY: "mallory"}
    monkeypatch.setattr(server, "_group", lambda: grp.struct_group(("appliance", "x", GROUP, [])))
    monkeypatch.setattr(server, "_login_name", names.__getitem__)
    return open_folder / "s"


@pytest.mark.netns
def test_each_member_of_the_group_may_do_what_its_role_allows(members: Path) -> None:
    looked, refused = trio.run(asked_as, EVE, members, "look", "change")
    assert looked == wire.Text(text="eve looked")
    assert isinstance(refused, wire.Failure)
    assert refused.message == "the user eve may only look; `change` changes something"
    assert trio.run(asked_as, OLGA, members, "change") == [wire.Text(text="olga changed it")]


@pytest.mark.netns
def test_a_member_of_the_group_without_an_entry_is_refused_everything(members: Path) -> None:
    for end in trio.run(asked_as, MALLORY, members, "look", "check"):
        assert isinstance(end, wire.Failure)
        assert end.message == "there is no user mallory in [users]"
