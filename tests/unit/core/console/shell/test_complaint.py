"""Errors point at the wrong word, on any width."""

from appliance.console.shell.complaint import complaint
from appliance.console.shell.words import LineError
from appliance.errors import RefusedError

WRONG = LineError("unknown command `cap`", hint="Did you mean `carp`?", at=5)


def test_below_the_line_that_was_typed_there_is_a_caret() -> None:
    assert complaint(WRONG, "show cap", indent=6, width=80).split("\n") == [
        "           ^",
        "unknown command `cap`",
        "  Did you mean `carp`?",
    ]


def test_without_a_terminal_the_line_is_repeated() -> None:
    assert complaint(WRONG, "show cap").split("\n") == [
        "unknown command `cap`",
        "    show cap",
        "         ^",
        "  Did you mean `carp`?",
    ]


def test_a_line_that_has_wrapped_is_repeated_around_the_wrong_word() -> None:
    line = "set firewall rule 0 description something-long interface lam"
    error = LineError("x", hint="y", at=line.index("lam"))
    _, shown, caret, _ = complaint(error, line, indent=6, width=40).split("\n")
    assert max(len(shown), len(caret)) < 40
    assert shown[caret.index("^") :].startswith("lam")


def test_other_errors_have_two_lines() -> None:
    assert complaint(RefusedError("no", hint="Do this."), "commit", indent=6, width=80) == "no\n  Do this."
