import json
from typing import Any

import pytest

from appliance.console import local
from appliance.console.grammar import Grammar
from appliance.plugin import Argument, Command, Where


def run(handler: Any, *argv: str, arguments: tuple[Argument, ...] = (), render: Any = None) -> int:
    command = Command(path=("it",), help="Does it.", run=handler, arguments=arguments, render=render, where=Where.LOCAL)
    return local.run(Grammar([command]).parse(["it", *argv]))


@pytest.mark.parametrize(("result", "status"), [(None, 0), (0, 0), (3, 3)])
def test_a_number_or_nothing_is_the_exit_status(result: int | None, status: int) -> None:
    assert run(lambda: result) == status


def test_data_is_printed_like_that_of_a_node(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(lambda: {"node": "fw1"}) == 0
    assert capsys.readouterr().out == "node  fw1\n"
    assert run(lambda: {"node": "fw1"}, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"node": "fw1"}
    assert run(lambda: {"node": "\x1b"}, render=lambda data: data["node"]) == 0
    assert capsys.readouterr().out == "\\x1b\n"


def test_a_command_that_declares_json_itself_gets_it() -> None:
    seen = []
    run(lambda json: seen.append(json), "--json", arguments=(Argument(name="--json", flag=True),))
    assert seen == [True]


def test_the_grammar_of_one_word_has_nothing_else() -> None:
    assert {command.path[0] for command in local.grammar("plugin").commands()} == {"plugin"}


def test_the_commands_of_a_plugin_are_found_by_its_name_or_else_among_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {command.path[:2] for command in local.grammar("nat").commands()} == {("nat", "convert")}
    of = local._of_plugins
    monkeypatch.setattr(local, "_of_plugins", lambda wanted: of(lambda name: wanted(name) and "nat" not in name))
    assert not local.grammar("nat").knows(["nat"])
    assert {"run", "image"} <= {command.path[0] for command in local.grammar("nat").commands()}


def test_everything_has_local_and_node_commands_and_those_of_plugins() -> None:
    paths = {command.path for command in local.everything().commands()}
    assert {("run",), ("check",), ("lab", "up"), ("show", "ha"), ("show", "carp"), ("config", "diff")} <= paths


def test_every_command_has_help_and_no_words_are_taken_twice() -> None:
    grammar = local.everything()
    assert grammar.conflicts == ()
    for command in grammar.commands():
        assert command.help, command.path
        assert f"usage: appliance {' '.join(command.path)}" in grammar.help(command.path)
