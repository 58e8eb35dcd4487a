"""The shell on a pseudo-terminal, as a person sees it."""

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.netns.console.ptys import Person
from tests.unit.core.console.shell.people import TEXT, live_node

pytestmark = pytest.mark.netns


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Of a node that runs."""
    with live_node(tmp_path):
        yield tmp_path


def person(folder: Path, *argv: str, rows: int = 24, columns: int = 80) -> Person:
    return Person(folder / "s", folder / "home", *argv, rows=rows, columns=columns)


def test_a_session_from_the_first_question_mark_to_the_commit(folder: Path) -> None:
    with person(folder) as olga:
        olga.gets_prompt("fw1>")
        olga.types("sh\t?")
        olga.sees("  Users, what they may do")
        olga.types("ver\t")
        olga.waits(lambda: olga.last_line == "fw1> show version", "completed word")
        olga.types("\r")
        assert "kernel" in olga.gets_prompt("fw1>")
        olga.enters("show cap")
        assert "\nfw1> show cap\n          ^\nunknown command `cap`\n" in olga.gets_prompt("fw1>")
        olga.enters("configure")
        assert olga.gets_prompt("fw1#").endswith("[edit]\nfw1#")
        olga.types("set us\tbob ro\tv\t")
        olga.waits(lambda: olga.last_line == "fw1# set users bob role viewer", "completed line")
        olga.types("\r")
        olga.gets_prompt("fw1#")
        olga.enters("edit users bob")
        olga.sees("[edit users bob]")
        olga.types('set description "why?')
        olga.waits(lambda: olga.last_line == 'fw1# set description "why?', "question mark in quotes")
        olga.types('"\r')
        olga.gets_prompt("fw1#")
        olga.enters("commit")
        olga.sees("revision 2 is in force; changed: users")
        olga.enters("top")
        olga.enters("exit")
        olga.gets_prompt("fw1>")
        olga.enters("exit")
        assert olga.is_gone()
        assert olga.status == 0
    assert (folder / "a.toml").read_text() == f'{TEXT}\n[users.bob]\nrole = "viewer"\ndescription = "why?"\n'


def test_a_narrow_terminal_pages_and_a_larger_window_shows_more(folder: Path) -> None:
    with person(folder, rows=7, columns=40) as olga:
        olga.gets_prompt("fw1>")
        olga.enters("show ha")
        assert "--more--" in olga.sees("--more--")
        assert max(map(len, olga.screen.split("\n"))) <= 40
        olga.types("q")
        olga.gets_prompt("fw1>")
        olga.types("show ?")
        assert max(map(len, olga.sees("version").split("\n"))) <= 40
        olga.gets_prompt("fw1> show")
        olga.types("\x15")
        olga.gets_prompt("fw1>")
        olga.enters("show ha")
        olga.sees("--more--")
        olga.resizes(rows=40, columns=100)
        olga.types(" ")
        assert "problems: none" in olga.gets_prompt("fw1>")
        olga.enters("show ha")
        assert "--more--" not in olga.gets_prompt("fw1>").rpartition("fw1> show ha")[2]


def test_states_have_colours_on_a_terminal_unless_somebody_wants_none(folder: Path) -> None:
    for argv, expected in ((), True), (("--plain",), False):
        with person(folder, *argv) as olga:
            olga.gets_prompt("fw1>")
            olga.enters("show ha")
            olga.gets_prompt("fw1>")
            assert "problems: none" in olga.screen
            assert ("problems: none" in olga.coloured) is expected
        with person(folder, "show", "ha", *argv) as olga:
            olga.sees("problems: none")
            assert ("problems: none" in olga.coloured) is expected


def test_ctrl_c_ends_a_command_or_a_line_and_never_the_shell(folder: Path) -> None:
    with person(folder) as olga:
        olga.gets_prompt("fw1>")
        olga.enters("monitor ha")
        olga.sees("problems: none")
        olga.types("\x03")
        olga.gets_prompt("fw1>")
        olga.types("show nonsense\x03")
        olga.gets_prompt("fw1>")
        olga.enters("show version")
        assert "kernel" in olga.gets_prompt("fw1>")
        olga.types("\x04")
        assert olga.is_gone()


def test_two_people_edit_and_a_commit_that_nobody_confirms_counts_down_for_both(folder: Path) -> None:
    with person(folder, "configure") as olga, person(folder) as pat:
        olga.gets_prompt("fw1#")
        olga.enters("set users bob role viewer")
        olga.gets_prompt("fw1#")
        pat.gets_prompt("fw1>")
        pat.enters("configure exclusive")
        pat.sees("edits the configuration, for")
        pat.gets_prompt("fw1>")
        pat.enters("configure")
        pat.sees("has changed users, not committed.")
        olga.sees("edits the configuration, too")
        olga.enters("commit confirmed 0.15")
        for each in (olga, pat):
            each.sees("[revision 2 rolls back in 0:0")
        first = re.findall(r"rolls back in 0:0(\d)\]", olga.screen)[-1]
        olga.waits(lambda: re.findall(r"rolls back in 0:0(\d)\]", olga.screen)[-1:] != [first], "later clock")
        for each in (olga, pat):
            each.waits(lambda each=each: "rolls back in 0:0" not in each.screen, "prompt after the time is over")
            each.sees("revision 2 was not confirmed within 9 s; what was in force before it is again")
        olga.enters("compare")
        olga.sees("+[users.bob]")
    assert (folder / "a.toml").read_text() == TEXT


def test_what_somebody_else_commits_is_told_above_the_line_that_is_being_typed(folder: Path) -> None:
    with person(folder, "configure") as olga, person(folder, "configure") as pat:
        olga.gets_prompt("fw1#")
        olga.types("set users cat role")
        pat.gets_prompt("fw1#")
        pat.enters("set users bob role viewer")
        pat.gets_prompt("fw1#")
        pat.enters("commit")
        olga.sees("has put revision 2 in force")
        olga.waits(lambda: olga.last_line == "fw1# set users cat role", "line as it was")
        olga.types(" viewer\r")
        olga.gets_prompt("fw1#")
        olga.enters("commit")
        olga.sees("revision 3 is in force")
    assert "[users.cat]" in (folder / "a.toml").read_text()


def test_history_is_kept_over_sessions_without_secrets(folder: Path) -> None:
    with person(folder, "configure") as olga:
        olga.gets_prompt("fw1#")
        olga.enters("set carp preempt false")
        olga.gets_prompt("fw1#")
        olga.enters("set carp password hunter2")
        olga.gets_prompt("fw1#")
        olga.enters("set carp password")
        for question in ("Secret:", "Again:"):
            olga.sees(question)
            olga.types("hunter3\r")
        olga.gets_prompt("fw1#")
        olga.enters("show carp")
        assert "hunter3" not in olga.sees('password = "**********"')
        olga.gets_prompt("fw1#")
        olga.enters("exit discard")
        olga.gets_prompt("fw1>")
    with person(folder) as olga:
        olga.gets_prompt("fw1>")
        olga.types("\x12preempt")
        olga.waits(lambda: "set carp preempt false" in olga.last_line, "line found by Ctrl-R")
        olga.types("\x03")
        olga.gets_prompt("fw1>")
    assert "hunter" not in (folder / "home" / "appliance" / "history").read_text()


def test_a_node_that_does_not_run_is_in_the_prompt_and_comes_back(tmp_path: Path) -> None:
    with person(tmp_path) as olga:
        olga.gets_prompt("appliance[no node]>")
        olga.enters("show ha")
        olga.sees("no node is running on")
        with live_node(tmp_path):
            olga.gets_prompt("fw1>")
            olga.enters("show version")
            olga.sees("kernel")
        olga.gets_prompt("fw1[no node]>")


def test_tab_and_question_mark_answer_at_once(folder: Path) -> None:
    """The limit is generous for busy machines; docs/console.md has what was measured."""
    with person(folder, "configure") as olga:
        olga.gets_prompt("fw1#")
        olga.types("set carp ?")
        olga.sees("profile")
        took = []
        for text in ("\x15set users admin ?", "\x15set firewall ?", "\x15run show ?"):
            began = time.monotonic()
            olga.types(text)
            olga.waits(lambda text=text: olga.last_line.endswith(text[1:-1].strip()), "line again")
            took.append(time.monotonic() - began)
        assert min(took) < 1.0
