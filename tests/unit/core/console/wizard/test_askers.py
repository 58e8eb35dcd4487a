"""The same question, asked of a terminal, of lines and of a file."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from appliance.console.wizard.askers import TRIES_MAX, Answered, Lines, Question, Terminal, read_answers
from appliance.errors import UsageError


def even(text: str) -> int:
    if not text.isdigit() or int(text) % 2:
        raise UsageError(f"`{text}` is not even", hint="Give an even number.")
    return int(text)


NUMBER = Question(key="number", prompt="Number", parse=even, default="4", help="Two divides it.")
NEEDED = Question(key="needed", prompt="Needed", parse=even)
SECRET = Question(key="secret", prompt="Secret", parse=str, default="hunter2", is_secret=True)


def test_a_person_is_asked_again_with_the_reason() -> None:
    sink = io.StringIO()
    person = Terminal(io.StringIO("3\n?\n 8 \n"), sink)
    assert person.ask(NUMBER) == 8
    assert sink.getvalue() == (
        "Number [4]: `3` is not even\n  Give an even number.\nNumber [4]: Two divides it.\nNumber [4]: "
    )
    assert person.given == {"number": "8"}


def test_an_empty_line_takes_the_default_and_a_secret_is_not_shown() -> None:
    sink = io.StringIO()
    person = Terminal(io.StringIO("\n\n"), sink)
    assert (person.ask(NUMBER), person.ask(SECRET)) == (4, "hunter2")
    assert "hunter2" not in sink.getvalue()


def test_the_end_of_the_input_and_nonsense_for_ever_end_it() -> None:
    with pytest.raises(UsageError, match="the input ended at `needed`"):
        Terminal(io.StringIO("\n"), io.StringIO()).ask(NEEDED)
    with pytest.raises(UsageError, match=f"{TRIES_MAX} answers were wrong"):
        Terminal(io.StringIO("x\n" * 100), io.StringIO()).ask(NEEDED)


def test_the_first_wrong_line_ends_it() -> None:
    lines = Lines(io.StringIO("2\n3\n"), io.StringIO())
    assert lines.ask(NUMBER) == 2
    with pytest.raises(UsageError, match="`number`: `3` is not even"):
        lines.ask(NUMBER)
    with pytest.raises(UsageError, match=r"`number`: `[?]` is not even"):
        Lines(io.StringIO("?\n"), io.StringIO()).ask(NUMBER)


def test_a_file_takes_defaults_and_names_what_is_missing_wrong_or_too_much() -> None:
    asker = Answered({"number": "6", "nmber": "2"})
    assert asker.ask(NUMBER) == 6
    with pytest.raises(UsageError, match="the answers have no `needed`"):
        asker.ask(NEEDED)
    with pytest.raises(UsageError, match="nobody asked for `nmber`"):
        asker.refuse_unused()
    assert Answered({}).ask(NUMBER) == 4
    with pytest.raises(UsageError, match="`number`: `5` is not even"):
        Answered({"number": "5"}).ask(NUMBER)


def test_a_file_of_answers_is_flat(tmp_path: Path) -> None:
    path = tmp_path / "answers.toml"
    path.write_text('primary = "a"\n[network.wan]\ndevice = "eth0"\n')
    assert read_answers(path) == {"primary": "a", "network.wan.device": "eth0"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"primary", "is not TOML"),
        (b"\xff", "is not TOML"),
        (b"n = 3\n", "the answer `n` is no text"),
        (b"#" * 300_000, "is too large"),
    ],
)
def test_files_that_are_no_answers_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "answers.toml"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=message):
        read_answers(path)
    with pytest.raises(UsageError, match="cannot read"):
        read_answers(tmp_path / "none")
