"""Lines from a pipe, and the one of ``appliance -c``."""

import pytest

from appliance.console.shell.linemode import run_line, run_lines


def test_one_line_is_run_and_its_status_is_that_of_the_command(socket: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_line(socket, "sh users | match admin") == 0
    assert capsys.readouterr().out.startswith("admin ")
    assert run_line(socket, "show users", as_json=True) == 0
    assert '"name": "admin"' in capsys.readouterr().out


def test_a_wrong_line_is_repeated_with_a_caret(socket: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_line(socket, "show cap") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.split("\n")[:3] == ["appliance: unknown command `cap`", "    show cap", "         ^"]


def test_lines_edit_and_commit(socket: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["configure", "# a comment", 'set users admin description "the boss"', "commit", "exit", "exit", "never"]
    assert run_lines(socket, [f"{line}\n" for line in lines]) == 0
    assert "is in force; changed: users" in capsys.readouterr().out


def test_the_first_failure_ends_it_and_names_its_line(socket: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["set users bob role viewer", "set users bob role king", "commit"]
    assert run_lines(socket, lines, configure=True) == 2
    err = capsys.readouterr().err
    assert err.startswith("line 2: `king` cannot be the role\n    set users bob role king\n")
    assert run_line(socket, "config show | match bob") == 0
    assert capsys.readouterr().out == ""


def test_changes_that_are_not_committed_are_not_forgotten_silently(
    socket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_lines(socket, ["set users bob role viewer"], configure=True) == 1
    assert "not committed" in capsys.readouterr().err


def test_a_node_that_does_not_answer_is_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_line("/absent", "show ha") == 3
    assert "no node is running on /absent" in capsys.readouterr().err
