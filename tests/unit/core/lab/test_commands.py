"""The command line of the laboratory."""

from __future__ import annotations

import pytest

from appliance.console.grammar import Grammar
from appliance.errors import UnreachableError, UsageError
from appliance.lab.commands import COMMANDS

GRAMMAR = Grammar(COMMANDS)


def test_everything_after_the_node_belongs_to_the_command() -> None:
    parsed = GRAMMAR.parse(["lab", "exec", "--name", "x", "fw1", "appliance", "show", "carp", "--json"])
    assert parsed.arguments["node"] == "fw1"
    assert parsed.arguments["command"] == ("appliance", "show", "carp", "--json")
    assert parsed.arguments["name"] == "x"


def test_options_have_the_defaults_of_the_example() -> None:
    arguments = GRAMMAR.parse(["lab", "up"]).arguments
    assert (arguments["name"], arguments["nodes"], arguments["profile"], arguments["pcap"]) == (
        "default", 2, "book", False,
    )  # fmt: skip
    assert GRAMMAR.parse(["lab", "pull", "fw1", "wan"]).arguments["side"] == "switch"


def test_an_unknown_traffic_is_refused() -> None:
    with pytest.raises(UsageError, match="smoke"):
        GRAMMAR.parse(["lab", "probe", "smoke"])


def test_a_fault_is_undone_by_the_words_that_status_shows() -> None:
    assert GRAMMAR.parse(["lab", "undo", "pull", "fw1", "wan"]).arguments["fault"] == ("pull", "fw1", "wan")
    assert GRAMMAR.parse(["lab", "undo"]).arguments["fault"] == ()


@pytest.mark.parametrize("words", [["status"], ["pull", "fw1", "wan"], ["kill", "fw1"], ["shell", "fw1"], ["undo"]])
def test_without_a_lab_every_command_says_how_to_build_one(words: list[str]) -> None:
    parsed = GRAMMAR.parse(["lab", *words, "--name", "never-built"])
    with pytest.raises(UnreachableError) as nothing:
        parsed.command.run(**parsed.arguments)
    assert "appliance lab up --name never-built" in nothing.value.hint


def test_every_command_accepts_exactly_what_it_declares() -> None:
    import inspect

    from appliance.console.grammar import python_name

    for command in COMMANDS:
        declared = {python_name(argument) for argument in command.arguments}
        assert declared == set(inspect.signature(command.run).parameters), command.path
