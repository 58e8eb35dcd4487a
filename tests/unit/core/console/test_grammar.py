from typing import Any

import pytest

from appliance.console.grammar import Grammar, usage
from appliance.errors import UsageError
from appliance.plugin import Argument, Command, Where


def nothing(**_: Any) -> int:
    return 0


def command(words: str, *arguments: Argument, help: str = "Does it.") -> Command:  # noqa: A002
    return Command(path=tuple(words.split()), help=help, run=nothing, arguments=arguments, where=Where.LOCAL)


EVENTS = command(
    "events",
    Argument(name="--follow", flag=True),
    Argument(name="--type"),
    Argument(name="--count", type=int, default=9),
)
WHY = command("events why", Argument(name="seq", type=int, required=True))
MAINTENANCE = command("ha maintenance", Argument(name="state", choices=("on", "off"), required=True))
RUN = command(
    "run", Argument(name="--config", default="/etc/a.toml"), Argument(name="--state-dir"), Argument(name="--socket")
)
EXEC = command("lab exec", Argument(name="node", required=True), Argument(name="command...", required=True))
SHELL = command("lab shell", Argument(name="node"))
SHOW = command("show carp", Argument(name="vhid", type=int))
GRAMMAR = Grammar([EVENTS, WHY, MAINTENANCE, RUN, EXEC, SHELL, SHOW])


def refusal(line: str) -> UsageError:
    with pytest.raises(UsageError) as refused:
        GRAMMAR.parse(line.split())
    return refused.value


def test_every_declared_argument_is_passed_with_its_default() -> None:
    parsed = GRAMMAR.parse(["events"])
    assert parsed.command is EVENTS
    assert parsed.arguments == {"follow": False, "type": None, "count": 9}


def test_options_take_their_value_with_and_without_an_equals_sign() -> None:
    assert GRAMMAR.parse(["events", "--count=3", "--type", "X", "--follow"]).arguments == {
        "follow": True,
        "type": "X",
        "count": 3,
    }


def test_the_longest_command_wins() -> None:
    parsed = GRAMMAR.parse(["events", "why", "12"])
    assert parsed.command is WHY
    assert parsed.arguments == {"seq": 12}


def test_short_options_stand_for_config_and_socket() -> None:
    parsed = GRAMMAR.parse(["run", "-c", "x.toml", "-s", "/tmp/s"])
    assert parsed.arguments == {"config": "x.toml", "state_dir": None, "socket": "/tmp/s"}


def test_global_options_are_understood_anywhere() -> None:
    for line in ("--json show carp", "show --json carp", "show carp --json 7", "show carp 7 --json"):
        parsed = GRAMMAR.parse(line.split())
        assert parsed.json
        assert "json" not in parsed.arguments
    assert GRAMMAR.parse(["--socket=/x", "show", "carp"]).socket == "/x"


def test_the_last_argument_may_take_all_the_rest_untouched() -> None:
    parsed = GRAMMAR.parse(["lab", "exec", "fw1", "ping", "-c", "1", "--json"])
    assert parsed.arguments == {"node": "fw1", "command": ("ping", "-c", "1", "--json")}
    assert not parsed.json


def test_after_two_dashes_everything_is_positional() -> None:
    assert GRAMMAR.parse(["lab", "exec", "--", "fw1", "--help"]).arguments == {"node": "fw1", "command": ("--help",)}


def test_a_negative_number_is_not_an_option() -> None:
    assert GRAMMAR.parse(["show", "carp", "-5"]).arguments == {"vhid": -5}


def test_a_misspelled_command_names_what_was_meant() -> None:
    assert refusal("shwo carp").hint == "Did you mean `appliance show`?"
    assert refusal("show crap").hint == "Did you mean `appliance show carp`?"
    assert refusal("events wyh 3").hint == "Did you mean `appliance events why`?"


def test_words_that_are_understood_elsewhere_are_suggested() -> None:
    with pytest.raises(UsageError) as refused:
        Grammar([SHOW], elsewhere=["version"]).parse(["vesion"])
    assert refused.value.hint == "Did you mean `appliance version`?"


def test_abbreviations_are_not_commands() -> None:
    assert "unknown command `sh`" in refusal("sh carp").message


def test_a_command_that_is_not_like_any_lists_what_there_is() -> None:
    assert "events, ha, lab, run, show" in refusal("zzzzzz").hint


def test_an_incomplete_command_says_how_it_goes_on() -> None:
    error = refusal("lab")
    assert error.message == "`lab` is not complete"
    assert error.hint == "It goes on with: exec, shell."


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("events --folow", "unknown option --folow (did you mean --follow?)"),
        ("events --count", "--count needs a value"),
        ("events --count many", "`many` is not a whole number (--count)"),
        ("events --follow=yes", "--follow takes no value"),
        ("events why", "SEQ is missing"),
        ("show carp 1 2", "unexpected argument `2`"),
        ("ha maintenance onn", "`onn` is not a value of state (did you mean on?): on, off"),
        ("lab exec fw1", "COMMAND... is missing"),
    ],
)
def test_a_wrong_argument_is_named_and_the_usage_shown(line: str, message: str) -> None:
    error = refusal(line)
    assert error.message == message
    assert error.hint.startswith("usage: appliance ")
    assert error.exit_code == 2


def test_of_two_commands_with_the_same_words_the_first_stays_and_the_other_is_reported() -> None:
    other = command("show carp", help="Another plugin's.")
    grammar = Grammar([SHOW, other])
    assert grammar.parse(["show", "carp"]).command is SHOW
    assert grammar.conflicts == (other,)


def test_the_usage_line_shows_what_is_required() -> None:
    assert usage(EVENTS) == "appliance events [--follow] [--type TYPE] [--count COUNT]"
    assert usage(EXEC) == "appliance lab exec NODE COMMAND..."
    assert usage(MAINTENANCE) == "appliance ha maintenance on|off"
    assert usage(SHOW) == "appliance show carp [VHID]"


def test_help_exists_for_every_prefix() -> None:
    assert "events why" in GRAMMAR.help([])
    below = GRAMMAR.help(["lab"])
    assert "lab exec" in below
    assert "show carp" not in below
    both = GRAMMAR.help(["events"])
    assert "usage: appliance events" in both
    assert "events why" in both
    manual = GRAMMAR.help(["ha", "maintenance"])
    assert "one of on, off" in manual
    assert "default 9" in both


def test_help_can_be_asked_for_without_the_required_arguments() -> None:
    assert GRAMMAR.help_wanted(["ha", "maintenance", "--help"]) == ("ha", "maintenance")
    assert GRAMMAR.help_wanted(["lab", "-h"]) == ("lab",)
    assert GRAMMAR.help_wanted(["--help", "lab", "exec"]) == ("lab", "exec")


def test_help_inside_another_command_line_is_not_ours() -> None:
    assert GRAMMAR.help_wanted(["lab", "exec", "fw1", "ls", "--help"]) is None
    assert GRAMMAR.help_wanted(["show", "carp", "3"]) is None


def test_the_grammar_knows_what_it_could_run() -> None:
    assert GRAMMAR.knows(["--json", "show", "nonsense"])
    assert not GRAMMAR.knows(["image", "build"])
    assert not GRAMMAR.knows([])
