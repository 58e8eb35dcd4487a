"""Problems are printed as editors and people read them."""

from __future__ import annotations

from appliance.config.positions import Position, locate
from appliance.config.report import LINE_SHOWN_MAX, PROBLEMS_SHOWN_MAX, Report, refuse_syntax
from appliance.errors import Problem

TEXT = "[a]\nb = 1\nc = 2\n"


def report(text: str = TEXT) -> Report:
    return Report(path="x.toml", positions=locate(text), shown=text)


def test_a_problem_is_place_path_message_and_source_line() -> None:
    assert report().format(Problem(path=("a", "c"), message="wrong")) == "x.toml:3:1: a.c: wrong\n     3 | c = 2"


def test_a_problem_without_a_path_is_at_the_top() -> None:
    assert report().format(Problem(path=(), message="wrong")) == "x.toml:1:1: wrong\n     1 | [a]"


def test_a_refusal_is_in_file_order_and_counts_only_errors() -> None:
    error = report().refusal(
        [
            Problem(path=("a", "c"), message="second"),
            Problem(path=("a", "b"), message="first", severity="warning"),
        ]
    )
    assert [problem.message for problem in error.problems] == ["first", "second"]
    assert "warning: a.b: first" in error.message
    assert error.hint == "Correct the problem above; nothing has been changed."


def test_an_endless_list_and_an_endless_line_are_cut() -> None:
    error = report().refusal([Problem(path=("a",), message=str(n)) for n in range(PROBLEMS_SHOWN_MAX + 7)])
    assert error.message.endswith("… and 7 more")
    assert len(error.problems) == PROBLEMS_SHOWN_MAX + 7
    long = f"k = '{'x' * 1000}'\n"
    assert len(report(long).format(Problem(path=("k",), message="m")).split("\n")[1]) < LINE_SHOWN_MAX + 20


def test_a_syntax_error_redacts_by_the_names_of_keys() -> None:
    error = refuse_syntax("x.toml", 'a = 1\npassword = "hunter2\n', Position(2, 20), "no closing quote")
    assert error.message == 'x.toml:2:20: no closing quote\n     2 | password = "**********"'
