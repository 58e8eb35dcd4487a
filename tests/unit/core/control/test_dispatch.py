from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from appliance.config import Config, Model, User, UserRole
from appliance.config.model import NodeTable
from appliance.control import wire
from appliance.control.access import Caller
from appliance.control.dispatch import Dispatcher
from appliance.errors import RefusedError
from appliance.events import Request, SetMaintenance
from appliance.plugin import Argument, Command

ROOT = Caller(name="root", trusted=True)


def command(handler: Callable[..., Any], *arguments: Argument, **more: Any) -> Command:
    return Command(path=(handler.__name__,), help="Does it.", run=handler, arguments=arguments, **more)


def answers(node: Any, *argv: str, as_json: bool = False, width: int = 0, caller: Caller = ROOT) -> list[wire.Reply]:
    """Everything a node sends for one command line; each reply has to fit the wire."""
    sent: list[wire.Reply] = []

    async def send(reply: wire.Reply) -> None:
        wire.encode_reply(reply)
        sent.append(reply)

    async def main() -> None:
        await Dispatcher(node).answer(wire.Request(argv=argv, json=as_json, width=width), send, caller)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return sent


@pytest.fixture
def node(make_node: Any) -> Any:
    return make_node(trio.current_time)


async def hello(ctx: Any, name: str) -> dict[str, str]:
    return {"node": ctx.node.name, "hello": name}


async def refuse(ctx: Any) -> None:
    raise RefusedError("no healthy peer", hint="Use --force.")


async def crash(ctx: Any) -> None:
    raise ZeroDivisionError("division by zero")


async def crash_in_nursery(ctx: Any) -> None:
    async with trio.open_nursery():
        raise RefusedError("inside", hint="a group")


async def ask_nobody(ctx: Any) -> str:
    return str(await ctx.call(SetMaintenance(on=True)))


async def slow(ctx: Any) -> None:
    with trio.fail_after(2):
        await trio.sleep_forever()


def broken_render(data: Any) -> str:
    return str(data["absent"])


NAME = Argument(name="name", default="you")


def test_help_is_answered_and_the_command_is_not_run(node: Any) -> None:
    node.plugins.contributed = [command(crash)]
    text, end = answers(node, "crash", "--help")
    assert isinstance(text, wire.Text)
    assert text.text.startswith("usage: appliance crash")
    assert end == wire.Exit(status=0)


@pytest.mark.parametrize("argv", [("--help",), ("nonsense", "--help")])
def test_help_of_everything_is_the_callers_who_has_local_commands_too(node: Any, argv: tuple[str, ...]) -> None:
    assert answers(node, *argv) == [wire.RunLocally()]


@pytest.mark.parametrize(
    ("contributed", "message"),
    [
        (command(refuse), "no healthy peer"),
        (command(crash), "`crash` failed: ZeroDivisionError: division by zero"),
        (command(crash_in_nursery), "inside"),
        (command(ask_nobody), "nobody on this node can answer"),
        (command(slow), "the node did not do it in time"),
        (command(hello, NAME, render=broken_render), "`hello` failed: KeyError: 'absent'"),
    ],
    ids=lambda value: value.path[0] if isinstance(value, Command) else "",
)
def test_whatever_a_command_raises_ends_the_command_with_a_remedy(
    contributed: Command, message: str, node: Any
) -> None:
    node.plugins.contributed = [contributed]
    [failure] = answers(node, *contributed.path)
    assert isinstance(failure, wire.Failure)
    assert failure.message.startswith(message)
    assert failure.hint
    assert failure.exit == 1


def test_a_result_that_is_not_plain_data_is_a_failure_of_its_command(node: Any) -> None:
    async def odd(ctx: Any) -> object:
        return {1, 2}

    node.plugins.contributed = [command(odd)]
    [failure] = answers(node, "odd", as_json=True)
    assert isinstance(failure, wire.Failure)
    assert "not plain data" in failure.message


def test_the_bug_of_a_provider_names_the_bug_and_not_the_bus(node: Any) -> None:
    async def provide(_: Request[str]) -> str:
        raise KeyError("vhid")

    node.plugins.contributed = [command(ask_nobody)]
    with node.bus.serve(SetMaintenance, provide, source="carp/carp"):
        [failure] = answers(node, "ask_nobody")
    assert isinstance(failure, wire.Failure)
    assert "KeyError: 'vhid'" in failure.message


def test_items_of_a_stream_are_sent_as_they_come_also_before_a_failure(node: Any) -> None:
    closed = []

    async def stream(ctx: Any) -> AsyncGenerator[dict[str, int], None]:
        try:
            yield {"n": 1}
            yield {"n": 2}
            raise RefusedError("enough", hint="Stop.")
        finally:
            closed.append(True)

    node.plugins.contributed = [command(stream)]
    assert answers(node, "stream", as_json=True) == [
        wire.Data(data={"n": 1}),
        wire.Data(data={"n": 2}),
        wire.Failure(message="enough", hint="Stop.", exit=1),
    ]
    assert closed == [True]


def test_a_stream_without_an_item_tells_people_so_and_programs_nothing(node: Any) -> None:
    async def stream(ctx: Any, *, full: bool) -> AsyncGenerator[int, None]:
        if full:
            yield 1

    node.plugins.contributed = [command(stream, Argument(name="--full", flag=True), empty="nothing is there")]
    done = wire.Exit(status=0)
    assert answers(node, "stream") == [wire.Text(text="nothing is there"), done]
    assert answers(node, "stream", as_json=True) == [done]
    assert answers(node, "stream", "--full") == [wire.Text(text="1"), done]


def test_what_another_node_said_does_not_act_on_the_terminal_of_whom_it_is_repeated_to(node: Any) -> None:
    def fails(ctx: Any) -> None:
        raise RefusedError("fw2: \x1b[2J\x9b2J no", hint="Try\nagain.")

    node.plugins.contributed = [command(fails)]
    (failure,) = answers(node, "fails")
    assert failure == wire.Failure(message="fw2: \\x1b[2J\\x9b2J no", hint="Try\nagain.", exit=1)


def test_a_stream_is_closed_when_its_reader_is_gone(node: Any) -> None:
    closed = []

    async def stream(ctx: Any) -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    node.plugins.contributed = [command(stream)]

    async def main() -> None:
        with trio.CancelScope() as scope:

            async def send(_: wire.Reply) -> None:
                scope.cancel()
                await trio.lowlevel.checkpoint()

            await Dispatcher(node).answer(wire.Request(argv=("stream",)), send, ROOT)

    trio.run(main)
    assert closed == [True]


def test_a_command_that_returns_nothing_only_ends(node: Any) -> None:
    async def quiet(ctx: Any) -> None:
        ctx.exit_code = 1

    node.plugins.contributed = [command(quiet)]
    assert answers(node, "quiet") == [wire.Exit(status=1)]


def test_text_from_the_network_cannot_drive_a_terminal_even_through_a_plugins_renderer(node: Any) -> None:
    node.plugins.contributed = [command(hello, NAME, render=lambda data: f"hello {data['hello']}")]
    assert answers(node, "hello", "\x1b[2Jbob")[0] == wire.Text(text="hello \\x1b[2Jbob")


def test_a_wide_table_is_wrapped_to_the_callers_terminal(node: Any) -> None:
    async def wide(ctx: Any) -> list[dict[str, str]]:
        return [{"name": "a", "text": "word " * 30}]

    node.plugins.contributed = [command(wide)]
    [text, _] = answers(node, "wide", width=40)
    assert isinstance(text, wire.Text)
    assert max(len(line) for line in text.text.splitlines()) <= 40


def test_a_plugin_cannot_take_the_words_of_the_core(node: Any) -> None:
    async def impostor(ctx: Any) -> str:
        return "all is well"

    node.plugins.contributed = [Command(path=("show", "version"), help="", run=impostor)]
    [data, _] = answers(node, "show", "version", as_json=True)
    assert isinstance(data, wire.Data)
    assert data.data["node"] == "fw1"


def test_a_plugin_that_comes_or_goes_changes_what_is_understood(node: Any) -> None:
    assert isinstance(answers(node, "hello")[0], wire.Failure)
    node.plugins.contributed = [command(hello, NAME)]
    assert answers(node, "hello")[-1] == wire.Exit(status=0)


def users(**roles: UserRole) -> Config:
    """A configuration with these users."""
    return Config({"users": People(roles=roles)}, node=NodeTable(name="fw1"))


class People(Model):
    roles: dict[str, UserRole]

    def users(self) -> dict[str, User]:
        return {name: User(name=name, role=role) for name, role in self.roles.items()}


def test_a_viewer_runs_what_only_looks_and_nothing_that_changes(node: Any) -> None:
    ran = []

    async def change(ctx: Any) -> str:
        ran.append(ctx.who)
        return "changed"

    node.config = users(eve="viewer", olga="operator")
    node.plugins.contributed = [command(change), command(hello, NAME, reads=True)]
    eve, olga = Caller(name="eve"), Caller(name="olga")
    assert answers(node, "hello", caller=eve)[-1] == wire.Exit(status=0)
    assert answers(node, "show", "version", caller=eve)[-1] == wire.Exit(status=0)
    assert answers(node, "change", caller=eve) == [
        wire.Failure(
            message="the user eve may only look; `change` changes something",
            hint='Let an operator do it, or as root set role = "operator" in [users.eve].',
            exit=1,
        )
    ]
    [refused] = answers(node, "config", "reload", caller=eve)
    assert isinstance(refused, wire.Failure)
    assert refused.message.startswith("the user eve may only look; `config reload`")
    assert answers(node, "change", caller=olga)[-1] == wire.Exit(status=0)
    assert answers(node, "change")[-1] == wire.Exit(status=0)
    assert ran == ["olga", "root"]


def test_what_runs_on_the_callers_side_is_not_the_nodes_to_refuse(node: Any) -> None:
    node.config = users(eve="viewer")
    assert answers(node, "check", caller=Caller(name="eve")) == [wire.RunLocally()]


def test_who_may_not_even_look_is_told_so_and_it_is_logged(node: Any) -> None:
    node.config = users(eve="viewer")

    async def main() -> None:
        dispatcher = Dispatcher(node)
        refused = await dispatcher.refusal(Caller(name="mallory"))
        assert refused is not None
        assert refused.message == "there is no user mallory in [users]"
        assert await dispatcher.refusal(Caller(name="eve")) is None

    trio.run(main)
