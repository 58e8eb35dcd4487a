import contextlib
import json
import os
import pwd
import socket
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from appliance.control import client, server, wire
from appliance.errors import ApplianceError
from appliance.events import Request, SetMaintenance
from appliance.plugin import Argument, Command, Where


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        with trio.fail_after(20):
            await main()

    trio.run(bounded)


@contextlib.asynccontextmanager
async def serving(path: Path, node: Any) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve_control, path, node)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()


async def ask(path: Path, *argv: str, as_json: bool = False) -> list[wire.Reply]:
    return await trio.to_thread.run_sync(lambda: list(client.request(path, argv, json=as_json)))


def command(words: str, handler: Callable[..., Any], *arguments: Argument, **more: Any) -> Command:
    return Command(path=tuple(words.split()), help="Does it.", run=handler, arguments=arguments, **more)


async def hello(ctx: Any, name: str) -> dict[str, str]:
    return {"node": ctx.node.name, "hello": name}


HELLO = command("hello", hello, Argument(name="name", default="you"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


@pytest.fixture
def node(make_node: Any) -> Any:
    made = make_node()
    made.plugins.contributed.append(HELLO)
    return made


def test_a_command_answers_with_data_or_with_text(path: Path, node: Any) -> None:
    async def main() -> None:
        async with serving(path, node):
            assert await ask(path, "hello", "bob", as_json=True) == [
                wire.Data(data={"node": "fw1", "hello": "bob"}),
                wire.Exit(status=0),
            ]
            assert await ask(path, "hello") == [wire.Text(text="node   fw1\nhello  you"), wire.Exit(status=0)]

    run(main)


def test_the_cores_own_commands_are_there(path: Path, node: Any) -> None:
    async def main() -> None:
        async with serving(path, node):
            for words in (
                "show ha",
                "show plugins",
                "show services",
                "show bus",
                "show version",
                "show alarms",
                "doctor",
            ):
                replies = await ask(path, *words.split(), as_json=True)
                assert isinstance(replies[0], wire.Data), words
                assert replies[-1] == wire.Exit(status=0), words
                assert isinstance((await ask(path, *words.split()))[0], wire.Text), words

    run(main)


def test_a_wrong_command_line_is_a_usage_error_with_status_2(path: Path, node: Any) -> None:
    async def main() -> None:
        async with serving(path, node):
            [failure] = await ask(path, "hallo")
            assert failure == wire.Failure(
                message="unknown command `hallo`", hint="Did you mean `appliance hello`?", exit=2
            )

    run(main)


def test_a_local_command_is_sent_back_to_the_caller(path: Path, node: Any) -> None:
    node.plugins.contributed.append(command("image build", lambda: 0, where=Where.LOCAL))

    async def main() -> None:
        async with serving(path, node):
            assert await ask(path, "image", "build") == [wire.RunLocally()]
            assert await ask(path, "run", "-c", "x") == [wire.RunLocally()]

    run(main)


def test_a_command_can_call_a_provider_and_set_the_exit_status(path: Path, node: Any) -> None:
    async def answer(request: Request[str]) -> str:
        assert isinstance(request, SetMaintenance)
        return "in maintenance" if request.on else "back"

    async def maintain(ctx: Any) -> str:
        ctx.exit_code = 1
        return str(await ctx.call(SetMaintenance(on=True)))

    node.plugins.contributed.append(command("maintain", maintain))

    async def main() -> None:
        with node.bus.serve(SetMaintenance, answer, source="carp/carp"):
            async with serving(path, node):
                assert await ask(path, "maintain") == [wire.Text(text="in maintenance"), wire.Exit(status=1)]

    run(main)


def test_a_stream_ends_when_its_client_goes_away(path: Path, node: Any) -> None:
    ended = trio.Event()

    async def count(ctx: Any) -> AsyncGenerator[dict[str, int], None]:
        try:
            for number in range(1_000_000):
                yield {"n": number}
                await trio.sleep(0.001)
        finally:
            ended.set()

    node.plugins.contributed.append(command("count", count))

    async def main() -> None:
        async with serving(path, node):
            stream = await trio.open_unix_socket(str(path))
            async with stream:
                await stream.send_all(wire.encode_request(wire.Request(argv=("count",), json=True)))
                received = b""
                while received.count(b"\n") < 4:
                    received += await stream.receive_some(4096)
            first = [wire.decode_reply(line) for line in received.splitlines()[:3]]
            assert first == [wire.Greeting(node="fw1"), wire.Data(data={"n": 0}), wire.Data(data={"n": 1})]
            with trio.fail_after(2):
                await ended.wait()

    run(main)


def test_a_waiting_command_is_cancelled_when_its_client_goes_away(path: Path, node: Any) -> None:
    began, ended = trio.Event(), trio.Event()

    async def wait(ctx: Any) -> None:
        began.set()
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    node.plugins.contributed.append(command("wait", wait))

    async def main() -> None:
        async with serving(path, node):
            async with await trio.open_unix_socket(str(path)) as stream:
                await stream.send_all(b'{"argv": ["wait"]}\n')
                await began.wait()
            with trio.fail_after(2):
                await ended.wait()

    run(main)


def test_the_socket_is_for_the_owner_and_its_group_and_disappears_with_the_node(path: Path, node: Any) -> None:
    async def main() -> None:
        async with serving(path, node):
            found = os.stat(path)
            assert stat.S_ISSOCK(found.st_mode)
            assert stat.S_IMODE(found.st_mode) == 0o660

    run(main)
    assert not path.exists()


def test_its_folder_lets_everybody_through_whatever_the_umask_is(path: Path, node: Any) -> None:
    async def main() -> None:
        async with serving(path, node):
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o755

    before = os.umask(0o077)
    try:
        run(main)
    finally:
        os.umask(before)


def test_a_second_node_is_refused_while_the_first_lives(path: Path, node: Any) -> None:
    async def main() -> None:
        async with serving(path, node):
            with pytest.raises(ApplianceError) as refused:
                await server.serve_control(path, node)
            assert "already running" in refused.value.message
            assert "--socket" in refused.value.hint
            assert (await ask(path, "hello"))[-1] == wire.Exit(status=0)

    run(main)


def test_the_socket_of_a_dead_node_is_replaced(path: Path, node: Any) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()

    async def main() -> None:
        async with serving(path, node):
            assert (await ask(path, "hello"))[-1] == wire.Exit(status=0)

    run(main)


def test_a_node_that_exits_leaves_the_socket_of_its_successor_alone(path: Path, node: Any) -> None:
    async def main() -> None:
        async with serving(path, node):
            os.unlink(path)
            os.mkdir(path)

    run(main)
    assert path.exists()


def test_a_file_that_is_not_a_socket_is_never_removed(path: Path, node: Any) -> None:
    path.parent.mkdir()
    path.write_text("precious")

    async def main() -> None:
        with pytest.raises(ApplianceError, match="is not a socket"):
            await server.serve_control(path, node)

    run(main)
    assert path.read_text() == "precious"


def test_a_path_that_is_too_long_is_refused_with_a_remedy(tmp_path: Path, node: Any) -> None:
    async def main() -> None:
        with pytest.raises(ApplianceError) as refused:
            await server.serve_control(tmp_path / ("x" * 120), node)
        assert "107 bytes" in refused.value.hint

    run(main)


def test_a_client_that_sends_nothing_is_let_go(path: Path, node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_TIME_S", 0.05)

    async def main() -> None:
        async with serving(path, node), await trio.open_unix_socket(str(path)) as stream:
            received = b"".join([chunk async for chunk in stream])
            last = wire.decode_reply(received.splitlines()[-1])
            assert isinstance(last, wire.Failure)
            assert "no request" in last.message

    run(main)


def test_nonsense_is_answered_with_an_error(path: Path, node: Any) -> None:
    async def main() -> None:
        async with serving(path, node):
            for nonsense in (b"GET / HTTP/1.1\r\n", b"x" * (wire.REQUEST_LINE_MAX + 1)):
                async with await trio.open_unix_socket(str(path)) as stream:
                    await stream.send_all(nonsense)
                    received = b""
                    with contextlib.suppress(trio.BrokenResourceError):
                        async for chunk in stream:
                            received += chunk
                    assert isinstance(wire.decode_reply(received.splitlines()[-1]), wire.Failure)

    run(main)


def test_too_many_clients_are_told_so_and_a_free_place_is_used_again(
    path: Path, node: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CLIENTS_MAX", 2)

    async def main() -> None:
        async with serving(path, node):
            held = [await trio.open_unix_socket(str(path)) for _ in range(2)]
            for stream in held:
                assert await stream.receive_some(4096)
            [failure] = await ask(path, "hello")
            assert isinstance(failure, wire.Failure)
            assert "connected already" in failure.message
            await held[0].aclose()
            for _ in range(100):
                await trio.sleep(0.01)
                end = (await ask(path, "hello"))[-1]
                if end == wire.Exit(status=0):
                    break
            assert end == wire.Exit(status=0)
            await held[1].aclose()

    run(main)


def test_a_client_that_does_not_read_does_not_stop_the_others(path: Path, node: Any) -> None:
    async def flood(ctx: Any) -> AsyncGenerator[str, None]:
        while True:
            yield "x" * 10_000

    node.plugins.contributed.append(command("flood", flood))

    async def main() -> None:
        async with serving(path, node), await trio.open_unix_socket(str(path)) as deaf:
            await deaf.send_all(b'{"argv": ["flood"]}\n')
            await trio.sleep(0.05)
            with trio.fail_after(2):
                assert (await ask(path, "hello"))[-1] == wire.Exit(status=0)

    run(main)


@pytest.mark.parametrize("group", ["none", "primary", "member", "other"])
def test_members_of_the_group_are_let_in(group: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import grp
    import pwd

    made = {
        "none": None,
        "primary": grp.struct_group(("appliance", "x", 500, [])),
        "member": grp.struct_group(("appliance", "x", 501, ["alice"])),
        "other": grp.struct_group(("appliance", "x", 502, ["bob"])),
    }
    alice = pwd.struct_passwd(("alice", "x", 1000, 500, "", "/", "/bin/sh"))
    monkeypatch.setattr(server, "_group", lambda: made[group])
    monkeypatch.setattr(server.pwd, "getpwuid", lambda uid: alice)
    assert server._is_member(1000, 100) is (group in ("primary", "member"))


def test_the_node_goes_by_login_names_and_a_number_is_none() -> None:
    assert server._login_name(0) == "root"
    assert server._login_name(2**31 - 7) == f"uid {2**31 - 7}"


def test_a_command_knows_who_runs_it(path: Path, node: Any) -> None:
    async def who(ctx: Any) -> str:
        return str(ctx.who)

    node.plugins.contributed.append(command("who", who))

    async def main() -> None:
        async with serving(path, node):
            own = pwd.getpwuid(os.geteuid()).pw_name
            assert await ask(path, "who") == [wire.Text(text=own), wire.Exit(status=0)]

    run(main)


def test_the_protocol_can_be_spoken_by_hand(path: Path, node: Any) -> None:
    async def main() -> None:
        async with serving(path, node), await trio.open_unix_socket(str(path)) as stream:
            await stream.send_all(b'{"argv":["hello","x"],"json":true}\n')
            received = b"".join([chunk async for chunk in stream])
            assert [json.loads(line) for line in received.splitlines()] == [
                {"node": "fw1", "protocol": 1},
                {"data": {"node": "fw1", "hello": "x"}},
                {"exit": 0},
            ]

    run(main)
