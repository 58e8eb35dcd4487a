"""Lines of commands are understood and completed from the declarations of the commands."""

from typing import Any

import pytest

from appliance.console.shell.commandline import CommandLine, plain_values
from appliance.console.shell.words import LineError, split
from appliance.plugin import Argument, Command


def command(words: str, *arguments: Argument, help: str = "") -> Command:  # noqa: A002
    return Command(path=tuple(words.split()), help=help or f"About {words}.", run=print, arguments=arguments)


COMMANDS = (
    command("show ha"),
    command("show carp", Argument(name="--vhid", type=int, help="only this one")),
    command("show firewall", Argument(name="interface", help="only its rules"), Argument(name="--limit", type=int)),
    command("show firewall log", Argument(name="words...", help="narrow it down"), Argument(name="--limit", type=int)),
    command("ha maintenance", Argument(name="state", choices=("on", "off"), required=True)),
    command("ha switchover"),
    command("events", Argument(name="--follow", flag=True), Argument(name="--count", type=int, default=50)),
)
LINE = CommandLine(COMMANDS, plain_values({"interface": ["lan", "wan"]}))


def argv(text: str) -> list[str]:
    return LINE.argv(split(text).words, len(text))


def refused(text: str) -> LineError:
    with pytest.raises(LineError) as caught:
        argv(text)
    return caught.value


def offered(text: str) -> list[str]:
    return [choice.text for choice in LINE.complete(*split(text).partial())]


@pytest.mark.parametrize(
    ("typed", "full"),
    [
        ("sh ca", ["show", "carp"]),
        ("sh ca --vh 3", ["show", "carp", "--vhid", "3"]),
        ("sh ca --vhid=3", ["show", "carp", "--vhid=3"]),
        ("h m of", ["ha", "maintenance", "off"]),
        ("sh f lan", ["show", "firewall", "lan"]),
        ("sh f log tcp --x", ["show", "firewall", "log", "--", "tcp", "--x"]),
        ("sh f log --lim 5", ["show", "firewall", "log", "--limit", "5"]),
        ("sh f log --limit 5 tcp --x", ["show", "firewall", "log", "--limit", "5", "--", "tcp", "--x"]),
        ('sh f log "--x"', ["show", "firewall", "log", "--", "--x"]),
        ("ev --fo", ["events", "--follow"]),
    ],
)
def test_abbreviations_are_spelled_out(typed: str, full: list[str]) -> None:
    assert argv(typed) == full


@pytest.mark.parametrize(
    ("text", "message", "at"),
    [
        ("show cap", "unknown command `cap`", 5),
        ("sho", "`show` is not complete", 3),
        ("", "a command is needed", 0),
        ("ha maintenance maybe", "`maybe` is not a value of state: on, off", 15),
        ("show carp --vhid x", "`x` is not a whole number (--vhid)", 17),
        ("show ha now", "unexpected argument `now`", 8),
        ("show carp --speed 3", "unknown option `--speed`", 10),
    ],
)
def test_errors_have_their_place(text: str, message: str, at: int) -> None:
    error = refused(text)
    assert (error.message, error.at) == (message, at)


def test_an_ambiguous_word_names_what_it_may_be() -> None:
    with pytest.raises(LineError, match="`c` may be carp, cluster"):
        CommandLine([*COMMANDS, command("show cluster")]).argv(split("show c").words, 6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["events", "ha", "show"]),
        ("sh", ["show"]),
        ("show ", ["carp", "firewall", "ha"]),
        ("ha maintenance ", ["on", "off"]),
        ("ha maintenance of", ["off"]),
        ("show carp ", ["--vhid"]),
        ("show carp --vhid ", ["<vhid>"]),
        ("show firewall ", ["log", "lan", "wan", "--limit"]),
        ("show firewall w", ["wan"]),
        ("events --follow ", ["--count"]),
        ("show ha ", []),
    ],
)
def test_completion_offers_what_may_follow(text: str, words: list[str]) -> None:
    assert offered(text) == words


def test_choices_say_what_they_are_for() -> None:
    helps: dict[str, Any] = {each.text: each.help for each in LINE.complete(*split("").partial())}
    assert helps == {
        "events": "About events.",
        "ha": "maintenance, switchover",
        "show": "carp, firewall, ha",
    }
    (count,) = LINE.complete(*split("events --count ").partial())
    assert count.help == "a whole number; default 50"
