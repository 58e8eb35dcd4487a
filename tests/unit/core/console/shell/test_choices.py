"""Abbreviations, what TAB inserts, what `?` prints."""

import pytest

from appliance.console.shell.choices import SHOWN_MAX, Choice, insertion, matching, meant, table
from appliance.console.shell.words import LineError, Word

NAMES = ["show", "shell", "sync"]


def word(text: str, *, quoted: bool = False) -> Word:
    return Word(text, 5, 5 + len(text), quoted)


def choices(*names: str) -> list[Choice]:
    return [Choice(text=name) for name in names]


def test_a_beginning_that_only_one_name_has_means_it() -> None:
    assert meant(word("sho"), NAMES, what="command") == "show"


def test_a_whole_name_means_itself_even_if_others_begin_with_it() -> None:
    assert meant(word("a"), ["a", "ab"], what="key") == "a"


def test_a_quoted_word_is_no_abbreviation() -> None:
    with pytest.raises(LineError, match="unknown name `sho`"):
        meant(word("sho", quoted=True), NAMES, what="name")


def test_a_beginning_that_several_have_is_refused_with_all_of_them_and_the_place() -> None:
    with pytest.raises(LineError, match="`sh` may be show, shell") as caught:
        meant(word("sh"), NAMES, what="command")
    assert caught.value.at == 5


def test_what_was_probably_meant_is_said() -> None:
    with pytest.raises(LineError) as caught:
        meant(word("shwo"), NAMES, what="command")
    assert caught.value.hint == "Did you mean `show`?"


def test_the_only_choice_is_inserted_whole() -> None:
    assert insertion(choices("show"), "sh") == ("show", True)


def test_several_choices_are_inserted_as_far_as_they_agree() -> None:
    assert insertion(choices("interface", "interfaces"), "int") == ("interface", False)
    assert insertion(choices("show", "sync"), "s") == ("s", False)


def test_what_describes_a_value_is_never_inserted_and_always_matches() -> None:
    value = Choice(text="<1..255>", is_value=True)
    assert insertion([value], "4") == ("4", False)
    assert matching([value, *choices("any", "lan")], "a") == [value, *choices("any")]


def test_the_table_fits_a_narrow_terminal() -> None:
    shown = table([Choice(text="description", help="For people, who read it. " * 5)] * 9, width=40)
    assert shown.count("\n") == 8
    assert max(map(len, shown.split("\n"))) < 40
    assert shown.startswith("  description  For people")


def test_few_choices_are_described_in_full() -> None:
    text = "For people, who read it. " * 5
    shown = table([Choice(text="<text>", help=text)], width=40)
    assert " ".join(shown.removeprefix("  <text>").split()) == text.strip()
    assert max(map(len, shown.split("\n"))) < 40


def test_a_table_without_end_is_cut() -> None:
    shown = table(choices(*map(str, range(SHOWN_MAX + 5))), width=80)
    assert shown.endswith("… and 5 more: type a beginning")


def test_an_empty_table_says_so() -> None:
    assert table([], width=80) == "  nothing may follow"


def test_the_habit_of_a_lifetime_is_understood() -> None:
    assert meant(Word("conf", 0, 4), ["config", "configure"], what="command") == "configure"
