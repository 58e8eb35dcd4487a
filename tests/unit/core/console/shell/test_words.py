"""A typed line is taken apart with the place of every word."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.console.shell.words import LINE_MAX, LineError, Word, quoted, split, understood


def texts(line: str) -> list[str]:
    return [word.text for word in split(line).words]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("show  ha ", ["show", "ha"]),
        ('set description "two words"', ["set", "description", "two words"]),
        ("set x 'a | \"b\" \\'", ["set", "x", 'a | "b" \\']),
        (r'set x "a \"b\" c\\d"', ["set", "x", 'a "b" c\\d']),
        ('a"b c"d', ["ab cd"]),
        ('set x ""', ["set", "x", ""]),
        ("", []),
    ],
)
def test_words_are_separated_by_blanks_outside_of_quotes(line: str, words: list[str]) -> None:
    assert texts(line) == words


def test_every_word_knows_its_columns() -> None:
    assert split('a  "b c" d').words == (Word("a", 0, 1), Word("b c", 3, 8, quoted=True), Word("d", 9, 10))


def test_pipes_are_taken_apart_and_know_where_the_line_before_them_ends() -> None:
    line = split("show log|match wan | last 5")
    assert [[word.text for word in pipe] for pipe in line.pipes] == [["match", "wan"], ["last", "5"]]
    assert line.before_pipes == "show log"


@pytest.mark.parametrize(
    ("text", "before", "typed"),
    [("show h", ["show"], "h"), ("show ", ["show"], ""), ("", [], ""), ("a | ma", [], "ma"), ('a "b c', ["a"], "b c")],
)
def test_the_word_that_is_being_typed_is_the_one_at_the_end(text: str, before: list[str], typed: str) -> None:
    words, last = split(text).partial()
    assert ([word.text for word in words], last.text) == (before, typed)


def test_a_quote_that_is_not_closed_is_an_error_with_its_place() -> None:
    with pytest.raises(LineError) as caught:
        understood('set description "hello')
    assert (caught.value.message, caught.value.at) == ("this quote is not closed", 16)


def test_a_line_without_end_is_refused() -> None:
    with pytest.raises(LineError, match="longer than"):
        understood("x" * (LINE_MAX + 1))


def test_the_place_survives_the_way_to_another_process() -> None:
    copy = pickle.loads(pickle.dumps(LineError("what", hint="remedy", at=7)))
    assert (copy.message, copy.hint, copy.at) == ("what", "remedy", 7)


@given(st.text())
def test_whatever_is_quoted_is_one_word_again(text: str) -> None:
    line = split(f"set {quoted(text)} end")
    assert [word.text for word in line.words] == ["set", text, "end"]
    assert not line.pipes


@given(st.text(alphabet="ab \"'\\|"))
def test_any_line_can_be_taken_apart(text: str) -> None:
    line = split(text)
    assert all(text[word.start : word.end] for part in (line.words, *line.pipes) for word in part)
